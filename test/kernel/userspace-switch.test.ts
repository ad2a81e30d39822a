// Between userspace mode, which serves by this process, and others: by a changed configuration, and by restarts.

import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { ProxyMode } from '../../src/config/flags.ts';
import { NODE_NAME, service, slice } from '../support/manifests.ts';
import { Daemon } from '../support/netns/daemon.ts';
import { GATEWAY, POD_CIDR, POD_CIDR6 } from '../support/netns/topology.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
const DNS: Target = { protocol: 'udp', host: '10.96.0.10', port: 53 };
const NODE_PORT: Target = { protocol: 'tcp', host: GATEWAY.ip, port: 30080 };
const NODE_PORTS = '--nodeport-addresses=0.0.0.0/0';

/** What shows that a mode has rules, and the flags that it takes. */
const MODES: Partial<Record<ProxyMode, { readonly flags: readonly string[]; hasRules(): Promise<boolean> }>> =
  {
    nftables: {
      flags: [],
      hasRules: async () => (await node.nft('list', 'tables')).includes(' kproxy-ts\n'),
    },
    iptables: {
      flags: ['--iptables-backend=nft'],
      hasRules: async () => (await node.nft('list', 'ruleset')).includes('KUBE-SVC-'),
    },
    userspace: {
      flags: [],
      hasRules: async () => (await node.nft('list', 'tables')).includes(' kproxy-ts-userspace\n'),
    },
  };

/** By a changed configuration. Each is also gone back. */
const LIVE_PAIRS: readonly (readonly [ProxyMode, ProxyMode])[] = [
  ['userspace', 'nftables'],
  ['userspace', 'iptables'],
];

let node: TestNode;
let folder: string;
let daemon: Daemon | undefined;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kproxy-ts-mode-'));
  node = await TestNode.create(3);
  const http = { name: 'http', port: 80 };
  const dns = { name: 'dns', port: 53, protocol: 'UDP' as const };
  node.manifests.put(
    'web',
    service('web', { clusterIps: [WEB.host], ports: [{ ...http, nodePort: 30080 }], type: 'NodePort' }),
    slice('web', 'web', { ports: [{ ...http, port: 8080 }], endpoints: [podIp(1), podIp(2)] }),
    service('dns', { clusterIps: [DNS.host], ports: [dns] }),
    slice('dns', 'dns', { ports: [{ ...dns, port: 5353 }], endpoints: [podIp(3)] }),
  );
});
beforeEach(async () => {
  await node.nft('flush', 'ruleset');
});
afterEach(async () => {
  await daemon?.stop('SIGKILL');
  daemon = undefined;
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await node?.delete();
});

async function start(mode: ProxyMode): Promise<Daemon> {
  daemon = await node.start(`--proxy-mode=${mode}`, NODE_PORTS, ...MODES[mode]!.flags);
  return daemon;
}

const configFile = (): string => path.join(folder, 'config.yaml');

function configure(mode: ProxyMode): void {
  const config = {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode,
    clusterCIDR: `${POD_CIDR},${POD_CIDR6}`,
    nodePortAddresses: ['0.0.0.0/0'],
    kproxyTs: { source: node.manifests.path, iptablesBackend: 'nft' },
  };
  writeFileSync(`${configFile()}.new`, JSON.stringify(config));
  renameSync(`${configFile()}.new`, configFile());
}

/** Clients outside, pods and the node, who dial without a pause. */
async function startLoads() {
  const outside = node.topology.client.agent();
  const inside = node.topology.pod('pod-3').agent();
  return Promise.all([
    outside.startLoad({ ...WEB, pauseMs: 2 }),
    outside.startLoad({ ...NODE_PORT, pauseMs: 2 }),
    inside.startLoad({ ...WEB, pauseMs: 2 }),
    inside.startLoad({ ...DNS, pauseMs: 2 }),
    node.netns.agent().startLoad({ ...WEB, pauseMs: 2 }),
  ]);
}

/** Settles when every one of them has been answered some more. */
async function goOn(loads: Awaited<ReturnType<typeof startLoads>>): Promise<void> {
  const replies = async (load: (typeof loads)[number]) => (await load.peek()).outcomes.reply ?? 0;
  const before = await Promise.all(loads.map(replies));
  for (const [i, load] of loads.entries())
    await expect.poll(() => replies(load)).toBeGreaterThan(before[i]! + 20);
}

/** The modes that have rules now. */
async function present(): Promise<string[]> {
  const found: string[] = [];
  for (const [mode, { hasRules }] of Object.entries(MODES)) if (await hasRules()) found.push(mode);
  return found.sort();
}

test.each(LIVE_PAIRS)(
  '%s, %s and back while the daemon runs: no request fails, and what is established goes on',
  async (first, second) => {
    configure(first);
    daemon = Daemon.start(node.netns, [
      `--config=${configFile()}`,
      `--hostname-override=${NODE_NAME}`,
      '-v=2',
    ]);
    await daemon.rulesInForce();
    const loads = await startLoads();
    const holders = [node.topology.client.agent(), node.topology.pod('pod-3').agent(), node.netns.agent()];
    const held = [];
    for (const mode of [second, first, second, first]) {
      held.push(...(await Promise.all(holders.map((agent) => agent.hold(WEB)))));
      const from = daemon.log.length;
      configure(mode);
      process.kill(daemon.pid, 'SIGHUP');
      await daemon.waitForLog('rules in force', { from });
      await expect.poll(present).toEqual([mode]);
      await goOn(loads);
    }
    for (const load of loads) expect((await load.stop()).failures).toEqual([]);
    for (const { first: reply, release } of held) {
      expect(await release()).toMatchObject({ outcome: 'reply', server: reply.server });
    }
    expect(daemon.log.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([]);
  },
  90_000,
);

test('other settings of userspace mode go over the same portals: no request fails', async () => {
  configure('userspace');
  daemon = Daemon.start(node.netns, [`--config=${configFile()}`, `--hostname-override=${NODE_NAME}`, '-v=2']);
  await daemon.rulesInForce();
  const held = await node.topology.client.agent().hold(WEB);
  const loads = await startLoads();
  for (const minSyncPeriod of ['1ms', '2ms']) {
    const from = daemon.log.length;
    const config = JSON.parse(readFileSync(configFile(), 'utf8')) as object;
    writeFileSync(configFile(), JSON.stringify({ ...config, iptables: { minSyncPeriod } }));
    process.kill(daemon.pid, 'SIGHUP');
    await daemon.waitForLog('rules in force', { from });
    await goOn(loads);
  }
  for (const load of loads) expect((await load.stop()).failures).toEqual([]);
  expect(await held.release()).toMatchObject({ outcome: 'reply' });
});

test.each<ProxyMode>(['nftables', 'iptables'])(
  'userspace mode takes over from %s mode by a restart without a failed request; back, requests fail until the next rules are in force',
  async (other) => {
    await start(other);
    const loads = await startLoads();
    const held = await node.topology.client.agent().hold(WEB);
    await daemon!.stop();
    await (await start('userspace')).waitForLog('removed the rules of another mode');
    expect(await present()).toEqual(['userspace']);
    await goOn(loads);
    for (const load of loads) expect((await load.peek()).failures).toEqual([]);
    // Who was translated to an endpoint still is.
    expect(await held.release()).toMatchObject({ outcome: 'reply' });

    await daemon!.stop();
    expect(await present()).toEqual([]);
    await start(other);
    const fresh = await startLoads();
    await goOn(fresh);
    for (const load of fresh) expect((await load.stop()).failures).toEqual([]);
    for (const load of loads) await load.stop();
  },
  60_000,
);
