// Kubernetes objects as manifests state them, with what tests do not care about filled in, and a folder to put them in.

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface PortSpec {
  readonly name?: string;
  /** TCP unless given. */
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP';
  readonly port: number;
  readonly nodePort?: number | undefined;
}

/** Where a load balancer is reached, as its status tells it. */
export interface IngressSpec {
  readonly ip?: string;
  readonly hostname?: string;
  readonly ipMode?: 'VIP' | 'Proxy' | undefined;
}

export interface ServiceSpec {
  readonly namespace?: string;
  /** Follows from what it has unless given. */
  readonly type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName' | undefined;
  readonly clusterIps: readonly string[];
  readonly ports: readonly PortSpec[];
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly externalIps?: readonly string[];
  /** A plain string is an address of a load balancer that leaves it to the nodes. */
  readonly loadBalancerIps?: readonly (string | IngressSpec)[] | undefined;
  readonly sourceRanges?: readonly string[] | undefined;
  readonly internalPolicy?: TrafficPolicy | undefined;
  readonly externalPolicy?: TrafficPolicy | undefined;
  /** Session affinity by client address, for so many seconds. */
  readonly affinitySeconds?: number | undefined;
  /** ISO 8601. */
  readonly createdAt?: string | undefined;
  /** Fields of `spec` that no other option has, or in place of theirs. */
  readonly spec?: object | undefined;
}

export type TrafficPolicy = 'Cluster' | 'Local';

/** A Service, as the API server would complete it. */
export function service(name: string, options: ServiceSpec): object {
  const { namespace = 'default', clusterIps, ports, externalIps, loadBalancerIps, affinitySeconds } = options;
  const hasNodePort = ports.some(({ nodePort }) => nodePort !== undefined);
  const type = loadBalancerIps !== undefined ? 'LoadBalancer' : hasNodePort ? 'NodePort' : 'ClusterIP';
  const { labels, annotations, createdAt } = options;
  const ipFamilies = clusterIps.filter((ip) => ip !== 'None').map((ip) => `IPv${ip.includes(':') ? 6 : 4}`);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name, labels, annotations, creationTimestamp: createdAt },
    spec: {
      type: options.type ?? type,
      clusterIP: clusterIps[0],
      clusterIPs: clusterIps,
      ...(ipFamilies.length > 0 && { ipFamilies }),
      ports,
      externalIPs: externalIps,
      loadBalancerSourceRanges: options.sourceRanges,
      internalTrafficPolicy: options.internalPolicy,
      externalTrafficPolicy: options.externalPolicy,
      ...(affinitySeconds !== undefined && {
        sessionAffinity: 'ClientIP',
        sessionAffinityConfig: { clientIP: { timeoutSeconds: affinitySeconds } },
      }),
      ...options.spec,
    },
    ...(loadBalancerIps && {
      status: {
        loadBalancer: {
          ingress: loadBalancerIps.map((one) => (typeof one === 'string' ? { ip: one } : one)),
        },
      },
    }),
  };
}

export interface EndpointSpec {
  readonly ip: string;
  readonly ready?: boolean | undefined;
  readonly serving?: boolean | undefined;
  readonly terminating?: boolean | undefined;
  readonly nodeName?: string | undefined;
  readonly zone?: string | undefined;
  readonly zoneHints?: readonly string[] | undefined;
  readonly nodeHints?: readonly string[] | undefined;
}

export interface SliceSpec {
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Follows from the endpoints unless given. */
  readonly addressType?: 'IPv4' | 'IPv6';
  readonly ports: readonly PortSpec[];
  /** Of one family; a plain string is a ready endpoint on the node of the tests. */
  readonly endpoints: readonly (string | EndpointSpec)[];
}

/** An EndpointSlice of a Service. */
export function slice(serviceName: string, name: string, spec: SliceSpec): object {
  const { namespace = 'default', labels, ports, endpoints } = spec;
  const specs = endpoints.map((one) => (typeof one === 'string' ? { ip: one, nodeName: NODE_NAME } : one));
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace, name, labels: { 'kubernetes.io/service-name': serviceName, ...labels } },
    addressType: spec.addressType ?? (specs.some(({ ip }) => ip.includes(':')) ? 'IPv6' : 'IPv4'),
    ports,
    endpoints: specs.map(endpoint),
  };
}

function endpoint({ ip, nodeName, zone, zoneHints, nodeHints, ...conditions }: EndpointSpec): object {
  const named = (names: readonly string[]): object[] => names.map((name) => ({ name }));
  const hints = {
    ...(zoneHints && { forZones: named(zoneHints) }),
    ...(nodeHints && { forNodes: named(nodeHints) }),
  };
  const hasHints = Object.keys(hints).length > 0;
  return { addresses: [ip], conditions, nodeName, zone, ...(hasHints && { hints }) };
}

/** The node that the daemon of a test runs on. */
export const NODE_NAME = 'node-1';

export interface NodeSpec {
  readonly name?: string;
  /** Internal ones, the primary ones first. */
  readonly addresses?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly podCidrs?: readonly string[] | undefined;
}

/** A Node with internal addresses, the primary ones first; or with more than that. */
export function node(first: string | NodeSpec, ...others: string[]): object {
  const spec = typeof first === 'string' ? { addresses: [first, ...others] } : first;
  const { name = NODE_NAME, addresses = [], labels, podCidrs }: NodeSpec = spec;
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels },
    ...(podCidrs && { spec: { podCIDR: podCidrs[0], podCIDRs: podCidrs } }),
    status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) },
  };
}

/** A ServiceCIDR: networks of which cluster IPs are allocated, at most one per family. */
export function serviceCidr(name: string, ...cidrs: string[]): object {
  return { apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata: { name }, spec: { cidrs } };
}

/** A folder of manifests for `--source`. Files appear and change at once, as after a rename. */
export class ManifestDir {
  readonly path = mkdtempSync(join(tmpdir(), 'kproxy-test-'));

  /** Replaces the objects of a file. */
  put(name: string, ...objects: object[]): void {
    this.putText(name, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
  }

  putText(name: string, text: string): void {
    const draft = join(this.path, `.${name}`);
    writeFileSync(draft, text);
    renameSync(draft, join(this.path, `${name}.json`));
  }

  remove(name: string): void {
    rmSync(join(this.path, `${name}.json`));
  }

  delete(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
