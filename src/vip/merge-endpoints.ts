// The endpoints of one service port over all its slices, one per `ip:port` and ordered by it, so that nothing that
// follows depends on the order of slices (kube-proxy 1.36, pkg/proxy/endpointslicecache.go; there it may depend).

import type { IpFamily } from '../model/ip.ts';
import type { EndpointWeights } from '../model/service-policy.ts';
import type { Endpoint, EndpointSlice, ServicePort } from '../model/types.ts';
import type { Backend } from './frontend.ts';
import { weightOf } from './weights.ts';

/** An endpoint, and where traffic for the port finds it. */
export interface PortEndpoint {
  readonly endpoint: Endpoint;
  readonly backend: Backend;
}

/**
 * Ports match by name and protocol, never by number: slices may map one name to several numbers. An endpoint of weight 0
 * is left out as if it were not there, so that hints, draining endpoints and other nodes stand in for it as they would.
 */
export function mergeEndpoints(
  port: Pick<ServicePort, 'name' | 'protocol'>,
  family: IpFamily,
  slices: readonly EndpointSlice[],
  nodeName: string,
  weights?: EndpointWeights,
): readonly PortEndpoint[] {
  const all: PortEndpoint[] = [];
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const target of slice.ports) {
      if (target.name !== port.name || target.protocol !== port.protocol) continue;
      for (const endpoint of slice.endpoints) {
        const isMaybeLocal = endpoint.nodeName === undefined || endpoint.nodeName === nodeName;
        const weight = weightOf(endpoint, weights);
        all.push({ endpoint, backend: { ip: endpoint.ip, port: target.port, isMaybeLocal, weight } });
      }
    }
  }
  all.sort(compare);
  return all.filter(({ backend }, i) => {
    const before = all[i - 1]?.backend;
    const isFirst = before === undefined || before.ip !== backend.ip || before.port !== backend.port;
    // Only the entry that is believed has a say, were it that of a pod which is not to get connections.
    return isFirst && backend.weight > 0;
  });
}

function compare(a: PortEndpoint, b: PortEndpoint): number {
  if (a.backend.ip !== b.backend.ip) return a.backend.ip < b.backend.ip ? -1 : 1;
  return a.backend.port - b.backend.port || compareClaims(a, b);
}

/**
 * Which of two entries for one `ip:port` is believed; a negative number for `a`. One that is not terminating wins over
 * one that is: the address was given to a new pod while the old one still ends. kube-proxy leaves the rest to chance;
 * here it is the one that more traffic may use (ready, then serving, then on this node, then perhaps on it), and after
 * that the one with the smaller hints, node and zone. Entries equal in all this decide alike.
 */
function compareClaims(
  { endpoint: a, backend: at }: PortEndpoint,
  { endpoint: b, backend: bt }: PortEndpoint,
): number {
  return (
    Number(a.isTerminating) - Number(b.isTerminating) ||
    Number(b.isReady) - Number(a.isReady) ||
    Number(b.isServing) - Number(a.isServing) ||
    Number(bt.isMaybeLocal) - Number(at.isMaybeLocal) ||
    Number(a.nodeName === undefined) - Number(b.nodeName === undefined) ||
    compareText(String(a.nodeHints), String(b.nodeHints)) ||
    compareText(String(a.zoneHints), String(b.zoneHints)) ||
    // What weights look at.
    compareText(String(a.nodeName), String(b.nodeName)) ||
    compareText(String(a.zone), String(b.zone))
  );
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
