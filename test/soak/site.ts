// A node with the real daemon on a real API server (in this process), pods that never change, a namespace that answers for
// all the pods that do, and a client outside.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type ApiServer, startApiServer } from '../support/api-server/api-server.ts';
import { ApiServerInNetns } from '../support/api-server/in-netns.ts';
import type { ApiObject } from '../support/api-server/object-store.ts';
import { NODE_NAME, node as nodeObject, service, slice } from '../support/manifests.ts';
import type { CommandResult } from '../support/netns/command.ts';
import { Daemon, runKproxy } from '../support/netns/daemon.ts';
import { Netns } from '../support/netns/netns.ts';
import { connect, NODE, NodeTopology, POD_CIDR } from '../support/netns/topology.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp } from '../support/test-node.ts';
import { CROWD_CIDR, CROWD_PORT } from './churn.ts';

export type SoakMode = 'nftables' | 'iptables';

/** The Services that never change, by what is special about them. */
export const STABLE = {
  'TCP to a cluster IP': { protocol: 'tcp', host: '10.96.0.1', port: 80 },
  'UDP to a cluster IP': { protocol: 'udp', host: '10.96.0.1', port: 53 },
  'TCP to a node port': { protocol: 'tcp', host: NODE.ip, port: 32_700 },
  'TCP with affinity': { protocol: 'tcp', host: '10.96.0.2', port: 80 },
} as const satisfies Record<string, Target>;

const PODS = [1, 2, 3];
const CROWD = { own: '10.127.255.254', gateway: '10.127.255.253' };
const CROWD_SERVER = path.join(import.meta.dirname, 'crowd.mjs');
/** How often the daemon looks for what others changed, and forgets what it no longer needs. */
const SYNC_PERIOD = '2s';

export class Site {
  readonly mode: SoakMode;
  readonly topology: NodeTopology;
  readonly server: ApiServer;
  /** A namespace for a daemon that has just started. */
  readonly fresh: Netns;
  readonly #crowd: Netns;
  readonly #ways: ApiServerInNetns[] = [];
  readonly #stateFolder = mkdtempSync(path.join(tmpdir(), 'kproxy-soak-'));

  private constructor(
    mode: SoakMode,
    topology: NodeTopology,
    server: ApiServer,
    namespaces: { fresh: Netns; crowd: Netns },
  ) {
    this.mode = mode;
    this.topology = topology;
    this.server = server;
    this.fresh = namespaces.fresh;
    this.#crowd = namespaces.crowd;
  }

  static async create(mode: SoakMode): Promise<Site> {
    const topology = await NodeTopology.create(PODS.map((n) => ({ name: `pod-${n}`, ip: podIp(n) })));
    const [fresh, crowd] = await Promise.all([Netns.create('fresh'), Netns.create('crowd')]);
    const site = new Site(mode, topology, await startApiServer(), { fresh, crowd });
    try {
      await Promise.all([site.#joinCrowd(), site.#servePods()]);
      site.#putStable();
      for (const netns of [topology.node, fresh]) {
        site.#ways.push(await ApiServerInNetns.open(netns, site.server));
      }
      return site;
    } catch (error) {
      await site.delete();
      throw error;
    }
  }

  /** Starts a daemon on the node and waits until its rules are in force. */
  async start(): Promise<Daemon> {
    const daemon = Daemon.start(this.topology.node, [...this.#flags, `--state-dir=${this.#stateFolder}`]);
    await daemon.rulesInForce(60_000);
    return daemon;
  }

  /** Starts one where there has never been one, with the same objects. */
  async startFresh(): Promise<Daemon> {
    const daemon = Daemon.start(this.fresh, this.#flags);
    await daemon.rulesInForce(60_000);
    return daemon;
  }

  /** `kproxy-ts diff` on the node: what the kernel holds against what the API server's objects call for. */
  diff(): Promise<CommandResult> {
    return runKproxy(this.topology.node, ['diff', ...this.#flags], { timeoutMs: 60_000 });
  }

  async delete(): Promise<void> {
    for (const way of this.#ways) await way.close();
    await Promise.all([this.topology.delete(), this.fresh.delete(), this.#crowd.delete()]);
    await this.server.close();
    rmSync(this.#stateFolder, { recursive: true, force: true });
  }

  get #flags(): string[] {
    return [
      `--master=${this.server.url}`,
      `--hostname-override=${NODE_NAME}`,
      `--cluster-cidr=${POD_CIDR}`,
      `--proxy-mode=${this.mode}`,
      `--sync-period=${SYNC_PERIOD}`,
    ];
  }

  async #joinCrowd(): Promise<void> {
    await connect(
      {
        netns: this.topology.node,
        device: 'crowd',
        addresses: [`${CROWD.gateway}/30`],
        routes: [`${CROWD_CIDR} via ${CROWD.own}`],
      },
      {
        netns: this.#crowd,
        device: 'eth0',
        addresses: [`${CROWD.own}/30`],
        routes: [`local ${CROWD_CIDR} dev lo`, `default via ${CROWD.gateway}`],
      },
    );
    const server = this.#crowd.spawn([process.execPath, CROWD_SERVER, String(CROWD_PORT)]);
    server.stderr.pipe(process.stderr);
    await new Promise((resolve) => server.stdout.once('data', resolve));
  }

  async #servePods(): Promise<void> {
    for (const n of PODS) {
      const agent = this.topology.pod(`pod-${n}`).agent();
      await agent.serve({ protocol: 'tcp', port: 8080, name: `pod-${n}` });
      await agent.serve({ protocol: 'udp', port: 5353, name: `pod-${n}` });
    }
  }

  #putStable(): void {
    const put = (object: object) => this.server.put(object as ApiObject);
    const tcp = { name: 'http', port: 8080 };
    const udp = { name: 'dns', protocol: 'UDP' as const, port: 5353 };
    put(nodeObject(NODE.ip));
    put(
      service('stable', {
        clusterIps: [STABLE['TCP to a cluster IP'].host],
        ports: [
          { name: 'http', port: 80, nodePort: STABLE['TCP to a node port'].port },
          { name: 'dns', protocol: 'UDP', port: 53 },
        ],
      }),
    );
    put(
      service('sticky', {
        clusterIps: ['10.96.0.2'],
        ports: [{ name: 'http', port: 80 }],
        affinitySeconds: 10_800,
      }),
    );
    const endpoints = PODS.map(podIp);
    put(slice('stable', 'stable-1', { ports: [tcp, udp], endpoints }));
    put(slice('sticky', 'sticky-1', { ports: [tcp], endpoints }));
  }
}
