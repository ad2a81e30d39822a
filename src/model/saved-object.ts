// A known object as one value that JSON can carry, and back: what is kept over a restart is what the builders made, so that
// nothing has to be judged twice.

import { intern } from './intern.ts';
import { DEFAULT_POLICY, type ServicePolicy } from './service-policy.ts';
import type { ObjectKind } from './source-event.ts';
import { type SourceRanges, UNRESTRICTED } from './source-ranges.ts';
import type { Endpoint, EndpointSlice, Node, Service, ServiceCidr } from './types.ts';

/** A reduced object of each kind. */
export interface KnownObjects {
  readonly Service: Service;
  readonly EndpointSlice: EndpointSlice;
  readonly Node: Node;
  readonly ServiceCIDR: ServiceCidr;
}

/** An object with its kind. */
export type KnownObject = {
  readonly [K in ObjectKind]: { readonly kind: K; readonly value: KnownObjects[K] };
}[ObjectKind];

/**
 * Of what `saveObject` makes. It goes up whenever a reduced object changes: a field more or less, or another meaning of one. What
 * another version saved is not read.
 */
export const SAVED_VERSION = 3;

/** As one line of JSON. */
export function saveObject({ kind, value }: KnownObject): string {
  return JSON.stringify([kind, value]);
}

/** What `saveObject` of the same version made. Throws SyntaxError or TypeError for anything else it can tell. */
export function loadObject(line: string): KnownObject {
  const [kind, value] = JSON.parse(line) as [ObjectKind, never];
  if (!Object.hasOwn(LOADERS, kind)) throw new TypeError(`unknown kind ${JSON.stringify(kind)}`);
  const load = LOADERS[kind] as (value: never) => KnownObjects[ObjectKind];
  return { kind, value: load(value) } as KnownObject;
}

// Each is written out: JSON has no undefined and no Infinity, and objects that were listed and objects that were read must have
// the same keys in the same order, to be equal and to share what V8 knows of their shape.
const LOADERS: { readonly [K in ObjectKind]: (value: KnownObjects[K]) => KnownObjects[K] } = {
  Service: (value) => ({
    key: value.key,
    namespace: intern(value.namespace),
    name: value.name,
    uid: value.uid,
    createdAtMs: value.createdAtMs ?? Number.POSITIVE_INFINITY,
    type: value.type,
    isProxied: value.isProxied,
    clusterIps: value.clusterIps,
    ipFamilies: value.ipFamilies,
    externalIps: value.externalIps,
    loadBalancerIps: value.loadBalancerIps,
    isInternalLocal: value.isInternalLocal,
    isExternalLocal: value.isExternalLocal,
    healthCheckNodePort: value.healthCheckNodePort,
    affinityTimeoutSeconds: value.affinityTimeoutSeconds,
    sourceRanges: loadSourceRanges(value.sourceRanges),
    policy: loadPolicy(value.policy),
    ports: value.ports.map(({ name, protocol, port, nodePort }) => ({
      name: intern(name),
      protocol: internAs(protocol),
      port,
      nodePort,
    })),
  }),
  EndpointSlice: (value) => ({
    key: value.key,
    serviceKey: value.serviceKey,
    family: value.family,
    ports: value.ports.map(({ name, protocol, port }) => ({
      name: intern(name),
      protocol: internAs(protocol),
      port,
    })),
    endpoints: value.endpoints.map(loadEndpoint),
  }),
  Node: (value) => ({
    name: value.name,
    zone: value.zone,
    addresses: value.addresses,
    podCidrs: value.podCidrs,
    isEligible: value.isEligible,
  }),
  ServiceCIDR: (value) => ({ name: value.name, cidrs: value.cidrs }),
};

function loadEndpoint(value: Endpoint): Endpoint {
  const { ip, isReady, isServing, isTerminating } = value;
  const zoneHints = value.zoneHints?.map(intern);
  const nodeHints = value.nodeHints?.map(intern);
  const nodeName = value.nodeName === undefined ? undefined : intern(value.nodeName);
  // Two literals, as where they are built.
  return value.zone === undefined
    ? { ip, isReady, isServing, isTerminating, zoneHints, nodeHints, nodeName }
    : { ip, isReady, isServing, isTerminating, zoneHints, nodeHints, nodeName, zone: intern(value.zone) };
}

function loadSourceRanges(value: SourceRanges): SourceRanges {
  return value[4] === undefined && value[6] === undefined ? UNRESTRICTED : { 4: value[4], 6: value[6] };
}

function loadPolicy(value: ServicePolicy): ServicePolicy {
  const { scheduler, schedulerFlags, isDirect, weights, removedTcp, maxConnections, proxyProtocol } = value;
  const isDefault =
    scheduler === DEFAULT_POLICY.scheduler &&
    schedulerFlags.length === 0 &&
    !isDirect &&
    weights === undefined &&
    removedTcp.kind === 'keep' &&
    maxConnections === undefined &&
    proxyProtocol === 'none';
  return isDefault
    ? DEFAULT_POLICY
    : { scheduler, schedulerFlags, isDirect, weights, removedTcp, maxConnections, proxyProtocol };
}

function internAs<T extends string>(text: T): T {
  return intern(text) as T;
}
