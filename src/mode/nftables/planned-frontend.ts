// A Frontend in this mode's terms: an element that names its shape, n slots, and the objects it shares; and the same again
// for this node and its pods where a Local policy gives others less.

import { InternalError } from '../../errors.ts';
import { type IpFamily, packIp, unpackIp } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';
import { assignBackendIds, type BackendIds } from './backend-ids.ts';
import { maglevTable } from './maglev.ts';
import {
  packEndpoint,
  packHostU32,
  packPort,
  packProtocol,
  protocolOf,
  type SetName,
  unpackPort,
} from './names.ts';
import {
  type Balancing,
  DROP_ID,
  type Keying,
  REFUSE_ID,
  type RuleScheduler,
  ruleScheduler,
  type Shape,
  shapeId,
} from './shape.ts';
import { assignSlots } from './slots.ts';
import { type RangeElements, rangeElements } from './source-ranges.ts';
import { deal, slotShares } from './weights.ts';

/** An element in one of the maps of frontends, and its slots. */
export interface PlannedSide extends Keying {
  /** Comment of the element. */
  readonly comment: string;
  /** undefined for what leads to a fixed chain: nothing behind it, nobody let in. */
  readonly shape: Shape | undefined;
  /** Packed id of the shape; undefined with `balancing`, where `ShapeIds` knows it. */
  readonly shapeId: string | undefined;
  /** Packed endpoint per slot, or where there are `ids`, packed backend id per slot. */
  readonly slots: readonly string[];
  /** Of the backends of a shape with `balancing`. */
  readonly ids: BackendIds | undefined;
}

/** What one Frontend contributes to the table. */
export interface PlannedFrontend extends PlannedSide {
  /** Unique over both families. */
  readonly id: string;
  readonly family: IpFamily;
  readonly service: ServiceKey;
  /** Element key in the maps of frontends; slot keys begin with it. */
  readonly key: string;
  readonly inside: PlannedSide | undefined;
  /** Who is let in, undefined for everybody. */
  readonly ranges: RangeElements | undefined;
  /** Packed cluster IP, undefined for every other kind. */
  readonly clusterIp: string | undefined;
  /** Packed virtual address that is this host's and no cluster IP. */
  readonly boundIp: string | undefined;
  /** Packed `ip . protocol . port` of every proxy that it leads to. */
  readonly portals: readonly string[];
  /** Packed `ip . ip` of every backend that may dial itself through the VIP. */
  readonly hairpins: readonly string[];
}

/** Where a side of a frontend is in the table. */
export interface SidePlace extends Keying {
  readonly family: IpFamily;
  readonly key: string;
}

/** What sides of frontends have so far, for a plan to keep. */
export interface Previous {
  /** Packed endpoint per slot. */
  slots(place: SidePlace): readonly string[];
  /** Packed backend id per slot. */
  picks(place: SidePlace): readonly string[];
  ids(place: SidePlace): BackendIds;
}

const NONE: readonly string[] = [];
const NO_BACKENDS: readonly Backend[] = [];

/** Plans one Frontend. */
export type PlanFrontend = (frontend: Frontend, previous: Previous) => PlannedFrontend;

/** Plans the Frontends of some Services. */
export function planFrontends(
  frontendsByService: ReadonlyMap<ServiceKey, readonly Frontend[]>,
  previous: Previous,
  plan: PlanFrontend = planFrontend,
): Map<ServiceKey, readonly PlannedFrontend[]> {
  const planned = new Map<ServiceKey, readonly PlannedFrontend[]>();
  for (const [service, frontends] of frontendsByService) {
    planned.set(
      service,
      frontends.map((frontend) => plan(frontend, previous)),
    );
  }
  return planned;
}

/**
 * Plans one Frontend; slots and backend ids stay what `previous` says they are. Source ranges are a matter of load-balancer
 * addresses: a node port that had some would be open to everybody, so it is an InternalError.
 */
