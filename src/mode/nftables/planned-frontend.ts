// A Frontend in this mode's terms: an element that names its shape, n endpoint slots, and the objects it shares; and the
// same again for this node and its pods where a Local policy gives others less.

import { InternalError } from '../../errors.ts';
import { type IpFamily, packIp } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';
import { packEndpoint, packHostU32, packPort, packProtocol, type SetName, serviceValue } from './names.ts';
import { DROP_ID, type Keying, REFUSE_ID, type Shape, shapeId } from './shape.ts';
import { assignSlots } from './slots.ts';
import { type RangeElements, rangeElements } from './source-ranges.ts';

/** An element in one of the maps of frontends, and its slots. */
export interface PlannedSide extends Keying {
  /** Element value: shape and comment. */
  readonly value: string;
  /** undefined for what leads to a fixed chain: nothing behind it, nobody let in. */
  readonly shape: Shape | undefined;
  /** Packed endpoint per slot. */
  readonly slots: readonly string[];
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
  /** Packed `ip . ip` of every backend that may dial itself through the VIP. */
  readonly hairpins: readonly string[];
}

/** Where a side of a frontend is in the table. */
export interface SidePlace extends Keying {
  readonly family: IpFamily;
  readonly key: string;
}

/** The slots that a side of a frontend has so far. */
export type PreviousSlots = (place: SidePlace) => readonly string[];

const NONE: readonly string[] = [];

/**
 * Plans one Frontend; slots stay where `previousSlots` says they are. Source ranges are a matter of load-balancer
 * addresses: a node port that had some would be open to everybody, so it is an InternalError.
 */
export function planFrontend(frontend: Frontend, previousSlots: PreviousSlots): PlannedFrontend {
  const { family, address, protocol, port, backends, insideBackends, kind, sourceRanges } = frontend;
  if (address === undefined && sourceRanges !== undefined) {
    throw new InternalError(`source ranges of node port ${port} of ${frontend.displayName}`);
  }
  const keyedBy = address === undefined ? 'nodeport' : 'vip';
  const packedAddress = address === undefined ? '' : packIp(address);
  const key = packedAddress + packProtocol(protocol) + packPort(port);
  const planSide = (side: Keying['side'], behind: readonly Backend[], hasInside: boolean): PlannedSide => {
    const isRestricted = side === 'all' && sourceRanges !== undefined;
    const wanted = behind.map((backend) => packEndpoint(backend.ip, backend.port));
    const { whenEmpty } = frontend;
    const isFixed = wanted.length === 0 && !hasInside && !isRestricted;
    // Inside, the chain that sends here has asked for masquerading already, where it is due; what is empty asks for none.
    const masquerade = side === 'inside' || wanted.length === 0 ? 'never' : frontend.masquerade;
    const shape: Shape | undefined = isFixed
      ? undefined
      : { keyedBy, side, slotCount: wanted.length, masquerade, hasInside, isRestricted, whenEmpty };
    const id = shape !== undefined ? shapeId(shape) : whenEmpty === 'drop' ? DROP_ID : REFUSE_ID;
    return {
      keyedBy,
      side,
      shape,
      value: serviceValue(id, frontend.displayName),
      slots: wanted.length === 0 ? NONE : assignSlots(previousSlots({ family, keyedBy, side, key }), wanted),
    };
  };
  // Not a spread of the side: 50,000 of these are kept, and literals are smaller.
  const outside = planSide('all', backends, insideBackends !== undefined);
  const local = (insideBackends === undefined ? backends : [...backends, ...insideBackends]).filter(
    (backend) => backend.isMaybeLocal,
  );
  return {
    id: frontendId(family, keyedBy, key),
    family,
    keyedBy,
    side: outside.side,
    service: frontend.service,
    key,
    value: outside.value,
    shape: outside.shape,
    slots: outside.slots,
    inside: insideBackends === undefined ? undefined : planSide('inside', insideBackends, false),
    ranges: sourceRanges === undefined ? undefined : rangeElements(key, sourceRanges),
    clusterIp: kind === 'ClusterIP' ? packedAddress : undefined,
    hairpins: local.length === 0 ? NONE : [...new Set(local.map(({ ip }) => packIp(ip).repeat(2)))],
  };
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

/** The key of one slot: the frontend's key and the number the pick drew. */
export function slotKey(frontendKey: string, slot: number): string {
  return frontendKey + packHostU32(slot);
}
