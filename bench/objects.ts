// The cluster that is measured: Services with one TCP port, and an EndpointSlice each, with the fields that a real API
// server fills in. Everything follows from the index, so that every process of a run sees the same cluster.

/** Where the services and the pods are: 100,000 services of 40 endpoints fit. */
const SERVICE_NET = 0x0a600000; // 10.96.0.0/12
/** What load balancers give out. */
const INGRESS_NET = 0x64400000; // 100.64.0.0/10
const POD_NET = 0x0a800000; // 10.128.0.0/9
/** Pods that take the place of others: the upper half of the pods' network. */
const SPARE_NET = 0x0ac00000; // 10.192.0.0/10
export const POD_CIDR = '10.128.0.0/9';

/** The node that is proxied for: one of many, so that few endpoints are local. */
export const NODE_NAME = 'node-7';
const NODES = 500;
export const SERVICES_PER_NAMESPACE = 100;

export const SERVICE_PORT = 80;
export const POD_PORT = 8080;

/** What every Service of a cluster asks for. */
export type ServiceKind = keyof typeof KINDS;
/** Those of type LoadBalancer are dialled at their ingress address: source ranges mean that one only. */
const KINDS = {
  plain: { isLoadBalancer: false, spec: {} },
  affinity: {
    isLoadBalancer: false,
    spec: { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 10_800 } } },
  },
  'load-balancer': { isLoadBalancer: true, spec: {} },
  'source-ranges': {
    isLoadBalancer: true,
    spec: { loadBalancerSourceRanges: ['10.0.0.0/8', '192.168.0.0/16'] },
  },
} as const;
export const SERVICE_KINDS = Object.keys(KINDS) as ServiceKind[];

export interface ServiceTraits {
  /** `plain` when left out. */
  readonly kind?: ServiceKind | undefined;
  /** Of the Services in turn; all are TCP when left out. */
  readonly protocols?: readonly ('TCP' | 'UDP')[] | undefined;
}

/** `namespace` and `name` of a Service. */
export function serviceName(index: number): { readonly namespace: string; readonly name: string } {
  return { namespace: `team-${Math.floor(index / SERVICES_PER_NAMESPACE)}`, name: `service-${index}` };
}

export function clusterIp(index: number): string {
  return dotted(SERVICE_NET + index + 1);
}

/** Where a Service of that kind is dialled. */
export function vip(index: number, kind: ServiceKind): string {
  return KINDS[kind].isLoadBalancer ? dotted(INGRESS_NET + index + 1) : clusterIp(index);
}

/** The pods of a Service, so many per Service. */
export function podIps(index: number, endpoints: number): string[] {
  return Array.from({ length: endpoints }, (_, i) => dotted(POD_NET + index * endpoints + i + 1));
}

/** A pod that no Service has from the start. */
export function sparePodIp(number: number): string {
  return dotted(SPARE_NET + number + 1);
}

export function buildService(index: number, traits: ServiceTraits = {}): object {
  const { namespace, name } = serviceName(index);
  const ip = clusterIp(index);
  const { isLoadBalancer, spec } = KINDS[traits.kind ?? 'plain'];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { ...metadata(namespace, name, index), labels: labels(name) },
    spec: {
      clusterIP: ip,
      clusterIPs: [ip],
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ ...port(index, traits), port: SERVICE_PORT, targetPort: POD_PORT }],
      selector: { 'app.kubernetes.io/name': name },
      sessionAffinity: 'None',
      type: isLoadBalancer ? 'LoadBalancer' : 'ClusterIP',
      ...spec,
    },
    status: {
      loadBalancer: isLoadBalancer
        ? { ingress: [{ ip: dotted(INGRESS_NET + index + 1), ipMode: 'VIP' }] }
        : {},
    },
  };
}

export function buildEndpointSlice(
  index: number,
  ips: readonly string[],
  traits: ServiceTraits = {},
): object {
  const { namespace, name } = serviceName(index);
  return {
    addressType: 'IPv4',
    apiVersion: 'discovery.k8s.io/v1',
    endpoints: ips.map((ip, i) => ({
      addresses: [ip],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: `node-${(index * ips.length + i) % NODES}`,
      targetRef: { kind: 'Pod', name: `${name}-7d4b9c6f5-${i}`, namespace, uid: uid(index * 100 + i) },
      zone: `zone-${i % 3}`,
    })),
    kind: 'EndpointSlice',
    metadata: {
      ...metadata(namespace, `${name}-x7k2p`, index),
      generateName: `${name}-`,
      generation: 3,
      labels: {
        ...labels(name),
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        'kubernetes.io/service-name': name,
      },
      ownerReferences: [
        {
          apiVersion: 'v1',
          blockOwnerDeletion: true,
          controller: true,
          kind: 'Service',
          name,
          uid: uid(index),
        },
      ],
    },
    ports: [{ ...port(index, traits), port: POD_PORT }],
  };
}

function port(index: number, { protocols = ['TCP'] }: ServiceTraits): object {
  return { name: 'http', protocol: protocols[index % protocols.length] };
}

function metadata(namespace: string, name: string, index: number): object {
  return {
    annotations: { 'example.com/owner': `${namespace}@example.com`, 'example.com/tier': 'backend' },
    creationTimestamp: '2026-03-01T12:00:00Z',
    name,
    namespace,
    resourceVersion: String(100_000 + index),
    uid: uid(index),
  };
}

function labels(name: string): Record<string, string> {
  return { 'app.kubernetes.io/managed-by': 'Helm', 'app.kubernetes.io/name': name, tier: 'backend' };
}

function uid(number: number): string {
  return `5f0c1d2e-8a4b-4c3d-9e6f-${number.toString(16).padStart(12, '0')}`;
}

function dotted(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}