export function planFrontend(frontend: Frontend, previous: Previous): PlannedFrontend {
  const { family, address, protocol, port, backends, insideBackends, kind, sourceRanges } = frontend;
  if (address === undefined && sourceRanges !== undefined) {
    throw new InternalError(`source ranges of node port ${port} of ${frontend.displayName}`);
  }
  const keyedBy = address === undefined ? 'nodeport' : 'vip';
  const packedAddress = address === undefined ? '' : packIp(address);
  const key = packedAddress + packProtocol(protocol) + packPort(port);
  const plan = (side: Keying['side'], behind: readonly Backend[], hasInside: boolean): PlannedSide =>
    planSide(frontend, { family, keyedBy, side, key }, behind, hasInside, previous);
  // Not a spread of the side: 50,000 of these are kept, and literals are smaller.
  const outside = plan('all', backends, insideBackends !== undefined);
  return {
    id: frontendId(family, keyedBy, key),
    family,
    keyedBy,
    side: outside.side,
    service: frontend.service,
    key,
    comment: outside.comment,
    shape: outside.shape,
    shapeId: outside.shapeId,
    slots: outside.slots,
    ids: outside.ids,
    inside: insideBackends === undefined ? undefined : plan('inside', insideBackends, false),
    ranges: sourceRanges === undefined ? undefined : rangeElements(key, sourceRanges),
    clusterIp: kind === 'ClusterIP' ? packedAddress : undefined,
    boundIp: undefined,
    portals: NONE,
    hairpins: hairpinsOf(frontend),
  };
}

/** Packed `ip . ip` of every backend that may dial itself through the VIP. */
export function hairpinsOf({ backends, insideBackends = NO_BACKENDS }: Frontend): readonly string[] {
  const local = [...backends, ...insideBackends].filter((backend) => backend.isMaybeLocal);
  return local.length === 0 ? NONE : [...new Set(local.map(({ ip }) => packIp(ip).repeat(2)))];
}

function planSide(
  frontend: Frontend,
  place: SidePlace,
  behind: readonly Backend[],
  hasInside: boolean,
  previous: Previous,
): PlannedSide {
  const { whenEmpty, displayName: comment } = frontend;
  const { keyedBy, side } = place;
  const isRestricted = side === 'all' && frontend.sourceRanges !== undefined;
  if (behind.length === 0 && !hasInside && !isRestricted) {
    const shapeId = whenEmpty === 'drop' ? DROP_ID : REFUSE_ID;
    return { keyedBy, side, comment, shape: undefined, shapeId, slots: NONE, ids: undefined };
  }
  const balancing = behind.length === 0 ? undefined : balancingOf(frontend, place);
  const ids =
    balancing === undefined ? undefined : assignBackendIds(previous.ids(place), behind.map(endpointOf));
  const slots =
    ids === undefined
      ? behind.length === 0
        ? NONE
        : assignSlots(previous.slots(place), repeated(behind, behind.map(endpointOf)))
      : balancedSlots(balancing!.scheduler, behind, ids, () => previous.picks(place));
  // Inside, the chain that sends here has asked for masquerading already, where it is due; what is empty asks for none.
  const masquerade = side === 'inside' || behind.length === 0 ? 'never' : frontend.masquerade;
  const slotCount = slots.length;
  const shape: Shape = {
    keyedBy,
    side,
    slotCount,
    masquerade,
    hasInside,
    isRestricted,
    whenEmpty,
    balancing,
  };
  const fixedId = balancing === undefined ? shapeId(shape) : undefined;
  return { keyedBy, side, comment, shape, shapeId: fixedId, slots, ids };
}

function balancingOf(
  { scheduler: asked, affinityTimeoutSeconds }: Frontend,
  { family, key }: SidePlace,
): Balancing | undefined {
  const scheduler = ruleScheduler(asked) ?? 'random';
  if (scheduler === 'random' && affinityTimeoutSeconds === undefined) return undefined;
  const instance = scheduler === 'rr' ? frontendName(family, key) : undefined;
  return { scheduler, stickySeconds: affinityTimeoutSeconds, instance };
}

