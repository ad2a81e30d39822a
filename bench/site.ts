// A node with the rules of a cluster in force, a pod that dials, and all pods that are dialled, as namespaces:
//
//   client ── eth0 ────────── eth0 ── node ── eth1 ────────── eth0 ── pods
//        10.255.255.2   10.255.255.1    192.168.70.1    192.168.70.2   all of 10.128.0.0/10
//
// No process stays on the node, for none is needed.

import { Netns } from '../test/support/netns/netns.ts';
import { connect } from '../test/support/netns/topology.ts';
import type { Bench } from './bench.ts';
import { Dialer, type Protocol, startSink } from './dialer.ts';
import type { Cluster } from './engine.ts';
import type { SyncResult } from './inside.ts';
import { POD_PORT } from './objects.ts';

/** Where the client is: a pod by its address, so that its connections are not masqueraded. */
const CLIENT = { own: '10.255.255.2', gateway: '10.255.255.1' };
const PODS = { own: '192.168.70.2', gateway: '192.168.70.1', cidr: '10.128.0.0/10' };

/** From where a connection is set up: another pod (prerouting) or the node itself (output). */
export const ORIGINS = ['pod', 'node'] as const;
export type Origin = (typeof ORIGINS)[number];

/** Client, node and pods. */
type Namespaces = readonly [Netns, Netns, Netns];

export class Site {
  readonly cluster: Cluster;
  readonly #namespaces: Namespaces;
  readonly #dialers: Readonly<Record<Origin, Dialer>>;

  private constructor(cluster: Cluster, namespaces: Namespaces, dialers: Record<Origin, Dialer>) {
    this.cluster = cluster;
    this.#namespaces = namespaces;
    this.#dialers = dialers;
  }

  static async create(bench: Bench, cluster: Cluster, dialProgram: string): Promise<Site> {
    const namespaces: Namespaces = await Promise.all([
      Netns.create('client'),
      Netns.create('node'),
      Netns.create('pods'),
    ]);
    const [client, node, pods] = namespaces;
    try {
      await node.sysctl({ 'net.ipv4.ip_forward': 1 });
      await connect(
        { netns: node, device: 'eth0', addresses: [`${CLIENT.gateway}/30`] },
        {
          netns: client,
          device: 'eth0',
          addresses: [`${CLIENT.own}/30`],
          routes: [`default via ${CLIENT.gateway}`],
        },
      );
      await connect(
        {
          netns: node,
          device: 'eth1',
          addresses: [`${PODS.gateway}/30`],
          // Without a default route the node could not dial a virtual IP: routing comes before NAT.
          routes: [`${PODS.cidr} via ${PODS.own}`, `default via ${PODS.own}`],
        },
        {
          netns: pods,
          device: 'eth0',
          addresses: [`${PODS.own}/30`],
          routes: [`local ${PODS.cidr} dev lo`, `default via ${PODS.gateway}`],
        },
      );
      await startSink(dialProgram, pods, POD_PORT);
      await bench.runTask<SyncResult>(node, { kind: 'sync', cluster });
      // Only the rules know of connections that ended: forgotten after a second, they do not pile up.
      await node.sysctl({
        'net.netfilter.nf_conntrack_tcp_timeout_close': 1,
        'net.netfilter.nf_conntrack_udp_timeout': 1,
      });
      const dialers = { pod: new Dialer(dialProgram, client), node: new Dialer(dialProgram, node) };
      return new Site(cluster, namespaces, dialers);
    } catch (error) {
      await deleteAll(namespaces);
      throw error;
    }
  }

  /** What setting up a connection to each address takes, in microseconds. */
  dial(
    origin: Origin,
    protocol: Protocol,
    port: number,
    addresses: readonly string[],
  ): Promise<readonly number[]> {
    return this.#dialers[origin].dial(protocol, port, addresses);
  }

  /** How many datagrams have reached a pod: nobody tells the sender of one that was lost. */
  async datagrams(): Promise<number> {
    const [, , pods] = this.#namespaces;
    const snmp = await pods.exec(['cat', '/proc/net/snmp']);
    return Number(/^Udp: (\d+)/m.exec(snmp)?.[1]);
  }

  delete(): Promise<void> {
    return deleteAll(this.#namespaces);
  }
}

async function deleteAll(namespaces: Namespaces): Promise<void> {
  await Promise.all(namespaces.map((netns) => netns.delete()));
}
