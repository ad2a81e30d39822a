// A shape is everything about a frontend that rules depend on; frontends of one shape share one chain.
// There are tens of shapes whatever the number of Services.

import type { Masquerade } from '../../vip/frontend.ts';
import { DROP_CHAIN, packHostU32, REFUSE_CHAIN, unpackHostU32 } from './names.ts';

/** Which maps a chain reads: by address, protocol and port or by protocol and port alone, and for whom. */
export interface Keying {
  readonly keyedBy: 'vip' | 'nodeport';
  /** `inside`: what this node and its pods get where a Local policy gives others less. `all`: everybody else, or everybody. */
  readonly side: 'all' | 'inside';
}

export interface Shape extends Keying {
  /** How many endpoint slots the random pick runs over; 0 only with `hasInside` or `isRestricted`. */
  readonly slotCount: number;
  readonly masquerade: Masquerade;
  /** This node and its pods are sent on to the `inside` maps first. */
  readonly hasInside: boolean;
  /** Only clients in the frontend's source ranges are let in. */
  readonly isRestricted: boolean;
  /** With no slot: what happens to everybody else. */
  readonly whenEmpty: 'refuse' | 'drop';
}

/** `pick-3`, `nodeport-pick-3-masquerade`, `inside-pick-3`, `local-pick-2`, `nodeport-local-drop`, `restricted-refuse`. */
export function shapeChain(shape: Shape): string {
  const { keyedBy, side, slotCount, masquerade, hasInside, isRestricted, whenEmpty } = shape;
  const prefix = [
    keyedBy === 'nodeport' ? 'nodeport-' : '',
    side === 'inside' ? 'inside-' : '',
    isRestricted ? 'restricted-' : '',
    hasInside ? 'local-' : '',
  ].join('');
  if (slotCount === 0) return `${prefix}${whenEmpty}`;
  const suffix = { never: '', 'off-cluster': '-masquerade-off-cluster', always: '-masquerade' }[masquerade];
  return `${prefix}pick-${slotCount}${suffix}`;
}

const MASQUERADES: readonly Masquerade[] = ['never', 'off-cluster', 'always'];
const SLOT_COUNT_BITS = 24;
const SLOT_COUNT_MASK = 2 ** SLOT_COUNT_BITS - 1;
const MASQUERADE_MASK = 3;
const NODEPORT_BIT = 1 << 2;
const INSIDE_BIT = 1 << 3;
const HAS_INSIDE_BIT = 1 << 4;
const DROP_BIT = 1 << 5;
const RESTRICTED_BIT = 1 << 6;

/** The id of frontends that have no backend and refuse: nft prints it as `none`. */
export const REFUSE_ID = packHostU32(0);

/** The id of frontends that have no backend and do not answer. */
export const DROP_ID = packHostU32(DROP_BIT * 2 ** SLOT_COUNT_BITS);

/** The ids that lead to a chain which no shape has: the same for every frontend. */
export const FIXED_CHAINS: ReadonlyMap<string, string> = new Map([
  [REFUSE_ID, REFUSE_CHAIN],
  [DROP_ID, DROP_CHAIN],
]);

/**
 * What the maps of frontends hold for this shape: the slot count in the low 24 bits, the rest above. nft prints it in
 * two halves: `0:3`, `200:3`, `600:3`.
 */
export function shapeId(shape: Shape): string {
  const { keyedBy, side, slotCount, masquerade, hasInside, isRestricted, whenEmpty } = shape;
  const kind =
    MASQUERADES.indexOf(masquerade) |
    (keyedBy === 'nodeport' ? NODEPORT_BIT : 0) |
    (side === 'inside' ? INSIDE_BIT : 0) |
    (hasInside ? HAS_INSIDE_BIT : 0) |
    (isRestricted ? RESTRICTED_BIT : 0) |
    (slotCount === 0 && whenEmpty === 'drop' ? DROP_BIT : 0);
  return packHostU32(kind * 2 ** SLOT_COUNT_BITS + slotCount);
}

/** The shape that an id stands for; undefined for the fixed ones and for what we never write. */
export function shapeOfId(packed: string): Shape | undefined {
  const id = unpackHostU32(packed);
  const kind = id >>> SLOT_COUNT_BITS;
  const masquerade = MASQUERADES[kind & MASQUERADE_MASK];
  const slotCount = id & SLOT_COUNT_MASK;
  const hasInside = (kind & HAS_INSIDE_BIT) !== 0;
  const isRestricted = (kind & RESTRICTED_BIT) !== 0;
  if (masquerade === undefined || (slotCount === 0 && !hasInside && !isRestricted)) return undefined;
  return {
    keyedBy: (kind & NODEPORT_BIT) === 0 ? 'vip' : 'nodeport',
    side: (kind & INSIDE_BIT) === 0 ? 'all' : 'inside',
    slotCount,
    masquerade,
    hasInside,
    isRestricted,
    whenEmpty: (kind & DROP_BIT) === 0 ? 'refuse' : 'drop',
  };
}

/** The chain that an id leads to, told without the kernel; undefined for what we never write. */
export function chainOfShapeId(packed: string): string | undefined {
  const shape = shapeOfId(packed);
  return shape === undefined ? FIXED_CHAINS.get(packed) : shapeChain(shape);
}
