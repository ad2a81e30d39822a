// A Frontend in this mode's terms: one element that names its shape, n endpoint slots, and the objects it shares.

import { type IpFamily, packIp } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { Frontend } from '../../vip/frontend.ts';
import { packEndpoint, packHostU32, packPort, packProtocol, type SetName, serviceValue } from './names.ts';
import { REFUSE_ID, type Shape, shapeId } from './shape.ts';
import { assignSlots } from './slots.ts';

/** What one Frontend contributes to the table. */
export interface PlannedFrontend {
  /** Unique over both families. */
  readonly id: string;
  readonly family: IpFamily;
  readonly keyedBy: Shape['keyedBy'];
  readonly service: ServiceKey;
  /** Element key in `services` or `nodeports`. */
  readonly key: string;
  /** Element value there: shape and comment. */
  readonly value: string;
  /** undefined when there is no backend: connections are refused. */
  readonly shape: Shape | undefined;
  /** Packed endpoint per slot. */
  readonly slots: readonly string[];
  /** Packed cluster IP, undefined for every other kind. */
  readonly clusterIp: string | undefined;
  /** Packed `ip . ip` of every backend that may dial itself through the VIP. */
  readonly hairpins: readonly string[];
}

const NONE: readonly string[] = [];

/** The slots a frontend has so far, by its id. */
export type PreviousSlots = (
  id: string,
  frontend: Pick<PlannedFrontend, 'family' | 'keyedBy' | 'key'>,
) => readonly string[];

/** Plans one Frontend; slots stay where `previousSlots` says they are. */
export function planFrontend(frontend: Frontend, previousSlots: PreviousSlots): PlannedFrontend {
  const { family, address, protocol, port, backends, kind } = frontend;
  const keyedBy = address === undefined ? 'nodeport' : 'vip';
  const packedAddress = address === undefined ? '' : packIp(address);
  const key = packedAddress + packProtocol(protocol) + packPort(port);
  const id = frontendId(family, keyedBy, key);
  const wanted = backends.map((backend) => packEndpoint(backend.ip, backend.port));
  const shape: Shape | undefined =
    wanted.length === 0 ? undefined : { keyedBy, slotCount: wanted.length, masquerade: frontend.masquerade };
  const local = backends.filter((backend) => backend.isMaybeLocal);
  return {
    id,
    family,
    keyedBy,
    service: frontend.service,
    key,
    value: serviceValue(shape === undefined ? REFUSE_ID : shapeId(shape), frontend.displayName),
    shape,
    slots: wanted.length === 0 ? NONE : assignSlots(previousSlots(id, { family, keyedBy, key }), wanted),
    clusterIp: kind === 'ClusterIP' ? packedAddress : undefined,
    hairpins: local.length === 0 ? NONE : [...new Set(local.map(({ ip }) => packIp(ip).repeat(2)))],
  };
}

/** Identifies a frontend by its place in the table. */
export function frontendId(family: IpFamily, keyedBy: Shape['keyedBy'], key: string): string {
  return `${family}${keyedBy === 'vip' ? 'v' : 'n'}${key}`;
}

/** The map that holds the frontend. */
export function serviceSet(frontend: Pick<PlannedFrontend, 'keyedBy'>): SetName {
  return frontend.keyedBy === 'vip' ? 'services' : 'nodeports';
}

/** The map that holds its slots. */
export function endpointSet(frontend: Pick<PlannedFrontend, 'keyedBy'>): SetName {
  return frontend.keyedBy === 'vip' ? 'endpoints' : 'nodeport-endpoints';
}

/** The key of one slot: the frontend's key and the number the pick drew. */
export function slotKey(frontendKey: string, slot: number): string {
  return frontendKey + packHostU32(slot);
}
