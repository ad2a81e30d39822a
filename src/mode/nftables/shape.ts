// A shape is everything about a frontend that rules depend on; frontends of one shape share one chain.
// There are tens of shapes whatever the number of Services.

import type { Masquerade } from '../../vip/frontend.ts';

export interface Shape {
  /** Which pair of maps is keyed: by address, protocol and port, or by protocol and port alone. */
  readonly keyedBy: 'vip' | 'nodeport';
  /** How many endpoint slots the random pick runs over, 1 or more. */
  readonly slotCount: number;
  readonly masquerade: Masquerade;
}

/** How many slots a chain picks from, 0 for one that is no shape's. */
export function slotCountOf(chain: string): number {
  return Number(/^(?:nodeport-)?pick-(\d+)/.exec(chain)?.[1] ?? 0);
}

/** `pick-3`, `pick-3-masquerade`, `nodeport-pick-3-masquerade`. */
export function shapeChain(shape: Shape): string {
  const prefix = shape.keyedBy === 'nodeport' ? 'nodeport-' : '';
  const suffix = { never: '', 'off-cluster': '-masquerade-off-cluster', always: '-masquerade' }[
    shape.masquerade
  ];
  return `${prefix}pick-${shape.slotCount}${suffix}`;
}
