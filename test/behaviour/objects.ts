// Terse builders of raw API objects for the behaviour table: what a row does not say is what most clusters have. Every
// object is offered in both families and over all three protocols, so that one statement holds for all of them.

import type { IpFamily } from '../../src/model/ip.ts';
import type { Protocol } from '../../src/model/types.ts';
import {
  type Addresses,
  clusterIp,
  NODE_NAME,
  PLACES,
  type Place,
  REMOTE_NODE_NAME,
  SECOND_ADDRESS,
  ZONE,
} from './world.ts';

export const FAMILIES: readonly IpFamily[] = [4, 6];
export const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];

/** A port in each of PROTOCOLS, or in the given ones. */
export interface PortSpec {
  /** 80 unless given. */
  readonly port?: number;
  readonly nodePort?: number;
  /** Part of the name, to tell several ports of a Service apart. */
  readonly name?: string;
  readonly protocols?: readonly Protocol[];
}

export interface ServiceSpec {
  readonly name?: string;
  readonly type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  /** `None` for a headless Service. */
  readonly clusterIp?: Addresses | 'None';
  /** Families in order, the first being primary. */
  readonly families?: readonly IpFamily[];
  readonly ports?: readonly PortSpec[];
  readonly externalIps?: readonly Addresses[];
  readonly loadBalancerIps?: readonly Addresses[];
  readonly ipMode?: 'VIP' | 'Proxy';
  readonly internalLocal?: boolean;
  readonly externalLocal?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
  readonly createdAt?: string;
  /** Fields of `spec` that no other option has. */
  readonly spec?: object;
}

const portName = (name: string, protocol: Protocol): string => `${name}-${protocol.toLowerCase()}`;

/** Service `default/web` on cluster IP `clusterIp()`, port 80; its type follows from what it has. */
export function service(options: ServiceSpec = {}): object {
  const { name = 'web', families = FAMILIES, ports = [{}], externalIps = [], loadBalancerIps = [] } = options;
  const address = options.clusterIp ?? clusterIp();
  const clusterIPs = address === 'None' ? ['None'] : families.map((family) => address[family]);
  const type =
    options.type ??
    (loadBalancerIps.length > 0
      ? 'LoadBalancer'
      : ports.some(({ nodePort }) => nodePort !== undefined)
        ? 'NodePort'
        : 'ClusterIP');
  const inFamilies = (list: readonly Addresses[]): string[] =>
    list.flatMap((one) => families.map((family) => one[family]));
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name, labels: options.labels, creationTimestamp: options.createdAt },
    spec: {
      type,
      clusterIP: clusterIPs[0],
      clusterIPs,
      ipFamilies: families.map((family) => `IPv${family}`),
      ports: ports.flatMap(({ port = 80, nodePort, name: label = 'p', protocols = PROTOCOLS }) =>
        protocols.map((protocol) => ({ name: portName(label, protocol), protocol, port, nodePort })),
      ),
      externalIPs: inFamilies(externalIps),
      ...(options.internalLocal && { internalTrafficPolicy: 'Local' }),
      ...(options.externalLocal && { externalTrafficPolicy: 'Local' }),
      ...options.spec,
    },
    status: {
      loadBalancer: {
        ingress: inFamilies(loadBalancerIps).map((ip) => ({ ip, ipMode: options.ipMode })),
      },
    },
  };
}

/** An endpoint: a place that answers, and what its EndpointSlice says of it. A bare place is ready. */
export interface EndpointSpec {
  readonly at: Place;
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
  readonly zoneHints?: readonly string[];
  readonly nodeHints?: readonly string[];
  /** null leaves it out; unless given, the node of the place. */
  readonly nodeName?: string | null;
}

/** A pod that was told to end and still serves; a rolling update makes many. */
export const terminating = (at: Place): EndpointSpec => ({
  at,
  ready: false,
  serving: true,
  terminating: true,
});
/** One that was told to end and serves no more. */
export const ended = (at: Place): EndpointSpec => ({ at, ready: false, serving: false, terminating: true });
/** Alive, but its readiness probe fails. */
export const unready = (at: Place): EndpointSpec => ({
  at,
  ready: false,
  serving: false,
  terminating: false,
});
export const inZones = (at: Place, ...zoneHints: string[]): EndpointSpec => ({ at, zoneHints });
export const onNodes = (at: Place, ...nodeHints: string[]): EndpointSpec => ({ at, nodeHints });

export interface SlicesSpec {
  /** Of Service `web` unless given. */
  readonly of?: string;
  /** Tells several slices of a Service apart. */
  readonly name?: string;
  readonly families?: readonly IpFamily[];
  /** Label of the Service's port, and the number behind it; 8080 unless given. */
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[];
  readonly labels?: Readonly<Record<string, string>>;
}

/** The EndpointSlices of a Service, one per family. */
export function slices(endpoints: readonly (Place | EndpointSpec)[], options: SlicesSpec = {}): object[] {
  const { of = 'web', name = 'a', families = FAMILIES, ports = [{}], labels } = options;
  return families.map((family) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'default',
      name: `${of}-${name}-v${family}`,
      labels: { 'kubernetes.io/service-name': of, ...labels },
    },
    addressType: `IPv${family}`,
    ports: ports.flatMap(({ name: label = 'p', port = 8080 }) =>
      PROTOCOLS.map((protocol) => ({ name: portName(label, protocol), protocol, port })),
    ),
    endpoints: endpoints.map((one) => endpoint(typeof one === 'string' ? { at: one } : one, family)),
  }));
}

function endpoint(spec: EndpointSpec, family: IpFamily): object {
  const { at, ready, serving, terminating: isTerminating, zoneHints, nodeHints } = spec;
  const nodeName = spec.nodeName === undefined ? nodeOf(at) : (spec.nodeName ?? undefined);
  return {
    addresses: [PLACES[at][family]],
    conditions: { ready, serving, terminating: isTerminating },
    nodeName,
    ...((zoneHints || nodeHints) && {
      hints: {
        ...(zoneHints && { forZones: zoneHints.map((zone) => ({ name: zone })) }),
        ...(nodeHints && { forNodes: nodeHints.map((node) => ({ name: node })) }),
      },
    }),
  };
}

function nodeOf(place: Place): string {
  return place.startsWith('remote') ? REMOTE_NODE_NAME : NODE_NAME;
}

/** The Node under test; the first addresses are its primary ones. A zone of null leaves the label out. */
export function node({
  zone = ZONE,
  addresses = [PLACES.node, SECOND_ADDRESS],
}: {
  readonly zone?: string | null;
  readonly addresses?: readonly Addresses[];
} = {}): object {
  const internal = addresses.flatMap((pair) => FAMILIES.map((family) => pair[family]));
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: NODE_NAME,
      labels: zone === null ? {} : { 'topology.kubernetes.io/zone': zone },
    },
    status: { addresses: internal.map((address) => ({ type: 'InternalIP', address })) },
  };
}
