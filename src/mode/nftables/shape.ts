// A shape is everything about a frontend that rules depend on; frontends of one shape share one chain.
// There are tens of shapes whatever the number of Services.

import type { Scheduler } from '../../model/service-policy.ts';
import type { Masquerade } from '../../vip/frontend.ts';
import { DROP_CHAIN, packHostU32, REFUSE_CHAIN, unpackHostU32 } from './names.ts';

/** Which maps a chain reads: by address, protocol and port or by protocol and port alone, and for whom. */
export interface Keying {
  readonly keyedBy: 'vip' | 'nodeport';
  /** `inside`: what this node and its pods get where a Local policy gives others less. `all`: everybody else, or everybody. */
  readonly side: 'all' | 'inside';
}

/** The schedulers that rules can be. */
export type RuleScheduler = Extract<Scheduler, 'random' | 'rr' | 'sh' | 'mh'>;

/** What rules do where this is asked for; undefined when they can do nothing of the kind. */
export function ruleScheduler(scheduler: Scheduler): RuleScheduler | undefined {
  return SCHEDULERS.find((one) => one === scheduler);
}

/** How connections find their slot where that is more than one random pick. */
export interface Balancing {
  readonly scheduler: RuleScheduler;
  /** How long a client keeps its backend after its last connection; undefined without affinity. */
  readonly stickySeconds: number | undefined;
  /** What tells the frontend from all others, for `rr`, which counts: `10.96.0.1/tcp/80`; undefined for the rest. */
  readonly instance: string | undefined;
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
  /** undefined for a plain shape: one random pick. */
  readonly balancing: Balancing | undefined;
}

const SUFFIXES = { never: '', 'off-cluster': '-masquerade-off-cluster', always: '-masquerade' } as const;
const PICKS: Readonly<Record<RuleScheduler, string>> = { random: 'pick', rr: 'rr', sh: 'sh', mh: 'mh' };

/**
 * `pick-3`, `nodeport-pick-3-masquerade`, `inside-pick-3`, `local-pick-2`, `nodeport-local-drop`, `restricted-refuse`; and
 * where there is more to it `pick-3-sticky-10800`, `mh-1021-masquerade`, `rr-3-sticky-60-masquerade-10.96.0.1/tcp/80`. A
 * name says its shape.
 */
export function shapeChain(shape: Shape): string {
  const { slotCount, masquerade, hasInside, isRestricted, whenEmpty, balancing } = shape;
  const prefix = `${keyingPrefix(shape)}${isRestricted ? 'restricted-' : ''}${hasInside ? 'local-' : ''}`;
  if (slotCount === 0) return `${prefix}${whenEmpty}`;
  const { scheduler = 'random', stickySeconds, instance } = balancing ?? {};
  const sticky = stickySeconds === undefined ? '' : `-sticky-${stickySeconds}`;
  const suffix = `${SUFFIXES[masquerade]}${instance === undefined ? '' : `-${instance}`}`;
  return `${prefix}${PICKS[scheduler]}-${slotCount}${sticky}${suffix}`;
}

/** What the names of chains begin with that are not `vip` and `all`. */
export function keyingPrefix({ keyedBy, side }: Keying): string {
  return `${keyedBy === 'nodeport' ? 'nodeport-' : ''}${side === 'inside' ? 'inside-' : ''}`;
}

const MASQUERADES: readonly Masquerade[] = ['never', 'off-cluster', 'always'];
const CHAIN_NAME =
  /^(nodeport-)?(inside-)?(restricted-)?(local-)?(pick|rr|sh|mh)-(\d+)(?:-sticky-(\d+))?(-masquerade-off-cluster|-masquerade)?(?:-([0-9a-f.]*\/?[a-z]+\/\d+))?$/;

/** The shape of a chain of that name, if it is one with `balancing`: what `shapeChain` printed. */
export function balancingShapeOf(chain: string): Shape | undefined {
  const [, nodeport, inside, restricted, local, pick, slotCount, sticky, suffix = '', instance] =
    CHAIN_NAME.exec(chain) ?? [];
  const scheduler = SCHEDULERS.find((one) => PICKS[one] === pick);
  const masquerade = MASQUERADES.find((one) => SUFFIXES[one] === suffix);
  if (scheduler === undefined || masquerade === undefined || Number(slotCount) === 0) return undefined;
  const stickySeconds = sticky === undefined ? undefined : Number(sticky);
  if (scheduler === 'random' && stickySeconds === undefined) return undefined;
  if ((scheduler === 'rr') !== (instance !== undefined)) return undefined;
  const shape: Shape = {
    keyedBy: nodeport === undefined ? 'vip' : 'nodeport',
    side: inside === undefined ? 'all' : 'inside',
    slotCount: Number(slotCount),
    masquerade,
    hasInside: local !== undefined,
    isRestricted: restricted !== undefined,
    whenEmpty: 'refuse',
    balancing: { scheduler, stickySeconds, instance },
  };
  // Not a name of ours that somebody spelt otherwise: `pick-03-sticky-060`.
  return shapeChain(shape) === chain ? shape : undefined;
}

const SCHEDULERS = Object.keys(PICKS) as RuleScheduler[];
const SLOT_COUNT_BITS = 24;
const SLOT_COUNT_MASK = 2 ** SLOT_COUNT_BITS - 1;
const MASQUERADE_MASK = 3;
const NODEPORT_BIT = 1 << 2;
const INSIDE_BIT = 1 << 3;
const HAS_INSIDE_BIT = 1 << 4;
const DROP_BIT = 1 << 5;
const RESTRICTED_BIT = 1 << 6;

/** Set in ids that say nothing by themselves: those of shapes with `balancing`, given out by `ShapeIds`. */
export const DYNAMIC_ID_BIT = 0x80000000;
/** What ids say by themselves lies below. */
const FREE_BITS = 0x80;

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
 * What the maps of frontends hold for this shape, which has no `balancing`: the slot count in the low 24 bits, the rest
 * above. nft prints it in two halves: `0:3`, `200:3`, `600:3`.
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

/** The shape that an id stands for; undefined for the fixed ones, for dynamic ones and for what we never write. */
export function shapeOfId(packed: string): Shape | undefined {
  const id = unpackHostU32(packed);
  const kind = id >>> SLOT_COUNT_BITS;
  const masquerade = MASQUERADES[kind & MASQUERADE_MASK];
  const slotCount = id & SLOT_COUNT_MASK;
  const hasInside = (kind & HAS_INSIDE_BIT) !== 0;
  const isRestricted = (kind & RESTRICTED_BIT) !== 0;
  const hasSlots = slotCount > 0 || hasInside || isRestricted;
  if (masquerade === undefined || !hasSlots || (kind & FREE_BITS) !== 0) return undefined;
  return {
    keyedBy: (kind & NODEPORT_BIT) === 0 ? 'vip' : 'nodeport',
    side: (kind & INSIDE_BIT) === 0 ? 'all' : 'inside',
    slotCount,
    masquerade,
    hasInside,
    isRestricted,
    whenEmpty: (kind & DROP_BIT) === 0 ? 'refuse' : 'drop',
    balancing: undefined,
  };
}

/** The chain that an id leads to, told without the kernel; undefined for dynamic ids and for what we never write. */
export function chainOfShapeId(packed: string): string | undefined {
  const shape = shapeOfId(packed);
  return shape === undefined ? FIXED_CHAINS.get(packed) : shapeChain(shape);
}
