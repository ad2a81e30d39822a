// Service + EndpointSlices + node settings → Frontends: which addresses there are, and which traffic to them gets which
// endpoints. Pure; Kubernetes' rules as kube-proxy 1.36 applies them (pkg/proxy/serviceport.go, nftables/proxier.go).

import { type Cidr, familyOf, type Ip, type IpFamily } from '../model/ip.ts';
import type { EndpointSlice, Service, ServicePort } from '../model/types.ts';
import { admittedSources } from './admitted-sources.ts';
import { type AllowedExternalIps, servedExternalIps } from './external-ips.ts';
import type { Frontend, FrontendKind, Masquerade } from './frontend.ts';
import { mergeEndpoints } from './merge-endpoints.ts';
import type { NodeFacts } from './node-facts.ts';
import { type Selection, selectEndpoints } from './select-endpoints.ts';

/** What of the configuration decides Frontends, for as long as the daemon runs. */
export interface FrontendSettings {
  /** This node's name; endpoints that carry it are local. */
  readonly nodeName: string;
  /** `--masquerade-all`: cluster-IP traffic is masqueraded whoever sends it. */
  readonly masqueradeAll: boolean;
  /** `--allow-external-ips`. */
  readonly allowedExternalIps?: AllowedExternalIps;
}

/** What clients of an address get, by the kind of the address. */
type Treatment = Pick<Frontend, 'backends' | 'trafficPolicy' | 'masquerade' | 'insideBackends'>;

/**
 * Every Frontend of one Service, in a fixed order: by port, then family, then kind. An address that appears twice for
 * one port (an external IP that is also an ingress IP) yields one Frontend, of the first kind that names it.
 */
export function buildFrontends(
  service: Service,
  slices: readonly EndpointSlice[],
  settings: FrontendSettings,
  facts: NodeFacts,
): Frontend[] {
  if (!service.isProxied) return [];
  const place = { nodeName: settings.nodeName, zone: facts.zone };
  const externalIps = servedExternalIps(service, settings.allowedExternalIps);
  const admitted: Record<IpFamily, readonly Cidr[] | undefined> = {
    4: admittedSources(service, 4, facts),
    6: admittedSources(service, 6, facts),
  };
  const frontends: Frontend[] = [];
  for (const port of service.ports) {
    for (const family of service.ipFamilies) {
      const endpoints = mergeEndpoints(port, family, slices, settings.nodeName, service.policy.weights);
      const selection = selectEndpoints(endpoints, place, usesOf(service, port, family));
      const add = (kind: FrontendKind, address: Ip | undefined, treatment: Treatment): void => {
        frontends.push({
          kind,
          family,
          address,
          protocol: port.protocol,
          port: kind === 'NodePort' ? port.nodePort : port.port,
          service: service.key,
          displayName: displayName(service, port),
          // A client is told at once that a Service has no endpoints. Where only a Local policy keeps them away it is
          // left to try again: the load balancer is about to send it to another node.
          whenEmpty: selection.hasAny ? 'drop' : 'refuse',
          healthCheckNodePort: service.healthCheckNodePort,
          scheduler: service.policy.scheduler,
          ...(service.policy.schedulerFlags.length > 0 && { schedulerFlags: service.policy.schedulerFlags }),
          ...(service.policy.isDirect && { isDirect: true }),
          ...(service.policy.maxConnections !== undefined && {
            maxConnections: service.policy.maxConnections,
          }),
          ...(service.policy.proxyProtocol !== 'none' && { proxyProtocol: service.policy.proxyProtocol }),
          affinityTimeoutSeconds: service.affinityTimeoutSeconds,
          // A load-balancer address is restricted whatever else it is, as in kube-proxy's firewall-ips.
          sourceRanges:
            address !== undefined && service.loadBalancerIps.includes(address) ? admitted[family] : undefined,
          ...treatment,
        });
      };
      const seen = new Set<Ip>();
      const addAll = (kind: FrontendKind, addresses: readonly Ip[], treatment: Treatment): void => {
        for (const address of addresses) {
          if (familyOf(address) !== family || seen.has(address)) continue;
          seen.add(address);
          add(kind, address, treatment);
        }
      };
      const external = externalTreatment(service, selection);
      addAll(
        'ClusterIP',
        service.clusterIps,
        clusterIpTreatment(service, selection, family, settings, facts),
      );
      addAll('ExternalIP', externalIps, external);
      addAll('LoadBalancer', service.loadBalancerIps, external);
      if (port.nodePort !== 0) add('NodePort', undefined, external);
    }
  }
  return frontends;
}

/**
 * Which endpoint lists the traffic of a port needs. An internal policy never touches external addresses, so these need
 * the cluster list even under internalTrafficPolicy Local: as what they balance over, or as what their inside gets.
 */
function usesOf(service: Service, port: ServicePort, family: IpFamily): { cluster: boolean; local: boolean } {
  const isOfFamily = (ip: Ip): boolean => familyOf(ip) === family;
  const isExternal =
    port.nodePort !== 0 || service.loadBalancerIps.some(isOfFamily) || service.externalIps.some(isOfFamily);
  return {
    cluster: !service.isInternalLocal || isExternal,
    local: service.isInternalLocal || (service.isExternalLocal && isExternal),
  };
}

/** internalTrafficPolicy binds every client, this node and its pods too: they have no other list. */
function clusterIpTreatment(
  service: Service,
  selection: Selection,
  family: IpFamily,
  settings: FrontendSettings,
  facts: NodeFacts,
): Treatment {
  return {
    backends: service.isInternalLocal ? selection.local : selection.cluster,
    trafficPolicy: service.isInternalLocal ? 'Local' : 'Cluster',
    masquerade: clusterIpMasquerade(family, settings, facts),
    insideBackends: undefined,
  };
}

/**
 * externalTrafficPolicy Cluster masquerades, or an endpoint on another node would answer the client directly. Local
 * preserves the client's address, and is about clients that came from outside: what this node and its pods send to the
 * address short-circuits to the whole cluster, as if it had gone out and come back through any node. Both lists are
 * kept even when they are equal: the node's own connections are masqueraded, others are not.
 */
function externalTreatment(service: Service, { cluster, local }: Selection): Treatment {
  return service.isExternalLocal
    ? { backends: local, trafficPolicy: 'Local', masquerade: 'never', insideBackends: cluster }
    : { backends: cluster, trafficPolicy: 'Cluster', masquerade: 'always', insideBackends: undefined };
}

/** `namespace/name` or `namespace/name:port`; the protocol is not part of it. */
function displayName(service: Service, port: ServicePort): string {
  return port.name === '' ? service.key : `${service.key}:${port.name}`;
}

function clusterIpMasquerade(
  family: IpFamily,
  { masqueradeAll }: FrontendSettings,
  { localPods }: NodeFacts,
): Masquerade {
  if (masqueradeAll) return 'always';
  return localPods.has(family) ? 'off-cluster' : 'never';
}
