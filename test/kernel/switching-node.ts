// A node whose daemon goes from one mode to another, and clients all around it: what the tests of that share.

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import type { ProxyMode } from '../../src/config/flags.ts';
import { NODE_NAME } from '../support/manifests.ts';
import type { CommandResult } from '../support/netns/command.ts';
import { Daemon } from '../support/netns/daemon.ts';
import { POD_CIDR, POD_CIDR6 } from '../support/netns/topology.ts';
import type { Agent, Held, Load, Target } from '../support/netns/traffic.ts';
import { patient } from '../support/patience.ts';
import { TestNode } from '../support/test-node.ts';
import {
  DNS,
  putWebAndDns,
  SLOW_DNS,
  SLOW_MS,
  SLOW_PORT,
  WEB,
  WEB_NODE_PORT,
} from '../support/web-and-dns.ts';

/** What a daemon says when it is done with what it found. */
export const REMOVED = 'removed the rules of another mode';
/** Its virtual servers stay until open connections through them have ended. */
export const OUTLASTING: ProxyMode = 'ipvs';

const NODE_PORTS = '--nodeport-addresses=0.0.0.0/0';
/** In the ruleset, of rules of a mode. */
const SIGNS: Readonly<Record<ProxyMode, string>> = {
  nftables: ' kproxy-ts {',
  iptables: 'KUBE-SVC-',
  ipvs: ' kproxy-ts-ipvs {',
  userspace: ' kproxy-ts-userspace {',
};

/** Who asks again and again. */
export interface Asker {
  readonly from: string;
  readonly to: Target;
  readonly load: Load;
}

export class SwitchingNode {
  readonly #node: TestNode;
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'kproxy-ts-mode-'));

  private constructor(node: TestNode) {
    this.#node = node;
  }

  static async create(): Promise<SwitchingNode> {
    const node = await TestNode.create(3);
    putWebAndDns(node.manifests);
    const slow = { protocol: 'udp', port: SLOW_PORT, name: 'slow', delayMs: SLOW_MS } as const;
    await node.topology.pod('pod-3').agent().serve(slow);
    return new SwitchingNode(node);
  }

  /** Nobody has any rules. */
  async clear(): Promise<void> {
    await this.#node.nft('flush', 'ruleset');
  }

  start(mode: ProxyMode): Promise<Daemon> {
    return this.#node.start(...this.#flags(mode));
  }

  /** Starts a daemon whose mode is said by its configuration file, where `fields` are as well. */
  async startConfigured(mode: ProxyMode, fields: object = {}): Promise<Daemon> {
    this.#configure(mode, fields);
    const { netns } = this.#node;
    const daemon = Daemon.start(netns, [
      `--config=${this.#config}`,
      `--hostname-override=${NODE_NAME}`,
      '-v=2',
    ]);
    await daemon.rulesInForce();
    return daemon;
  }

  /** Changes the file of a running daemon, and waits until its rules are as that says. */
  async reload(daemon: Daemon, mode: ProxyMode, fields: object = {}): Promise<void> {
    const from = daemon.log.length;
    this.#configure(mode, fields);
    process.kill(daemon.pid, 'SIGHUP');
    await daemon.waitForLog('rules in force', { from });
  }

  get #config(): string {
    return path.join(this.#folder, 'config.yaml');
  }

  #configure(mode: ProxyMode, fields: object): void {
    const config = {
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
      mode,
      clusterCIDR: `${POD_CIDR},${POD_CIDR6}`,
      nodePortAddresses: ['0.0.0.0/0'],
      kproxyTs: { source: this.#node.manifests.path, iptablesBackend: 'nft' },
      ...fields,
    };
    writeFileSync(`${this.#config}.new`, JSON.stringify(config));
    renameSync(`${this.#config}.new`, this.#config);
  }

  diff(mode: ProxyMode): Promise<CommandResult> {
    return this.#node.diff(...this.#flags(mode));
  }

  /** The modes that have rules now. */
  async present(): Promise<string[]> {
    const ruleset = await this.#node.nft('list', 'ruleset');
    return Object.entries(SIGNS)
      .filter(([, sign]) => ruleset.includes(sign))
      .map(([mode]) => mode)
      .sort();
  }

  /** Clients outside, in a pod and on the node. */
  get #clients(): readonly [outside: Agent, inside: Agent, onNode: Agent] {
    const { topology, netns } = this.#node;
    return [topology.client.agent(), topology.pod('pod-3').agent(), netns.agent()];
  }

  askFromEverywhere(pauseMs: number): Promise<Asker[]> {
    const [outside, inside, onNode] = this.#clients;
    return Promise.all(
      [
        { from: 'outside', agent: outside, to: WEB },
        { from: 'outside', agent: outside, to: WEB_NODE_PORT },
        { from: 'a pod', agent: inside, to: WEB },
        { from: 'a pod', agent: inside, to: DNS },
        // Some of its answers are under way at any time; those to the outside are masqueraded.
        { from: 'a pod', agent: inside, to: SLOW_DNS },
        { from: 'outside', agent: outside, to: SLOW_DNS },
        { from: 'the node', agent: onNode, to: WEB },
      ].map(async ({ from, agent, to }) => ({ from, to, load: await agent.startLoad({ ...to, pauseMs }) })),
    );
  }

  /** One open connection of each client, and one more through the node port. */
  holdFromEverywhere(): Promise<Held[]> {
    const clients = this.#clients;
    return Promise.all([...clients.map((client) => client.hold(WEB)), clients[0].hold(WEB_NODE_PORT)]);
  }

  delete(): Promise<void> {
    rmSync(this.#folder, { recursive: true });
    return this.#node.delete();
  }

  #flags(mode: ProxyMode): string[] {
    return [`--proxy-mode=${mode}`, NODE_PORTS, ...(mode === 'iptables' ? ['--iptables-backend=nft'] : [])];
  }
}

/** Settles when every one of them has been answered `more` times from now on. */
export async function goOn(askers: readonly Asker[], more: number): Promise<void> {
  const replies = async ({ load }: Asker): Promise<number> => (await load.peek()).outcomes.reply ?? 0;
  const before = await Promise.all(askers.map(replies));
  for (const [i, asker] of askers.entries()) {
    const enough = before[i]! + more;
    await expect.poll(() => replies(asker), { timeout: patient(5000) }).toBeGreaterThanOrEqual(enough);
  }
}

/** Nobody was refused, or not answered. */
export async function expectNoFailures(askers: readonly Asker[]): Promise<void> {
  for (const { from, to, load } of askers)
    expect({ from, to, failures: (await load.stop()).failures }).toEqual({ from, to, failures: [] });
}

/** They are still with whom they were. */
export async function expectUnbroken(held: readonly Held[]): Promise<void> {
  for (const { first, release } of held)
    expect(await release()).toMatchObject({ outcome: 'reply', server: first.server });
}
