// Who and what exists in every row of the behaviour table: one node under test, one elsewhere, pods on both, a client
// outside. Names stand for one address per family; two-nodes.ts makes the same world of network namespaces.

import type { IpFamily } from '../../src/model/ip.ts';
import { CLIENT, GATEWAY, NODE } from '../support/netns/topology.ts';

/** An address in each family. */
export type Addresses = Readonly<Record<IpFamily, string>>;

const pair = ({ ip, ip6 }: { readonly ip: string; readonly ip6: string }): Addresses => ({ 4: ip, 6: ip6 });
const localPod = (n: number): Addresses => ({ 4: `10.1.0.${n}`, 6: `fd00:10:1::${n}` });
const remotePod = (n: number): Addresses => ({ 4: `10.1.1.${n}`, 6: `fd00:10:1:1::${n}` });

/** Everyone who can send a packet. */
export const PLACES = {
  /** The node under test, by its primary addresses. */
  node: pair(NODE),
  /** Outside of the cluster. */
  client: pair(CLIENT),
  'local-pod': localPod(20),
  'local-1': localPod(11),
  'local-2': localPod(12),
  'local-3': localPod(13),
  'remote-pod': remotePod(20),
  'remote-1': remotePod(11),
  'remote-2': remotePod(12),
} as const satisfies Record<string, Addresses>;
export type Place = keyof typeof PLACES;

/** Pods that answer on every port of SERVED_PORTS; the node does too, on its primary addresses. */
export const LOCAL_PODS = ['local-pod', 'local-1', 'local-2', 'local-3'] as const satisfies Place[];
export const REMOTE_PODS = ['remote-pod', 'remote-1', 'remote-2'] as const satisfies Place[];
export const SERVED_PORTS = [8080, 8081] as const;

/** Other addresses of the node: a second one on its network, the one towards its pods, loopback. */
export const SECOND_ADDRESS: Addresses = { 4: '192.168.50.11', 6: 'fd00:50::11' };
export const POD_GATEWAY: Addresses = pair(GATEWAY);
export const LOOPBACK: Addresses = { 4: '127.0.0.1', 6: '::1' };

/** The link between the nodes: this end, that end. */
export const TO_REMOTE_NODE: Addresses = { 4: '192.168.60.10', 6: 'fd00:60::10' };
export const REMOTE_NODE: Addresses = { 4: '192.168.60.20', 6: 'fd00:60::20' };
export const LOCAL_POD_CIDRS: Addresses = { 4: '10.1.0.0/24', 6: 'fd00:10:1::/64' };
export const REMOTE_POD_CIDRS: Addresses = { 4: '10.1.1.0/24', 6: 'fd00:10:1:1::/64' };

/** More addresses of the client, on its network. */
const neighbour = (n: number): Addresses => ({ 4: `192.168.50.${n}`, 6: `fd00:50::1:${n.toString(16)}` });
export const NEIGHBOUR_103 = neighbour(103);
export const NEIGHBOUR_104 = neighbour(104);
export const NEIGHBOUR_163 = neighbour(163);
export const NEIGHBOURS: readonly Addresses[] = [NEIGHBOUR_103, NEIGHBOUR_104, NEIGHBOUR_163];

/** Many clients outside: no crowd of these has an address of another (RFC 2544). */
export const CROWDS = 256;
export const CROWD_CIDRS = ['198.18.0.0/15', '2001:2::/48'] as const;
const CROWD_SIZE = 64;
export function crowd(n: number): readonly Addresses[] {
  return Array.from({ length: CROWD_SIZE }, (_, i) => ({
    4: `198.18.${n}.${i + 1}`,
    6: `2001:2:0:${n.toString(16)}::${(i + 1).toString(16)}`,
  }));
}

/** Pods of the node that share a bridge; each of the others hangs on a link of its own, whose name has this prefix. */
export const BRIDGE = 'cni0';
export const BRIDGED_PODS: readonly string[] = ['local-pod', 'local-3'] satisfies Place[];
export const POD_LINK_PREFIX = 'pod';

/** Through which interface of the node a packet of a place comes in; undefined for what the node sends itself. */
export function interfaceTowards(place: Place): string | undefined {
  if (place === 'node') return undefined;
  if (place === 'client') return 'eth0';
  if (place.startsWith('remote')) return 'eth1';
  if (BRIDGED_PODS.includes(place)) return BRIDGE;
  return `${POD_LINK_PREFIX}${(LOCAL_PODS as readonly string[]).indexOf(place)}`;
}

export const NODE_NAME = 'node-1';
export const REMOTE_NODE_NAME = 'node-2';
export const ZONE = 'zone-a';

/** Pods of every node. */
export const CLUSTER_CIDRS: Addresses = { 4: '10.1.0.0/16', 6: 'fd00:10:1::/48' };

/** Virtual addresses. */
export const clusterIp = (n = 10): Addresses => ({ 4: `10.96.0.${n}`, 6: `fd00:10:96::${n}` });
export const EXTERNAL_IP: Addresses = { 4: '203.0.113.7', 6: 'fd00:10:96::e07' };
export const LB_IP: Addresses = { 4: '203.0.113.8', 6: 'fd00:10:96::e08' };
export const SECOND_LB_IP: Addresses = { 4: '203.0.113.9', 6: 'fd00:10:96::e09' };
export const NODE_PORT = 30080;

/** What is local to the node, as its routing table sees it: all of 127.0.0.0/8 besides these. */
export const NODE_ADDRESSES: readonly Addresses[] = [
  PLACES.node,
  SECOND_ADDRESS,
  POD_GATEWAY,
  TO_REMOTE_NODE,
  LOOPBACK,
];

export function isNodeAddress(address: string): boolean {
  return (
    address.startsWith('127.') || NODE_ADDRESSES.some((pair) => pair[4] === address || pair[6] === address)
  );
}

/** What the node calls itself when it dials `address`. */
export function sourceOf(place: Place, address: string, family: IpFamily): string {
  if (place === 'node' && address.startsWith('127.')) return LOOPBACK[4];
  if (place === 'node' && isNodeAddress(address)) return address;
  return PLACES[place][family];
}
