// A shape is everything about a frontend that rules depend on; frontends of one shape share one chain.
// There are tens of shapes whatever the number of Services.

import type { Masquerade } from '../../vip/frontend.ts';
import { packHostU32, REFUSE_CHAIN, unpackHostU32 } from './names.ts';

export interface Shape {
  /** Which pair of maps is keyed: by address, protocol and port, or by protocol and port alone. */
  readonly keyedBy: 'vip' | 'nodeport';
  /** How many endpoint slots the random pick runs over, 1 or more. */
  readonly slotCount: number;
  readonly masquerade: Masquerade;
}

/** `pick-3`, `pick-3-masquerade`, `nodeport-pick-3-masquerade`. */
export function shapeChain(shape: Shape): string {
  const prefix = shape.keyedBy === 'nodeport' ? 'nodeport-' : '';
  const suffix = { never: '', 'off-cluster': '-masquerade-off-cluster', always: '-masquerade' }[
    shape.masquerade
  ];
  return `${prefix}pick-${shape.slotCount}${suffix}`;
}

const MASQUERADES: readonly Masquerade[] = ['never', 'off-cluster', 'always'];
const SLOT_COUNT_BITS = 24;
const SLOT_COUNT_MASK = 2 ** SLOT_COUNT_BITS - 1;
const NODEPORT_BIT = 1 << 2;

/** The id of the frontends that have no backend: nft prints it as `none`. */
export const REFUSE_ID = packHostU32(0);

/**
 * What `services` and `nodeports` hold for a frontend of this shape: the slot count in the low 24 bits, how to
 * masquerade and what it is keyed by above. nft prints it in two halves: `0:3`, `200:3`, `600:3`.
 */
export function shapeId(shape: Shape): string {
  const kind = MASQUERADES.indexOf(shape.masquerade) | (shape.keyedBy === 'nodeport' ? NODEPORT_BIT : 0);
  return packHostU32(kind * 2 ** SLOT_COUNT_BITS + shape.slotCount);
}

/** The shape that an id stands for; undefined for REFUSE_ID and for what we never write. */
export function shapeOfId(packed: string): Shape | undefined {
  const id = unpackHostU32(packed);
  const kind = id >>> SLOT_COUNT_BITS;
  const masquerade = MASQUERADES[kind & ~NODEPORT_BIT];
  const slotCount = id & SLOT_COUNT_MASK;
  if (masquerade === undefined || slotCount === 0) return undefined;
  return { keyedBy: (kind & NODEPORT_BIT) === 0 ? 'vip' : 'nodeport', slotCount, masquerade };
}

/** The chain that an id leads to, told without the kernel; undefined for what we never write. */
export function chainOfShapeId(packed: string): string | undefined {
  if (packed === REFUSE_ID) return REFUSE_CHAIN;
  const shape = shapeOfId(packed);
  return shape === undefined ? undefined : shapeChain(shape);
}
