// Which endpoints a Frontend offers to whom.

import type { Backend, Frontend } from '../../vip/frontend.ts';

/** Where clients are: `inside` are this node and its pods, where a Frontend treats them differently (`insideBackends`). */
export type Side = (typeof SIDES)[number];
export const SIDES = ['outside', 'inside'] as const;

/** Empty when nobody is served there. */
export function offeredBackends(
  { backends, insideBackends }: Pick<Frontend, 'backends' | 'insideBackends'>,
  side: Side,
): readonly Backend[] {
  return side === 'inside' ? (insideBackends ?? backends) : backends;
}

/** Where clients must be sent apart: everywhere outside, and inside where that makes a difference. */
export function servedSides(frontend: Pick<Frontend, 'backends' | 'insideBackends'>): Side[] {
  return SIDES.filter(
    (side) =>
      (side === 'outside' || frontend.insideBackends !== undefined) &&
      offeredBackends(frontend, side).length > 0,
  );
}
