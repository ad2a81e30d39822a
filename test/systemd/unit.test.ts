// The unit under a real systemd: its sandbox, readiness, watchdog and restarts, while clients go on.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { NODE_NAME, service, slice } from '../support/manifests.ts';
import { POD_CIDR } from '../support/netns/topology.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp, TestNode } from '../support/test-node.ts';
import { Manager } from './manager.ts';

const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
const ARGS = `--source=/run/kpt/manifests --hostname-override=${NODE_NAME} --cluster-cidr=${POD_CIDR}`;
const PATIENCE = { timeout: 15_000, interval: 100 };

let node: TestNode;
let manager: Manager;

beforeAll(async () => {
  node = await TestNode.create(1);
  node.manifests.put(
    'web',
    service('web', { clusterIps: [WEB.host], ports: [{ name: 'http', port: 80 }] }),
    slice('web', 'web-1', { ports: [{ name: 'http', port: 8080 }], endpoints: [podIp(1)] }),
  );
  const settings = [`Environment="KPROXY_TS_ARGS=${ARGS}"`, 'WatchdogSec=2s', 'RestartSec=200ms'];
  manager = await Manager.start(node.netns, node.manifests.path, settings);
});

afterAll(async () => {
  await manager?.end();
  await node?.delete();
});

const mainPid = () => manager.property('MainPID');

/** Signals the daemon, and waits until systemd has started another. */
async function expectRestart(signal: string): Promise<void> {
  const [pid, restarts] = [await mainPid(), Number(await manager.property('NRestarts'))];
  await manager.exec('kill', `-${signal}`, pid);
  await expect.poll(() => manager.property('NRestarts'), PATIENCE).toBe(String(restarts + 1));
  await expect.poll(() => manager.property('ActiveState'), PATIENCE).toBe('active');
  expect(await mainPid()).not.toBe(pid);
}

test('starts, is confined, is restarted when it dies or hangs, and leaves its rules behind', async () => {
  const startMs = performance.now();
  expect(await manager.systemctl('start', 'kproxy-ts')).toMatchObject({ status: 0, stderr: '' });
  const readyMs = Math.round(performance.now() - startMs);
  // Ready means in force.
  const client = node.topology.client.agent();
  expect(await client.probe(WEB)).toMatchObject({ outcome: 'reply', server: 'pod-1' });
  // A status that follows another at once waits for a second.
  await expect.poll(() => manager.property('StatusText'), PATIENCE).toBe('1 Service in force, nftables mode');

  const { stdout: status } = await manager.exec('cat', `/proc/${await mainPid()}/status`);
  // CAP_NET_ADMIN, the 13th capability, and filtered system calls.
  for (const set of ['Prm', 'Eff', 'Bnd'])
    expect(status).toMatch(new RegExp(`^Cap${set}:\\t0000000000001000$`, 'm'));
  expect(status).toMatch(/^NoNewPrivs:\t1$/m);
  expect(status).toMatch(/^Seccomp:\t2$/m);
  expect((await manager.exec('stat', '--format=%a', '/var/lib/kproxy-ts')).stdout).toBe('700\n');

  const load = await client.startLoad({ ...WEB, pauseMs: 10 });
  const beforeReload = await mainPid();
  expect(await manager.systemctl('reload', 'kproxy-ts')).toMatchObject({ status: 0 });
  expect(await mainPid()).toBe(beforeReload);
  await expectRestart('KILL');
  // Nobody hears of it any more: the watchdog ends it.
  const stoppedMs = performance.now();
  await expectRestart('STOP');
  const hangMs = Math.round(performance.now() - stoppedMs);

  expect(await manager.systemctl('stop', 'kproxy-ts')).toMatchObject({ status: 0 });
  expect(await manager.property('ActiveState')).toBe('inactive');
  expect(await manager.property('Result')).toBe('success');
  await new Promise((resolve) => setTimeout(resolve, 300));
  const { failures, total } = await load.stop();
  expect(failures).toEqual([]);
  expect(total).toBeGreaterThan(100);
  console.log(
    `ready after ${readyMs} ms, another one ${hangMs} ms after a hang; ${total} requests, none failed`,
  );
}, 60_000);

test('is not started again when a flag cannot be used', async () => {
  await manager.exec(
    'sh',
    '-ec',
    'sed -i s/--source=/--sauce=/ /run/systemd/units/kproxy-ts.service.d/test.conf',
  );
  await manager.systemctl('daemon-reload');
  expect((await manager.systemctl('start', 'kproxy-ts')).status).toBe(1);
  await expect.poll(() => manager.property('ActiveState'), PATIENCE).toBe('failed');
  expect(await manager.property('ExecMainStatus')).toBe('2');
  expect(await manager.property('NRestarts')).toBe('0');
});
