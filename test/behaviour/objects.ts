// Terse builders of raw API objects for the behaviour table: what a row does not say is what most clusters have. Every
// object is offered in both families and over all three protocols, so that one statement holds for all of them.

import type { IpFamily } from '../../src/model/ip.ts';
import type { Protocol } from '../../src/model/types.ts';
import * as manifests from '../support/manifests.ts';
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

export interface ServiceSpec
  extends Pick<
    manifests.ServiceSpec,
    'type' | 'labels' | 'annotations' | 'createdAt' | 'affinitySeconds' | 'sourceRanges' | 'spec'
  > {
  readonly name?: string;
  /** `None` for a headless Service. */
  readonly clusterIp?: Addresses | 'None';
  /** Families in order, the first being primary. */
  readonly families?: readonly IpFamily[];
  readonly ports?: readonly PortSpec[];
  readonly externalIps?: readonly Addresses[];
  readonly loadBalancerIps?: readonly Addresses[];
  readonly ipMode?: 'VIP' | 'Proxy';
  /** Beside the IPs. */
  readonly loadBalancerHosts?: readonly string[];
  readonly internalLocal?: boolean;
  readonly externalLocal?: boolean;
}

const portName = (name: string, protocol: Protocol): string => `${name}-${protocol.toLowerCase()}`;

/** Service `default/web` on cluster IP `clusterIp()`, port 80; its type follows from what it has. */
export function service(options: ServiceSpec = {}): object {
  const { name = 'web', families = FAMILIES, ports = [{}], externalIps = [], ipMode, ...rest } = options;
  const { loadBalancerIps = [], loadBalancerHosts = [], internalLocal, externalLocal, ...same } = rest;
  const address = options.clusterIp ?? clusterIp();
  const inFamilies = (list: readonly Addresses[]): string[] =>
    list.flatMap((one) => families.map((family) => one[family]));
  const ingress = [
    ...inFamilies(loadBalancerIps).map((ip) => ({ ip, ipMode })),
    ...loadBalancerHosts.map((hostname) => ({ hostname })),
  ];
  return manifests.service(name, {
    ...same,
    clusterIps: address === 'None' ? ['None'] : inFamilies([address]),
    ports: ports.flatMap(({ port = 80, nodePort, name: label = 'p', protocols = PROTOCOLS }) =>
      protocols.map((protocol) => ({ name: portName(label, protocol), protocol, port, nodePort })),
    ),
    externalIps: inFamilies(externalIps),
    loadBalancerIps: ingress.length > 0 ? ingress : undefined,
    internalPolicy: internalLocal ? 'Local' : undefined,
    externalPolicy: externalLocal ? 'Local' : undefined,
  });
}

/** An endpoint: a place that answers, and what its EndpointSlice says of it. A bare place is ready. */
export interface EndpointSpec extends Omit<manifests.EndpointSpec, 'ip' | 'nodeName'> {
  readonly at: Place;
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
  const specs = endpoints.map((one) => (typeof one === 'string' ? { at: one } : one));
  return families.map((family) =>
    manifests.slice(of, `${of}-${name}-v${family}`, {
      labels,
      addressType: `IPv${family}`,
      ports: ports.flatMap(({ name: label = 'p', port = 8080 }) =>
        PROTOCOLS.map((protocol) => ({ name: portName(label, protocol), protocol, port })),
      ),
      endpoints: specs.map(({ at, nodeName = nodeOf(at), ...rest }) => ({
        ...rest,
        ip: PLACES[at][family],
        nodeName: nodeName ?? undefined,
      })),
    }),
  );
}

function nodeOf(place: Place): string {
  return place.startsWith('remote') ? REMOTE_NODE_NAME : NODE_NAME;
}

export interface NodeSpec {
  readonly name?: string;
  /** null leaves the label out. */
  readonly zone?: string | null;
  /** The first are its primary ones. */
  readonly addresses?: readonly Addresses[];
  /** Of those addresses. */
  readonly families?: readonly IpFamily[];
  readonly podCidrs?: readonly string[];
}

/** The Node under test, unless its name says otherwise. */
export function node(options: NodeSpec = {}): object {
  const { name = NODE_NAME, zone = ZONE, addresses = [PLACES.node, SECOND_ADDRESS], podCidrs } = options;
  const { families = FAMILIES } = options;
  return manifests.node({
    name,
    addresses: addresses.flatMap((pair) => families.map((family) => pair[family])),
    labels: zone === null ? {} : { 'topology.kubernetes.io/zone': zone },
    podCidrs,
  });
}

export { serviceCidr } from '../support/manifests.ts';
