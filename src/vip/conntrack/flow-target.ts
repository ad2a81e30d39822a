// Where flows of a Service are dialled on this node that must not outlive their endpoint, and which endpoints may still
// answer them. Pure.
//
// Connection tracking repeats the first NAT decision for every later packet of a flow. A UDP flow has no end, so one
// whose endpoint is gone leads nowhere for as long as its client keeps sending. TCP and SCTP see that for themselves; for
// TCP a Service may ask for more (RemovedTcpPolicy).
// Authority: kube-proxy's pkg/proxy/conntrack/cleanup.go, with #139629 and #141371 (Services without endpoints, deleted
// ones). TCP is our own.

import { type Ip, type IpFamily, packIp } from '../../model/ip.ts';
import type { EndpointSlice, Protocol, Service, ServiceKey, ServicePort } from '../../model/types.ts';
import { type Frontend, frontendKey } from '../frontend.ts';

/** A frontend as far as its flows are concerned. */
export interface FlowTarget {
  /** `frontendKey` of the frontend. */
  readonly key: string;
  readonly service: ServiceKey;
  readonly family: IpFamily;
  readonly protocol: Protocol;
  /** undefined for a node port. */
  readonly address: Ip | undefined;
  readonly port: number;
  /** `flowEnd` of every endpoint that may answer. Flows to any other are stale, `graceMs` after it left. */
  readonly endpoints: ReadonlySet<string>;
  readonly graceMs: number;
  /** The frontend is no longer served: of its flows only those are ours that were translated. */
  readonly isRemoved: boolean;
}

/** An address (packed) and port as one string, to be looked up. */
export function flowEnd(packedIp: string, port: number): string {
  return packedIp + String.fromCharCode(port);
}

/** How long a Service leaves flows alone that have lost their endpoint, in ms; undefined when for ever. */
export function graceMsOf({ policy }: Service, protocol: Protocol): number | undefined {
  if (protocol === 'UDP') return 0;
  return protocol === 'TCP' && policy.removedTcp.kind === 'reset' ? policy.removedTcp.graceMs : undefined;
}

/** `flowEnd` of each proxy that flows of a Frontend lead to; undefined when they lead to endpoints. */
export type PortalEnds = (frontend: Frontend) => ReadonlySet<string> | undefined;

/** The targets of a Service's Frontends, those that it was granted where several Services claim the same. */
export function flowTargets(
  frontends: readonly Frontend[],
  service: Service | undefined,
  slices: readonly EndpointSlice[],
  portals: PortalEnds = () => undefined,
): FlowTarget[] {
  const targets: FlowTarget[] = [];
  if (service === undefined) return targets;
  for (const servicePort of service.ports) {
    const { protocol } = servicePort;
    const graceMs = graceMsOf(service, protocol);
    if (graceMs === undefined) continue;
    for (const family of service.ipFamilies) {
      const endpoints = lastingEndpoints(servicePort, family, slices);
      for (const frontend of frontends) {
        const { address, port } = frontend;
        const isOfPort = port === (address === undefined ? servicePort.nodePort : servicePort.port);
        if (frontend.protocol !== protocol || frontend.family !== family || !isOfPort) continue;
        const key = frontendKey(frontend);
        const at = { key, service: service.key, family, protocol, address, port };
        const proxies = portals(frontend);
        targets.push({ ...at, endpoints: endsOf(endpoints, proxies), graceMs, isRemoved: false });
      }
    }
  }
  return targets;
}

/** What was led to an endpoint at a time without proxies is answered from there, and goes on. */
function endsOf(
  endpoints: ReadonlySet<string>,
  proxies: ReadonlySet<string> | undefined,
): ReadonlySet<string> {
  if (proxies === undefined) return endpoints;
  return new Set([...endpoints, ...proxies]);
}

/**
 * Endpoints that may keep the flows they have. As in kube-proxy that is decided by `serving`: traffic policy, topology
 * and termination send new flows elsewhere and leave the others where they are. Unlike there, `ready` counts as well:
 * with publishNotReadyAddresses an endpoint may be ready without serving, and it is given new flows.
 */
function lastingEndpoints(
  port: ServicePort,
  family: IpFamily,
  slices: readonly EndpointSlice[],
): ReadonlySet<string> {
  const ends = new Set<string>();
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const target of slice.ports) {
      if (target.name !== port.name || target.protocol !== port.protocol) continue;
      for (const { ip, isServing, isReady } of slice.endpoints) {
        if (isServing || isReady) ends.add(flowEnd(packIp(ip), target.port));
      }
    }
  }
  return ends;
}
