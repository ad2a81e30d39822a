// The world of the behaviour table in network namespaces: the node under test with its pods and a client outside
// (test/support/netns/topology.ts), and beside it a second node with pods of its own.
//
//   client ── node-1 ──────────────── node-2 ── remote-pod, remote-1, remote-2
//               │   192.168.60.10  .20
//               ├── local-1, local-2
//               └── cni0 ── local-pod, local-3
//
// Node 2 sends everything of its pods through node 1, even what is for its own pods: so node 1 sees both directions of
// every connection that it balances.

import type { Protocol } from '../../src/model/types.ts';
import { Netns } from '../support/netns/netns.ts';
import { connect, NodeTopology } from '../support/netns/topology.ts';
import type { Agent, TrafficProtocol } from '../support/netns/traffic.ts';
import { FAMILIES } from './objects.ts';
import {
  type Addresses,
  BRIDGE,
  BRIDGED_PODS,
  CROWD_CIDRS,
  LOCAL_PODS,
  NEIGHBOURS,
  PLACES,
  type Place,
  REMOTE_NODE,
  REMOTE_POD_CIDRS,
  REMOTE_PODS,
  SECOND_ADDRESS,
  SERVED_PORTS,
  TO_REMOTE_NODE,
} from './world.ts';

const REMOTE_GATEWAY: Addresses = { 4: '10.1.1.1', 6: 'fd00:10:1:1::1' };
const LENGTHS = { 4: 32, 6: 128 } as const;
const host = (addresses: Addresses): string[] =>
  FAMILIES.map((family) => `${addresses[family]}/${LENGTHS[family]}`);
const link = (addresses: Addresses): string[] => [`${addresses[4]}/24`, `${addresses[6]}/64`];
const defaultVia = (addresses: Addresses): string[] => [
  `default via ${addresses[4]}`,
  `::/0 via ${addresses[6]}`,
];

/** What the traffic agent calls it. */
export const trafficProtocol = (protocol: Protocol): TrafficProtocol =>
  protocol.toLowerCase() as Lowercase<Protocol>;

export class TwoNodes {
  readonly topology: NodeTopology;
  /** That everybody answers. */
  readonly protocols: readonly Protocol[];
  readonly #remoteNode: Netns;
  readonly #remotePods = new Map<Place, Netns>();
  /** By place and address: what `withAddress` has given for now, and to how many. */
  readonly #borrowed = new Map<string, { users: number; readonly added: Promise<string> }>();

  private constructor(topology: NodeTopology, remoteNode: Netns, protocols: readonly Protocol[]) {
    this.topology = topology;
    this.protocols = protocols;
    this.#remoteNode = remoteNode;
  }

  /** Everybody of PLACES, answering with its name and port wherever an endpoint may be. */
  static async create(protocols: readonly Protocol[]): Promise<TwoNodes> {
    const topology = await NodeTopology.create(
      LOCAL_PODS.map((name) => ({
        name,
        ip: PLACES[name][4],
        ip6: PLACES[name][6],
        ...(BRIDGED_PODS.includes(name) && { bridge: BRIDGE }),
      })),
    );
    const nodes = new TwoNodes(topology, await Netns.create('node-2'), protocols);
    try {
      await nodes.#joinRemoteNode();
      await Promise.all(REMOTE_PODS.map((name) => nodes.#addRemotePod(name)));
      if (protocols.includes('SCTP')) await nodes.#hastenSctp();
      await nodes.#serve();
    } catch (error) {
      await nodes.delete();
      throw error;
    }
    return nodes;
  }

  netns(place: Place): Netns {
    if (place === 'node') return this.topology.node;
    if (place === 'client') return this.topology.client;
    return this.#remotePods.get(place) ?? this.topology.pod(place);
  }

  agent(place: Place): Agent {
    return this.netns(place).agent();
  }

  async delete(): Promise<void> {
    const remote = [this.#remoteNode, ...this.#remotePods.values()];
    await Promise.all([this.topology.delete(), ...remote.map((netns) => netns.delete())]);
  }

  async #joinRemoteNode(): Promise<void> {
    await this.#remoteNode.sysctl({
      'net.ipv4.ip_forward': 1,
      'net.ipv6.conf.all.forwarding': 1,
      'net.ipv4.conf.all.send_redirects': 0,
      'net.ipv4.conf.default.send_redirects': 0,
    });
    await connect(
      {
        netns: this.topology.node,
        device: 'eth1',
        addresses: link(TO_REMOTE_NODE),
        routes: FAMILIES.map((family) => `${REMOTE_POD_CIDRS[family]} via ${REMOTE_NODE[family]}`),
      },
      {
        netns: this.#remoteNode,
        device: 'eth0',
        addresses: link(REMOTE_NODE),
        routes: [
          ...defaultVia(TO_REMOTE_NODE),
          ...defaultVia(TO_REMOTE_NODE).map((route) => `${route} dev eth0 table 100`),
        ],
      },
    );
    await this.topology.node.ip(
      `address add ${SECOND_ADDRESS[4]}/32 dev eth0`,
      // Deprecated: a good address to dial, but no source.
      `address add ${SECOND_ADDRESS[6]}/128 dev eth0 nodad preferred_lft 0`,
    );
    // It sends from, and answers to, whatever address of the crowds.
    await this.topology.client.sysctl({ 'net.ipv6.ip_nonlocal_bind': 1 });
    await this.topology.client.ip(
      ...FAMILIES.map((family) => `route add ${REMOTE_POD_CIDRS[family]} via ${PLACES.node[family]}`),
      ...CROWD_CIDRS.map((cidr) => `route add local ${cidr} dev lo`),
      ...NEIGHBOURS.flatMap((one) => [
        `address add ${one[4]}/32 dev eth0`,
        `address add ${one[6]}/128 dev eth0 nodad preferred_lft 0`,
      ]),
    );
  }

