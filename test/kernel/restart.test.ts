// A daemon that stops, and one that starts where another left off: the rules stay, and only what differs is written.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp, podIp6, TestNode, written } from '../support/test-node.ts';

const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };

let node: TestNode;

beforeEach(async () => {
  node = await TestNode.create(4);
  putWeb([1, 2, 3]);
  node.manifests.put(
    'other',
    service('other', {
      clusterIps: ['10.96.0.2', 'fd00:10:96::2'],
      ports: [{ name: 'http', port: 80, nodePort: 30080 }],
      externalIps: ['203.0.113.7'],
    }),
    slice('other', 'other-4', { ports: [{ name: 'http', port: 8080 }], endpoints: [podIp(1), podIp(2)] }),
    slice('other', 'other-6', { ports: [{ name: 'http', port: 8080 }], endpoints: [podIp6(1)] }),
    service('empty', { clusterIps: ['10.96.0.3'], ports: [{ port: 80 }] }),
  );
});

afterEach(() => node?.delete());

function putWeb(pods: readonly number[]): void {
  node.manifests.put(
    'web',
    service('web', { clusterIps: [WEB.host], ports: [{ name: 'http', port: 80 }] }),
    slice('web', 'web', { ports: [{ name: 'http', port: 8080 }], endpoints: pods.map(podIp) }),
  );
}

/** Slots of the Service web in their order. */
async function slots(): Promise<string[]> {
  const row = (await node.table()).find(({ address }) => address === WEB.host);
  return row!.backends.map(({ address }) => address);
}

/** Every slot and chain that waits for its deletion is gone. */
async function untilQuiet(): Promise<void> {
  await expect.poll(async () => (await node.diff()).status, { timeout: 5000 }).toBe(0);
}

const writesOf = async (daemon: Daemon): Promise<number> => Number((await daemon.rulesInForce())['writes']);

test.each(['SIGTERM', 'SIGINT'] as const)(
  'after %s the rules stay in force, and a restart writes nothing, whatever happened before',
  async (signal) => {
    const daemon = await node.start();
    // A history that leaves backends in slots where no fresh daemon would put them.
    for (const pods of [[1, 2, 3, 4], [2, 3, 4], [4], [1, 4, 3]]) await written(daemon, () => putWeb(pods));
    await untilQuiet();
    const order = await slots();
    expect(order).not.toEqual([...order].sort());

    const load = await node.topology.client.agent().startLoad({ ...WEB, pauseMs: 1 });
    const generation = await node.generation();
    expect(await daemon.stop(signal)).toBe(0);
    const ruleset = await node.nft('-s', 'list', 'ruleset');
    const { total } = await load.peek();
    await expect.poll(async () => (await load.peek()).total).toBeGreaterThan(total + 50);

    const restarted = await node.start();
    expect(await writesOf(restarted)).toBe(0);
    expect(await node.generation()).toBe(generation);
    expect(await node.nft('-s', 'list', 'ruleset')).toBe(ruleset);
    expect(await slots()).toEqual(order);
    // And it goes on from there: one endpoint more is one slot and its verdict in a chain that is new.
    await written(restarted, () => putWeb([1, 2, 3, 4]));
    expect((await slots()).slice(0, order.length)).toEqual(order);
    const tally = await load.stop();
    expect(tally.failures).toEqual([]);
    expect(tally.total).toBeGreaterThan(100);
  },
);

test.each([
  // The slot, and the hairpin pair of either pod.
  ['an endpoint replaced', () => putWeb([1, 2, 4]), 3],
  ['nothing but the order of endpoints', () => putWeb([3, 1, 2]), 0],
  // Its verdict, its cluster IP, and two slots, which wait.
  ['a Service deleted', () => node.manifests.remove('web'), 7],
])('what changed meanwhile is written, and no more: %s', async (_, change, count) => {
  const daemon = await node.start();
  expect(await daemon.stop()).toBe(0);
  change();
  const planned = await node.diff();
  expect(planned.status).toBe(count === 0 ? 0 : 1);
  expect(planned.stderr).toContain(count === 0 ? 'Nothing to write.' : `${count} to write.`);
  expect(planned.stdout.split('\n')).toHaveLength(count + 1);

  const restarted = await node.start();
  await untilQuiet();
  const writes = restarted.log
    .filter(({ msg }) => msg === 'synced')
    .reduce((sum, line) => sum + Number(line['writes']), 0);
  expect(writes).toBe(count);
});

test('another node address moves the node ports', async () => {
  const daemon = await node.start();
  expect(await daemon.stop()).toBe(0);
  const restarted = await node.start('--nodeport-addresses=10.1.0.0/24');
  expect(await writesOf(restarted)).toBeGreaterThan(0);
  const pod = node.topology.pod('pod-4').agent();
  expect((await pod.probe({ protocol: 'tcp', host: '10.1.0.1', port: 30080 })).outcome).toBe('reply');
  expect((await pod.probe({ protocol: 'tcp', host: '192.168.50.10', port: 30080 })).outcome).toBe('refused');
});

test('while it runs, a flushed ruleset is back with the next check, and one of others stays', async () => {
  const daemon = await node.start('--sync-period=1s');
  const from = daemon.log.length;
  await node.nft('flush', 'ruleset');
  await node.nft('add', 'table', 'inet', 'mine');
  const line = await daemon.waitForLog('repaired', { from });
  expect(line['level']).toBe('warn');
  expect((await node.topology.client.agent().probe(WEB)).outcome).toBe('reply');
  expect((await node.diff()).status).toBe(0);
  expect(await node.nft('list', 'tables')).toContain('table inet mine');

  // An edit that takes nothing away is found as well; a quiet period writes nothing.
  await node.nft('add', 'element', 'ip', 'kproxy-ts', 'cluster-ips', '{ 192.0.2.1 }');
  await daemon.waitForLog('repaired', { from: daemon.log.length });
  const generation = await node.generation();
  const { total } = { total: daemon.log.length };
  await node.nft('list', 'ruleset');
  await new Promise((resolve) => setTimeout(resolve, 1500));
  expect(await node.generation()).toBe(generation);
  expect(daemon.log).toHaveLength(total);
});
