// Where UDP flows of a Service are dialled on this node, and which endpoints may still answer them. Pure.
//
// Connection tracking repeats the first NAT decision for every later packet of a flow. A UDP flow has no end, so one
// whose endpoint is gone leads nowhere for as long as its client keeps sending. TCP and SCTP see that for themselves.
// Authority: kube-proxy's pkg/proxy/conntrack/cleanup.go, with #139629 and #141371 (Services without endpoints, deleted
// ones).

import { type Ip, type IpFamily, packIp } from '../../model/ip.ts';
import type { EndpointSlice, Service, ServiceKey, ServicePort } from '../../model/types.ts';
import { type Frontend, frontendKey } from '../frontend.ts';

/** A UDP frontend as far as its flows are concerned. */
export interface FlowTarget {
  /** `frontendKey` of the frontend. */
  readonly key: string;
  readonly service: ServiceKey;
  readonly family: IpFamily;
  /** undefined for a node port. */
  readonly address: Ip | undefined;
  readonly port: number;
  /** `flowEnd` of every endpoint that may answer. Flows to any other are stale. */
  readonly endpoints: ReadonlySet<string>;
  /** The frontend is no longer served: of its flows only those are ours that were translated. */
  readonly isRemoved: boolean;
}

/** An address (packed) and port as one string, to be looked up. */
export function flowEnd(packedIp: string, port: number): string {
  return packedIp + String.fromCharCode(port);
}

/** The targets of a Service's Frontends, those that it was granted where several Services claim the same. */
export function flowTargets(
  frontends: readonly Frontend[],
  service: Service | undefined,
  slices: readonly EndpointSlice[],
): FlowTarget[] {
  const targets: FlowTarget[] = [];
  const udp = frontends.filter(({ protocol }) => protocol === 'UDP');
  if (service === undefined || udp.length === 0) return targets;
  for (const servicePort of service.ports) {
    if (servicePort.protocol !== 'UDP') continue;
    for (const family of service.ipFamilies) {
      const endpoints = lastingEndpoints(servicePort, family, slices);
      for (const frontend of udp) {
        const { address, port } = frontend;
        const isOfPort = port === (address === undefined ? servicePort.nodePort : servicePort.port);
        if (frontend.family !== family || !isOfPort) continue;
        const key = frontendKey(frontend);
        targets.push({ key, service: service.key, family, address, port, endpoints, isRemoved: false });
      }
    }
  }
  return targets;
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
