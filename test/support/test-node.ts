// A node with pods that answer, a folder of manifests and the real daemon: what the tests of the whole program share.

import { NftSession } from '../../src/daemon/nft-session.ts';
import { ManifestDir, NODE_NAME, node as nodeObject } from './manifests.ts';
import type { CommandResult } from './netns/command.ts';
import { Daemon, runKproxy } from './netns/daemon.ts';
import type { Netns } from './netns/netns.ts';
import { NODE, NodeTopology, POD_CIDR, POD_CIDR6 } from './netns/topology.ts';
import type { Agent } from './netns/traffic.ts';
import { RemoteNetlink } from './remote-netlink.ts';

/** A row of `kproxy-ts table -o json`. */
export interface Row {
  readonly service: string;
  readonly kind: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: string;
  readonly action: string;
  readonly backends: readonly { readonly address: string; readonly port: number }[];
  readonly connections: number;
}

/** Address of the n-th pod. */
export const podIp = (n: number): string => `10.1.0.${10 + n}`;
export const podIp6 = (n: number): string => `fd00:10:1::${10 + n}`;

export class TestNode {
  readonly topology: NodeTopology;
  readonly manifests = new ManifestDir();
  readonly #netlink: RemoteNetlink;
  readonly #session: NftSession;

  private constructor(topology: NodeTopology, netlink: RemoteNetlink) {
    this.topology = topology;
    this.#netlink = netlink;
    this.#session = new NftSession(netlink);
  }

  /** `podCount` pods named pod-1, pod-2, … that answer with their name: TCP on 8080 and 8081, UDP on 5353. */
  static async create(podCount: number): Promise<TestNode> {
    const pods = Array.from({ length: podCount }, (_, i) => ({
      name: `pod-${i + 1}`,
      ip: podIp(i + 1),
      ip6: podIp6(i + 1),
    }));
    const topology = await NodeTopology.create(pods);
    try {
      await Promise.all(pods.map(({ name }) => serveAll(topology.pod(name).agent(), name)));
      const testNode = new TestNode(topology, await RemoteNetlink.open(topology.node));
      testNode.manifests.put('node', nodeObject(NODE.ip, NODE.ip6));
      return testNode;
    } catch (error) {
      await topology.delete();
      throw error;
    }
  }

  get netns(): Netns {
    return this.topology.node;
  }

  get flags(): string[] {
    return [
      `--source=${this.manifests.path}`,
      `--hostname-override=${NODE_NAME}`,
      `--cluster-cidr=${POD_CIDR},${POD_CIDR6}`,
    ];
  }

  /** Starts the daemon and waits for its rules. It logs each write. */
  async start(...flags: string[]): Promise<Daemon> {
    const daemon = Daemon.start(this.netns, [...this.flags, '-v=2', ...flags]);
    await daemon.rulesInForce();
    return daemon;
  }

  kproxy(...args: string[]): Promise<CommandResult> {
    return runKproxy(this.netns, args, { timeoutMs: 20_000 });
  }

  /** `kproxy-ts diff` with the daemon's flags. */
  diff(...flags: string[]): Promise<CommandResult> {
    return this.kproxy('diff', ...this.flags, ...flags);
  }

  async table(): Promise<readonly Row[]> {
    return JSON.parse((await this.kproxy('table', '-o', 'json')).stdout) as Row[];
  }

  /** What `nft` prints; `input` goes to `nft -f -`. */
  nft(...args: string[]): Promise<string> {
    return this.netns.exec(['nft', ...args]);
  }

  async nftInput(input: string): Promise<void> {
    await this.netns.exec(['nft', '-f', '-'], { input });
  }

  /** The ruleset's generation: it counts the transactions of everybody. */
  generation(): Promise<number> {
    return this.#session.generation();
  }

  async delete(): Promise<void> {
    this.#netlink.close();
    await this.topology.delete();
    this.manifests.delete();
  }
}

async function serveAll(agent: Agent, name: string): Promise<void> {
  await Promise.all([
    agent.serve({ protocol: 'tcp', port: 8080, name }),
    agent.serve({ protocol: 'tcp', port: 8081, name: `${name}:8081` }),
    agent.serve({ protocol: 'udp', port: 5353, name }),
  ]);
}

/** Makes a change and waits until the daemon has written it; returns the number of writes. */
export async function written(daemon: Daemon, change: () => void): Promise<number> {
  const from = daemon.log.length;
  change();
  const line = await daemon.waitForLog(({ msg, cause }) => msg === 'synced' && cause !== 'cleanup', { from });
  return Number(line['writes']);
}
