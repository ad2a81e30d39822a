// Events of the real daemon: what an operator reads with `kubectl describe node`.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ApiServer, startApiServer } from '../support/api-server/api-server.ts';
import { ApiServerInNetns } from '../support/api-server/in-netns.ts';
import type { ApiObject } from '../support/api-server/object-store.ts';
import { ManifestDir, NODE_NAME, node as nodeObject, service, slice } from '../support/manifests.ts';
import { Daemon } from '../support/netns/daemon.ts';
import { Netns } from '../support/netns/netns.ts';

const HTTP = [{ name: 'http', port: 80 }];

let netns: Netns;
let server: ApiServer;
let way: ApiServerInNetns;

beforeEach(async () => {
  netns = await Netns.create('events');
  server = await startApiServer();
  way = await ApiServerInNetns.open(netns, server);
  put(nodeObject('192.168.50.10'));
  put(service('web', { clusterIps: ['10.96.0.1'], ports: HTTP, createdAt: '2026-01-01T00:00:00Z' }));
  put(slice('web', 'web-1', { ports: HTTP, endpoints: ['10.1.0.11'] }));
});

afterEach(async () => {
  await netns.delete();
  await way.close();
  await server.close();
});

const put = (object: object) => server.put(object as ApiObject);

const start = async (...flags: string[]): Promise<Daemon> => {
  const daemon = Daemon.start(netns, [`--master=${way.url}`, `--hostname-override=${NODE_NAME}`, ...flags]);
  await daemon.rulesInForce();
  return daemon;
};

const told = () => server.events.stored.map(({ type, reason, note }) => [type, reason, note]);

const flush = () => netns.exec(['nft', 'flush', 'chain', 'ip', 'kproxy-ts', 'services']);

test('the start, odd objects, conflicts and repairs are told, each once', async () => {
  put(service('odd', { clusterIps: ['10.96.0.2'], ports: [{ name: 'http', port: 70_000 }] }));
  const claim = { clusterIps: ['10.96.0.1'], ports: HTTP, createdAt: '2026-02-02T00:00:00Z' };
  put(service('later', claim));
  const daemon = await start('--nftables-own-table=false');
  await expect.poll(() => told().length, { timeout: 10_000 }).toBe(3);
  expect(told()).toContainEqual([
    'Normal',
    'Starting',
    expect.stringMatching(/^kproxy-ts v\S+ is starting in nftables mode$/),
  ]);
  expect(told()).toContainEqual([
    'Warning',
    'InvalidField',
    expect.stringMatching(/^Service default\/odd: spec\.ports\[0\]\.port: .*70000/),
  ]);
  expect(told()).toContainEqual([
    'Warning',
    'VipConflict',
    expect.stringMatching(/^Service default\/later: .* belongs to the older Service default\/web$/),
  ]);

  await flush();
  await expect.poll(() => told().length, { timeout: 10_000 }).toBe(4);
  expect(told().at(-1)).toEqual(['Warning', 'RulesRepaired', expect.stringContaining('repaired')]);
  const from = daemon.log.length;
  await flush();
  await daemon.waitForLog((line) => line['cause'] === 'drift', { from });
  // What was odd still is, and has been told.
  put(service('latest', { ...claim, createdAt: '2026-03-03T00:00:00Z' }));
  await expect.poll(() => told().at(-1)?.[2], { timeout: 10_000 }).toMatch(/^Service default\/latest: /);
  expect(server.events.writes).toEqual(Array(5).fill('POST 201'));
  expect(await daemon.stop()).toBe(0);
});

test('a configuration that cannot be used is told, and the one before stays', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'kproxy-ts-events-'));
  const file = path.join(folder, 'config.yaml');
  const head = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';
  writeFileSync(file, head);
  try {
    const daemon = await start(`--config=${file}`);
    writeFileSync(file, `${head}zzz: 1\n`);
    await expect
      .poll(() => told().at(-1), { timeout: 10_000 })
      .toEqual([
        'Warning',
        'ConfigurationRefused',
        expect.stringMatching(/^the new configuration is refused, the old one stays: .*zzz: unknown field/),
      ]);
    expect(await daemon.stop()).toBe(0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a role that does not allow them is told once, and costs nothing else', async () => {
  server.faults.forbidden.add('create events');
  const daemon = await start('--nftables-own-table=false');
  await daemon.waitForLog('Events cannot be written');
  await flush();
  await daemon.waitForLog('repaired');
  await expect.poll(() => server.events.writes, { timeout: 10_000 }).toEqual(['POST 403', 'POST 403']);
  const warnings = daemon.log.filter(({ level }) => level === 'warn' || level === 'error');
  expect(warnings.map(({ msg }) => msg.slice(0, 24)).sort()).toEqual([
    'Events cannot be written',
    'repaired what somebody e',
  ]);
});

test('a server that does not answer them holds up no sync', async () => {
  server.faults.failingEvents.push(...Array<number>(1000).fill(503));
  const daemon = await start('-v=2');
  await expect.poll(() => server.events.writes.length, { timeout: 10_000 }).toBeGreaterThan(0);
  const from = daemon.log.length;
  put(service('new', { clusterIps: ['10.96.0.9'], ports: HTTP }));
  await daemon.waitForLog('synced', { from, timeoutMs: 1000 });
  server.faults.failingEvents.length = 0;
  await expect.poll(told, { timeout: 10_000 }).toMatchObject([['Normal', 'Starting', expect.anything()]]);
});

test('with manifests there is nobody to tell', async () => {
  const manifests = new ManifestDir();
  try {
    manifests.put('odd', nodeObject('192.168.50.10'), service('odd', { clusterIps: ['bad'], ports: HTTP }));
    const flags = [`--source=${manifests.path}`, `--hostname-override=${NODE_NAME}`];
    const daemon = Daemon.start(netns, flags);
    await daemon.rulesInForce();
    await daemon.waitForLog('problem');
    expect(await daemon.stop()).toBe(0);
    expect(daemon.log.filter(({ msg }) => msg.includes('Event'))).toEqual([]);
  } finally {
    manifests.delete();
  }
});
