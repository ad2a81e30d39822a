// Between userspace mode, which serves by this process, and others: by a changed configuration, and by restarts.

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { ProxyMode } from '../../src/config/flags.ts';
import { NODE_NAME } from '../support/manifests.ts';
import { Daemon } from '../support/netns/daemon.ts';
import { POD_CIDR, POD_CIDR6 } from '../support/netns/topology.ts';
import type { Held } from '../support/netns/traffic.ts';
import { expectNoFailures, expectUnbroken, goOn, REMOVED, SwitchingNode } from './switching-node.ts';

const PAUSE_MS = 2;
const MORE = 20;

/** By a changed configuration. Each is also gone back. */
const LIVE_PAIRS: readonly (readonly [ProxyMode, ProxyMode])[] = [
  ['userspace', 'nftables'],
  ['userspace', 'iptables'],
];

let node: SwitchingNode;
let folder: string;
let daemon: Daemon | undefined;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kproxy-ts-mode-'));
  node = await SwitchingNode.create();
});
beforeEach(() => node.clear());
afterEach(async () => {
  await daemon?.stop('SIGKILL');
  daemon = undefined;
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await node?.delete();
});

const configFile = (): string => path.join(folder, 'config.yaml');

function configure(mode: ProxyMode, fields: object = {}): void {
  const config = {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode,
    clusterCIDR: `${POD_CIDR},${POD_CIDR6}`,
    nodePortAddresses: ['0.0.0.0/0'],
    kproxyTs: { source: node.manifests.path, iptablesBackend: 'nft' },
    ...fields,
  };
  writeFileSync(`${configFile()}.new`, JSON.stringify(config));
  renameSync(`${configFile()}.new`, configFile());
}

async function startConfigured(): Promise<Daemon> {
  const flags = [`--config=${configFile()}`, `--hostname-override=${NODE_NAME}`, '-v=2'];
  daemon = Daemon.start(node.netns, flags);
  await daemon.rulesInForce();
  return daemon;
}

/** Has the daemon read its file, and waits until its rules are as that says. */
async function reload(running: Daemon): Promise<void> {
  const from = running.log.length;
  process.kill(running.pid, 'SIGHUP');
  await running.waitForLog('rules in force', { from });
}

test.each(LIVE_PAIRS)(
  '%s, %s and back while the daemon runs: no request fails, and what is established goes on',
  async (first, second) => {
    configure(first);
    const running = await startConfigured();
    const askers = await node.askFromEverywhere(PAUSE_MS);
    const held: Held[] = [];
    for (const mode of [second, first, second, first]) {
      held.push(...(await node.holdFromEverywhere()));
      configure(mode);
      await reload(running);
      await expect.poll(() => node.present()).toEqual([mode]);
      await goOn(askers, MORE);
    }
    await expectNoFailures(askers);
    await expectUnbroken(held);
    expect(running.log.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([]);
  },
  90_000,
);

test('other settings of userspace mode go over the same portals: no request fails', async () => {
  configure('userspace');
  const running = await startConfigured();
  const held = await node.holdFromEverywhere();
  const askers = await node.askFromEverywhere(PAUSE_MS);
  for (const minSyncPeriod of ['1ms', '2ms']) {
    configure('userspace', { iptables: { minSyncPeriod } });
    await reload(running);
    await goOn(askers, MORE);
  }
  await expectNoFailures(askers);
  await expectUnbroken(held);
});

test.each<ProxyMode>(['nftables', 'iptables'])(
  'userspace mode takes over from %s mode by a restart without a failed request; back, requests fail until the next rules are in force',
  async (other) => {
    daemon = await node.start(other);
    const askers = await node.askFromEverywhere(PAUSE_MS);
    const held = await node.holdFromEverywhere();
    await daemon.stop();
    daemon = await node.start('userspace');
    await daemon.waitForLog(REMOVED);
    expect(await node.present()).toEqual(['userspace']);
    await goOn(askers, MORE);
    await expectNoFailures(askers);
    // Who was translated to an endpoint still is.
    await expectUnbroken(held);

    await daemon.stop();
    expect(await node.present()).toEqual([]);
    daemon = await node.start(other);
    const fresh = await node.askFromEverywhere(PAUSE_MS);
    await goOn(fresh, MORE);
    await expectNoFailures(fresh);
  },
  60_000,
);
