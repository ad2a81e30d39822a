// Service + EndpointSlices + node settings → Frontends. Pure; Kubernetes' rules as kube-proxy 1.36 applies them
// (pkg/proxy/serviceport.go, endpointslicecache.go, topology.go).

import { familyOf, type Ip, type IpFamily } from '../model/ip.ts';
import type { EndpointSlice, Service, ServicePort } from '../model/types.ts';
import type { Backend, Frontend, FrontendKind, Masquerade } from './frontend.ts';

/** What about this node and its configuration decides Frontends. */
export interface FrontendSettings {
  /** This node's name; endpoints that carry it are local. */
  readonly nodeName: string;
  /** Families for which clients outside the cluster can be told apart (`--cluster-cidr` has a CIDR of the family). */
  readonly clusterCidrFamilies: readonly IpFamily[];
  /** `--masquerade-all`: cluster-IP traffic is masqueraded whoever sends it. */
  readonly masqueradeAll: boolean;
}

/**
 * Every Frontend of one Service, in a fixed order: by port, then family, then kind. An address that appears twice for
 * one port (an external IP that is also an ingress IP) yields one Frontend, of the first kind that names it.
 */
export function buildFrontends(
  service: Service,
  slices: readonly EndpointSlice[],
  settings: FrontendSettings,
): Frontend[] {
  if (!service.isProxied) return [];
  const frontends: Frontend[] = [];
  for (const port of service.ports) {
    for (const family of service.ipFamilies) {
      const backends = buildBackends(port, family, slices, settings.nodeName);
      const add = (kind: FrontendKind, address: Ip | undefined, masquerade: Masquerade): void => {
        frontends.push({
          kind,
          family,
          address,
          protocol: port.protocol,
          port: kind === 'NodePort' ? port.nodePort : port.port,
          service: service.key,
          displayName: displayName(service, port),
          backends,
          masquerade,
          whenEmpty: 'refuse',
          insideBackends: undefined,
        });
      };
      const seen = new Set<Ip>();
      const addAll = (kind: FrontendKind, addresses: readonly Ip[], masquerade: Masquerade): void => {
        for (const address of addresses) {
          if (familyOf(address) !== family || seen.has(address)) continue;
          seen.add(address);
          add(kind, address, masquerade);
        }
      };
      addAll('ClusterIP', service.clusterIps, clusterIpMasquerade(family, settings));
      addAll('ExternalIP', service.externalIps, 'always');
      addAll('LoadBalancer', service.loadBalancerIps, 'always');
      if (port.nodePort !== 0) add('NodePort', undefined, 'always');
    }
  }
  return frontends;
}

/** `namespace/name` or `namespace/name:port`; the protocol is not part of it. */
function displayName(service: Service, port: ServicePort): string {
  return port.name === '' ? service.key : `${service.key}:${port.name}`;
}

function clusterIpMasquerade(family: IpFamily, settings: FrontendSettings): Masquerade {
  if (settings.masqueradeAll) return 'always';
  return settings.clusterCidrFamilies.includes(family) ? 'off-cluster' : 'never';
}

/**
 * Ready endpoints of a port over all slices of the family, merged by `ip:port` and ordered by it, so that the result
 * does not depend on the order of slices. Ports match by name and protocol: slices may map one name to several numbers.
 */
function buildBackends(
  port: ServicePort,
  family: IpFamily,
  slices: readonly EndpointSlice[],
  nodeName: string,
): readonly Backend[] {
  const backends: Backend[] = [];
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const target of slice.ports) {
      if (target.name !== port.name || target.protocol !== port.protocol) continue;
      for (const { ip, isReady, nodeName: endpointNode } of slice.endpoints) {
        if (!isReady) continue;
        backends.push({
          ip,
          port: target.port,
          isMaybeLocal: endpointNode === undefined || endpointNode === nodeName,
        });
      }
    }
  }
  backends.sort(compareBackends);
  return withoutDuplicates(backends);
}

function compareBackends(a: Backend, b: Backend): number {
  if (a.ip !== b.ip) return a.ip < b.ip ? -1 : 1;
  return a.port - b.port;
}

function isSameBackend(a: Backend, b: Backend): boolean {
  return a.ip === b.ip && a.port === b.port;
}

/** One backend per `ip:port`; it is maybe local when any of its entries is. */
function withoutDuplicates(sorted: readonly Backend[]): Backend[] {
  const unique: Backend[] = [];
  for (const backend of sorted) {
    const last = unique.at(-1);
    if (last === undefined || !isSameBackend(last, backend)) unique.push(backend);
    else if (backend.isMaybeLocal && !last.isMaybeLocal) unique[unique.length - 1] = backend;
  }
  return unique;
}
