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

export interface ServiceSpec {
  readonly namespace?: string;
  readonly clusterIps: readonly string[];
  readonly ports: readonly PortSpec[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly externalIps?: readonly string[];
  readonly loadBalancerIps?: readonly string[] | undefined;
  /** ISO 8601. */
  readonly createdAt?: string;
}

/** A Service; its type follows from what it has. */
export function service(name: string, spec: ServiceSpec): object {
  const { namespace = 'default', clusterIps, ports, labels, externalIps, loadBalancerIps, createdAt } = spec;
  const hasNodePort = ports.some(({ nodePort }) => nodePort !== undefined);
  const type = loadBalancerIps !== undefined ? 'LoadBalancer' : hasNodePort ? 'NodePort' : 'ClusterIP';
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name, labels, creationTimestamp: createdAt },
    spec: { type, clusterIP: clusterIps[0], clusterIPs: clusterIps, ports, externalIPs: externalIps },
    ...(loadBalancerIps && { status: { loadBalancer: { ingress: loadBalancerIps.map((ip) => ({ ip })) } } }),
  };
}

export interface EndpointSpec {
  readonly ip: string;
  readonly ready?: boolean;
  readonly nodeName?: string;
}

export interface SliceSpec {
  readonly namespace?: string;
  readonly ports: readonly PortSpec[];
  /** Of one family; a plain string is a ready endpoint on the node of the tests. */
  readonly endpoints: readonly (string | EndpointSpec)[];
}

/** An EndpointSlice of a Service. */
export function slice(serviceName: string, name: string, spec: SliceSpec): object {
  const { namespace = 'default', ports, endpoints } = spec;
  const specs = endpoints.map((one) => (typeof one === 'string' ? { ip: one, nodeName: NODE_NAME } : one));
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace, name, labels: { 'kubernetes.io/service-name': serviceName } },
    addressType: specs.some(({ ip }) => ip.includes(':')) ? 'IPv6' : 'IPv4',
    ports,
    endpoints: specs.map(({ ip, ready, nodeName }) => ({ addresses: [ip], conditions: { ready }, nodeName })),
  };
}

/** The node that the daemon of a test runs on. */
export const NODE_NAME = 'node-1';

/** A Node with internal addresses, the primary ones first. */
export function node(...addresses: string[]): object {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: NODE_NAME },
    status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) },
  };
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