  async #addRemotePod(name: (typeof REMOTE_PODS)[number]): Promise<void> {
    const device = `pod${REMOTE_PODS.indexOf(name)}`;
    const pod = await Netns.create(name);
    this.#remotePods.set(name, pod);
    await connect(
      {
        netns: this.#remoteNode,
        device,
        addresses: host(REMOTE_GATEWAY),
        routes: host(PLACES[name]).map((cidr) => `${cidr} dev ${device}`),
      },
      {
        netns: pod,
        device: 'eth0',
        addresses: host(PLACES[name]),
        routes: [...host(REMOTE_GATEWAY).map((cidr) => `${cidr} dev eth0`), ...defaultVia(REMOTE_GATEWAY)],
      },
    );
    for (const family of FAMILIES)
      await this.#remoteNode.exec(['ip', `-${family}`, ...`rule add iif ${device} table 100`.split(' ')]);
  }

  /** Gives a place one more address for as long as `use` takes; none if it is undefined. */
  async withAddress<T>(place: Place, address: string | undefined, use: () => Promise<T>): Promise<T> {
    if (address === undefined) return use();
    const [cidr, nodad] = address.includes(':') ? [`${address}/128`, ' nodad'] : [`${address}/32`, ''];
    const shell = this.netns(place).shell();
    const id = `${place} ${address}`;
    const borrowed = this.#borrowed.get(id) ?? {
      users: 0,
      added: shell.run(`ip address add ${cidr} dev lo${nodad}`),
    };
    this.#borrowed.set(id, borrowed);
    borrowed.users++;
    try {
      await borrowed.added;
      return await use();
    } finally {
      if (--borrowed.users === 0) {
        this.#borrowed.delete(id);
        await shell.run(`ip address delete ${cidr} dev lo`);
      }
    }
  }

  /** Ends every known flow, so that none of the next cluster is taken for one of the last. */
  async forgetFlows(): Promise<void> {
    await this.topology.node.shell().run('conntrack -F');
  }

  /**
   * The refusal of the first INIT comes while connect(2) has the socket, and is overlooked (sctp_v4_err_handle); that of the second
   * comes with the retransmission.
   */
  async #hastenSctp(): Promise<void> {
    const places = ['node', 'client', ...LOCAL_PODS, ...REMOTE_PODS] as const;
    await Promise.all(places.map((place) => this.netns(place).sysctl({ 'net.sctp.rto_initial': 100 })));
  }

  async #serve(): Promise<void> {
    const pods = [...LOCAL_PODS, ...REMOTE_PODS];
    await Promise.all(
      [...pods, ...(['node', 'client'] as const)].flatMap((place) =>
        SERVED_PORTS.flatMap((port) =>
          this.protocols.map(trafficProtocol).flatMap((protocol) =>
            // A host with several addresses answers by the one that was asked.
            FAMILIES.map((family) =>
              this.agent(place).serve({
                protocol,
                port,
                name: `${place}:${port}`,
                address: PLACES[place][family],
              }),
            ),
          ),
        ),
      ),
    );
  }
}
