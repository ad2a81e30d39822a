// The stage: a node, a client outside, pods with real servers in them, the manifests, and the daemon on the node.

import { Daemon, type LogLine } from '../../test/support/netns/daemon.ts';
import { NodeTopology, POD_CIDR, POD_CIDR6 } from '../../test/support/netns/topology.ts';
import type { ManifestFolder } from './manifest-folder.ts';

/** Pods behind the services of the examples, what they listen on, and one that only visits. */
const PODS = [
  { name: 'hostname-1', host: 11, ports: [['tcp', 80]] },
  { name: 'hostname-2', host: 12, ports: [['tcp', 80]] },
  { name: 'hostname-3', host: 13, ports: [['tcp', 80]] },
  { name: 'numbers-1', host: 21, ports: [['tcp', 80]] },
  { name: 'numbers-2', host: 22, ports: [['tcp', 80]] },
  {
    name: 'dns',
    host: 31,
    ports: [
      ['udp', 53],
      ['tcp', 53],
    ],
  },
  { name: 'database', host: 41, ports: [['tcp', 3306]] },
  { name: 'visitor', host: 99, ports: [] },
] as const;

/** Addresses of the services in examples/. */
export const VIP = {
  hostname: '10.107.48.55',
  dualStack: ['10.96.0.55', 'fd00:10:96::55'],
  hostnameNodePort: 31906,
  numbers: '203.0.113.80',
  dns: '10.96.0.10',
  database: '10.103.132.104',
  nobodyHome: '10.104.17.20',
} as const;

/** Modes that the demo can be played in. */
export const DEMO_MODES = ['nftables', 'ipvs', 'userspace'] as const;
export type DemoMode = (typeof DEMO_MODES)[number];

export class Cluster {
  readonly mode: DemoMode;
  readonly topology: NodeTopology;
  readonly manifests: ManifestFolder;
  /** Every daemon ever started, for its log. */
  readonly daemons: Daemon[] = [];

  private constructor(mode: DemoMode, topology: NodeTopology, manifests: ManifestFolder) {
    this.mode = mode;
    this.topology = topology;
    this.manifests = manifests;
  }

  static async create(mode: DemoMode, manifests: ManifestFolder): Promise<Cluster> {
    const topology = await NodeTopology.create(
      PODS.map(({ name, host }) => ({ name, ip: `10.1.0.${host}`, ip6: `fd00:10:1::${host}` })),
    );
    await Promise.all(
      PODS.flatMap(({ name, ports }) =>
        ports.map(([protocol, port]) => topology.pod(name).agent().serve({ protocol, port, name })),
      ),
    );
    return new Cluster(mode, topology, manifests);
  }

  get flags(): string[] {
    return [
      `--source=${this.manifests.path}`,
      `--proxy-mode=${this.mode}`,
      '--hostname-override=node-1',
      `--cluster-cidr=${POD_CIDR},${POD_CIDR6}`,
    ];
  }

  /** Starts the daemon and waits for its rules. */
  async startDaemon(): Promise<{ readonly daemon: Daemon; readonly line: LogLine; readonly tookMs: number }> {
    const startMs = performance.now();
    const daemon = Daemon.start(this.topology.node, this.flags);
    this.daemons.push(daemon);
    const line = await daemon.rulesInForce();
    return { daemon, line, tookMs: performance.now() - startMs };
  }

  /** Ends all processes and removes all namespaces and files. Idempotent. */
  async delete(): Promise<void> {
    await this.topology.delete();
    this.manifests.delete();
  }

  /** Runs a command on the node and gives what it printed. */
  onNode(...argv: string[]): Promise<string> {
    return this.topology.node.exec(argv);
  }
}
