// kill -9 at random moments while everything changes: what is in force always works, and the next start converges.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { deadEnds } from '../support/in-process-proxy.ts';
import { service, slice } from '../support/manifests.ts';
import { Daemon } from '../support/netns/daemon.ts';
import type { Target } from '../support/netns/traffic.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const KILLS = 30;
const FILES = 8;
const SERVICES_PER_FILE = 120;
const STABLE: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };

let node: TestNode;
let netlink: RemoteNetlink;

beforeAll(async () => {
  node = await TestNode.create(2);
  netlink = await RemoteNetlink.open(node.netns);
  node.manifests.put(
    'stable',
    service('stable', { clusterIps: [STABLE.host], ports: [{ name: 'http', port: 80 }] }),
    slice('stable', 'stable', { ports: [{ name: 'http', port: 8080 }], endpoints: [podIp(1), podIp(2)] }),
  );
});

afterAll(async () => {
  netlink?.close();
  await node?.delete();
});

/** Every Service of a file with another number of endpoints, at other addresses, some with none, some gone. */
function churn(file: number, version: number): void {
  const objects = Array.from({ length: SERVICES_PER_FILE }, (_, i) => {
    const name = `s-${file}-${i}`;
    const random = (i * 7919 + version * 104_729) >>> 0;
    if (random % 11 === 0) return [];
    const ports = [{ name: 'http', port: 80, nodePort: i < 20 ? 30_000 + file * 100 + i : undefined }];
    const endpoints = Array.from(
      { length: random % 7 },
      (__, n) => `10.${(random + n) % 250}.${file}.${i + 1}`,
    );
    return [
      service(name, { clusterIps: [`10.97.${file}.${i + 1}`], ports }),
      slice(name, name, { ports: [{ name: 'http', port: 8080 + (random % 3) }], endpoints }),
    ];
  });
  node.manifests.put(`churn-${file}`, ...objects.flat());
}

const yes = (): boolean => true;
const no = (): boolean => false;

test(`${KILLS} times`, async () => {
  const seed = Number(process.env['KPROXY_SEED'] ?? Date.now() % 1_000_000);
  console.log(`kill -9: KPROXY_SEED=${seed}`);
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  let version = 0;
  const changeAll = (): void => {
    version++;
    for (let file = 0; file < FILES; file++) churn(file, version);
  };
  changeAll();
  const first = Daemon.start(node.netns, node.flags);
  await first.waitForLog('starting');
  const started = performance.now();
  await first.rulesInForce();
  const loadMs = performance.now() - started;
  await first.stop('SIGKILL');
  const load = await node.topology.client.agent().startLoad(STABLE);

  let killsInForce = 0;
  for (let kill = 1; kill <= KILLS; kill++) {
    changeAll();
    const daemon = Daemon.start(node.netns, node.flags);
    await daemon.waitForLog('starting');
    // Before, during and after the first big write, and during the ones that follow.
    const timer = setTimeout(() => daemon.stop('SIGKILL'), loadMs * 2 * random());
    if (await daemon.rulesInForce().then(yes, no)) killsInForce++;
    while (!(await Promise.race([daemon.ended.then(yes), sleep(40, false)]))) changeAll();
    clearTimeout(timer);
    expect(await daemon.ended).toBe('SIGKILL');
    expect(await deadEnds(netlink)).toEqual([]);
    if (kill % 6 === 0) {
      const successor = await node.start();
      expect(await successor.stop()).toBe(0);
      // All there is, but for slots and chains that were to be deleted a moment later.
      const { stdout } = await node.diff();
      expect(stdout.split('\n').filter((line) => !/^$|^- .*(endpoints | chain )/.test(line))).toEqual([]);
    }
  }
  console.log(`kill -9: ${killsInForce} of ${KILLS} after the first write`);
  const last = await node.start();
  await expect.poll(async () => (await node.diff()).status, { timeout: 10_000 }).toBe(0);
  await last.stop();
  const tally = await load.stop();
  expect(tally.failures).toEqual([]);
  expect(tally.total).toBeGreaterThan(1000);
}, 120_000);
