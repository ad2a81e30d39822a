// The Kubernetes objects this daemon reads, reduced to the fields that decide anything.
// Everything here is validated, canonical and frozen by convention; raw API objects never get past src/model/build-*.

import type { Cidr, Ip, IpFamily } from './ip.ts';
import type { ServicePolicy } from './service-policy.ts';
import type { SourceRanges } from './source-ranges.ts';

/** L4 protocols a Service may use (core/v1 Protocol). */
export type Protocol = 'TCP' | 'UDP' | 'SCTP';

/** `namespace/name` of a Service. */
export type ServiceKey = string & { readonly __brand: 'ServiceKey' };

export interface ServicePort {
  /** '' for an unnamed port. Endpoint slices match on (name, protocol), never on the number. */
  readonly name: string;
  readonly protocol: Protocol;
  /** 1 to 65535. */
  readonly port: number;
  /** 0 when none is allocated. */
  readonly nodePort: number;
}

/** A Service that may be proxied, reduced (core/v1 Service). */
export interface Service {
  readonly key: ServiceKey;
  readonly namespace: string;
  readonly name: string;
  /** metadata.uid, '' when the source has none. */
  readonly uid: string;
  /** metadata.creationTimestamp in milliseconds since the epoch, Infinity when absent (sorts last). */
  readonly createdAtMs: number;
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  /** False for headless, ExternalName and foreign service-proxy-name services: known, but left alone. */
  readonly isProxied: boolean;
  /** At most one per family. */
  readonly clusterIps: readonly Ip[];
  /** Families the Service is offered in: those of its cluster IPs. */
  readonly ipFamilies: readonly IpFamily[];
  readonly externalIps: readonly Ip[];
  /** status.loadBalancer.ingress[].ip whose ipMode is unset or VIP. */
  readonly loadBalancerIps: readonly Ip[];
  /** internalTrafficPolicy is Local: cluster-IP traffic stays on its node. */
  readonly isInternalLocal: boolean;
  /** externalTrafficPolicy is Local, and the Service is of a kind for which that counts (kube-proxy.md §2.2). */
  readonly isExternalLocal: boolean;
  /** spec.healthCheckNodePort of a LoadBalancer Service with external policy Local, else 0. */
  readonly healthCheckNodePort: number;
  /**
   * With sessionAffinity ClientIP, how long after its last connection a client keeps its endpoint, in seconds (1 to
   * 86,400). undefined without affinity.
   */
  readonly affinityTimeoutSeconds: number | undefined;
  /** spec.loadBalancerSourceRanges. They concern load-balancer addresses only. */
  readonly sourceRanges: SourceRanges;
  /** What annotations ask for. */
  readonly policy: ServicePolicy;
  readonly ports: readonly ServicePort[];
}

export interface EndpointPort {
  /** '' for an unnamed port. */
  readonly name: string;
  readonly protocol: Protocol;
  /** 1 to 65535. */
  readonly port: number;
}

export interface Endpoint {
  /** The first address of the slice's endpoint; the others are ignored, as the API documents. */
  readonly ip: Ip;
  /** conditions.ready, true when unset. */
  readonly isReady: boolean;
  /** conditions.serving, true when unset. */
  readonly isServing: boolean;
  /** conditions.terminating, false when unset. */
  readonly isTerminating: boolean;
  /** hints.forZones, undefined when empty. */
  readonly zoneHints: readonly string[] | undefined;
  /** hints.forNodes, undefined when empty. */
  readonly nodeHints: readonly string[] | undefined;
  /** undefined when the slice does not say. */
  readonly nodeName: string | undefined;
  /** Missing when the slice does not say: an object of its own shape, so that it costs nothing there. */
  readonly zone?: string;
}

/** discovery.k8s.io/v1 EndpointSlice, reduced. */
export interface EndpointSlice {
  /** `namespace/name` of the slice. */
  readonly key: string;
  /** The Service named by label kubernetes.io/service-name. */
  readonly serviceKey: ServiceKey;
  readonly family: IpFamily;
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
}

/** core/v1 Node, reduced. */
export interface Node {
  readonly name: string;
  /** Label topology.kubernetes.io/zone, undefined when it has none. */
  readonly zone: string | undefined;
  /** InternalIP entries first, then ExternalIP, in the order of status.addresses; the first is the primary. */
  readonly addresses: readonly Ip[];
  /** spec.podCIDRs, or spec.podCIDR alone; in order. */
  readonly podCidrs: readonly Cidr[];
  /** Load balancers may send traffic here: neither being deleted nor about to be by the cluster autoscaler (KEP-3836). */
  readonly isEligible: boolean;
}

/** networking.k8s.io/v1 ServiceCIDR, reduced. */
export interface ServiceCidr {
  readonly name: string;
  /** spec.cidrs: one, or one per family. */
  readonly cidrs: readonly Cidr[];
}

/**
 * Something wrong with an input that did not stop the rest: an odd object, a conflict, an unreadable document.
 * A problem lives until the same subject is seen without it.
 */
export interface Problem {
  /** What a human would look for: `Service default/web`, `web.yaml document 2`. */
  readonly subject: string;
  /** Stable, for machines: `INVALID_FIELD`, `VIP_CONFLICT`, `UNREADABLE`, ... */
  readonly code: string;
  /** One sentence; names the field where there is one (`spec.ports[0].port: must be 1 to 65535, got 70000`). */
  readonly reason: string;
}