/** Backend id per slot. What hashes depend on is the same on every node; other slots keep their backends. */
function balancedSlots(
  scheduler: RuleScheduler,
  behind: readonly Backend[],
  idsByEndpoint: BackendIds,
  previousPicks: () => readonly string[],
): readonly string[] {
  const inOrder = scheduler === 'sh' || scheduler === 'mh' ? [...behind].sort(byName) : behind;
  const ids = inOrder.map((backend) => idsByEndpoint.get(endpointOf(backend))!);
  if (scheduler === 'mh') {
    const named = inOrder.map((backend) => ({ name: nameOf(backend), weight: backend.weight }));
    return Array.from(maglevTable(named), (index) => ids[index]!);
  }
  const wanted = repeated(inOrder, ids);
  return scheduler === 'sh' ? wanted : assignSlots(previousPicks(), wanted);
}

/** Each backend's value as many times as its weight asks for. */
function repeated(backends: readonly Backend[], values: readonly string[]): readonly string[] {
  const first = backends[0]!.weight;
  if (backends.every(({ weight }) => weight === first)) return values;
  return deal(values, slotShares(backends.map(({ weight }) => weight)));
}

function endpointOf({ ip, port }: Backend): string {
  return packEndpoint(ip, port);
}

function nameOf({ ip, port }: Backend): string {
  return `${ip}:${port}`;
}

function byName(a: Backend, b: Backend): number {
  return nameOf(a) < nameOf(b) ? -1 : 1;
}

/** In characters that a chain may have: `10.96.0.1/tcp/80`, an IPv6 address as 32 digits, `tcp/30080` for a node port. */
function frontendName(family: IpFamily, key: string): string {
  const address = key.slice(0, -8);
  const protocol = protocolOf(key.charCodeAt(address.length))!.toLowerCase();
  const rest = `${protocol}/${unpackPort(key.slice(-4))}`;
  if (address === '') return rest;
  const digits = Array.from(address, (char) => char.charCodeAt(0).toString(16).padStart(2, '0'));
  return `${family === 4 ? unpackIp(address) : digits.join('')}/${rest}`;
}

/** The sides of a frontend; what leads to another side comes after it. */
export function sidesOf(frontend: PlannedFrontend): readonly PlannedSide[] {
  return frontend.inside === undefined ? [frontend] : [frontend.inside, frontend];
}

/** Identifies a frontend by its place in the table. */
export function frontendId(family: IpFamily, keyedBy: Keying['keyedBy'], key: string): string {
  return `${family}${keyedBy === 'vip' ? 'v' : 'n'}${key}`;
}

/** The map that holds a side of a frontend. */
export function serviceSet({ keyedBy, side }: Keying): SetName {
  const set = keyedBy === 'vip' ? 'services' : 'nodeports';
  return side === 'inside' ? `inside-${set}` : set;
}

/** The map that leads from its shape to a chain. */
export function shapeSet({ side }: Pick<Keying, 'side'>): SetName {
  return side === 'inside' ? 'inside-shapes' : 'shapes';
}

/** The map that holds its slots. */
export function endpointSet({ keyedBy, side }: Keying): SetName {
  const set = keyedBy === 'vip' ? 'endpoints' : 'nodeport-endpoints';
  return side === 'inside' ? `inside-${set}` : set;
}

/** The map that holds the backend id of each slot of a shape with `balancing`. */
export function pickSet({ keyedBy, side }: Keying): SetName {
  const set = keyedBy === 'vip' ? 'picks' : 'nodeport-picks';
  return side === 'inside' ? `inside-${set}` : set;
}

/** The map that holds the endpoint of each backend id. */
export function pickedSet({ keyedBy, side }: Keying): SetName {
  const set = keyedBy === 'vip' ? 'picked' : 'nodeport-picked';
  return side === 'inside' ? `inside-${set}` : set;
}

/** The map in which packets keep the backend id that a client sticks to. */
export function affinitySet({ keyedBy, side }: Keying): SetName {
  const set = keyedBy === 'vip' ? 'affinity' : 'nodeport-affinity';
  return side === 'inside' ? `inside-${set}` : set;
}

/** The key of one slot: the frontend's key and the number the pick drew. */
export function slotKey(frontendKey: string, slot: number): string {
  return frontendKey + packHostU32(slot);
}
