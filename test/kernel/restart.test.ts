// A daemon that stops, and one that starts where another left off: the rules stay, and only what differs is written.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import type { CommandResult } from '../support/netns/command.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import { CLIENT, GATEWAY, NODE } from '../support/netns/topology.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp, podIp6, TestNode, written } from '../support/test-node.ts';

const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };

let node: TestNode;
let daemon: Daemon | undefined;

beforeAll(async () => {
  node = await TestNode.create(4);
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

beforeEach(async () => {
  putWeb([1, 2, 3]);
  await node.nft('flush', 'ruleset');
  daemon = await node.start();
});

afterEach(() => daemon?.stop());

afterAll(() => node?.delete());

/** Stops the daemon with a signal, which is to be a success, and starts it again. */
async function restart(
  signal: NodeJS.Signals,
  meanwhile: () => unknown,
  ...flags: string[]
): Promise<Daemon> {
  expect(await daemon?.stop(signal)).toBe(0);
  await meanwhile();
  daemon = await node.start(...flags);
  return daemon;
}

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
    // A history that leaves backends in slots where no fresh daemon would put them.
    for (const pods of [[1, 2, 3, 4], [2, 3, 4], [4], [1, 4, 3]]) await written(daemon!, () => putWeb(pods));
    await untilQuiet();
    const order = await slots();
    expect(order).not.toEqual([...order].sort());

    const load = await node.topology.client.agent().startLoad({ ...WEB, pauseMs: 1 });
    const generation = await node.generation();
    const rules = await ruleset();
    const restarted = await restart(signal, async () => {
      expect(await ruleset()).toBe(rules);
      const { total } = await load.peek();
      await expect.poll(async () => (await load.peek()).total).toBeGreaterThan(total + 50);
    });

    expect(await writesOf(restarted)).toBe(0);
    // It has taken over the tables, and no more.
    expect(await node.generation()).toBe(generation + 1);
    expect(await ruleset()).toBe(rules);
    // And it goes on from there.
    await written(restarted, () => putWeb([1, 2, 3, 4]));
    expect((await slots()).slice(0, order.length)).toEqual(order);
    const tally = await load.stop();
    expect(tally.failures).toEqual([]);
    expect(tally.total).toBeGreaterThan(100);
  },
);

test.each([
  // The slot, and the hairpin pair of either pod.
  ['an endpoint replaced', () => putWeb([1, 2, 4]), 3, 3],
  ['nothing but the order of endpoints', () => putWeb([3, 1, 2]), 0, 0],
  // Its element, cluster IP, hairpin pair and three slots. Its shape stays for a while.
  ['a Service deleted', () => node.manifests.remove('web'), 6, 6],
])('what changed meanwhile is written, and no more: %s', async (_, change, differences, writes) => {
  let planned: CommandResult | undefined;
  const restarted = await restart('SIGTERM', async () => {
    change();
    planned = await node.diff();
  });
  expect(planned?.status).toBe(differences === 0 ? 0 : 1);
  expect(planned?.stderr).toBe(differences === 0 ? 'Nothing to write.\n' : `${differences} to write.\n`);
  expect(planned?.stdout.split('\n')).toHaveLength(differences + 1);
  await untilQuiet();
  const synced = restarted.log.filter(({ msg }) => msg === 'synced');
  expect(synced.reduce((sum, line) => sum + Number(line['writes']), 0)).toBe(writes);
});

test.each([
  ['10.1.0.0/24', [GATEWAY.ip], [NODE.ip, NODE.ip6, GATEWAY.ip6]],
  ['0.0.0.0/0,::/0', [GATEWAY.ip, NODE.ip, NODE.ip6, GATEWAY.ip6], ['127.0.0.1', '::1']],
])('node ports move to other addresses: %s', async (cidrs, served, refused) => {
  const restarted = await restart('SIGTERM', () => undefined, `--nodeport-addresses=${cidrs}`);
  expect(await writesOf(restarted)).toBeGreaterThan(0);
  const pod = node.topology.pod('pod-4').agent();
  for (const host of served) {
    expect((await pod.probe({ protocol: 'tcp', host, port: 30080 })).outcome).toBe('reply');
  }
  for (const host of refused) {
    const from = host === '127.0.0.1' || host === '::1' ? node.netns.agent() : pod;
    expect((await from.probe({ protocol: 'tcp', host, port: 30080 })).outcome).toBe('refused');
  }
});

test('without a cluster CIDR nobody is masqueraded to a cluster IP', async () => {
  await restart('SIGTERM', () => undefined, '--cluster-cidr=');
  const tally = await node.topology.client.agent().burst({ ...WEB, count: 20 });
  expect(tally.peers).toEqual({ [CLIENT.ip]: 20 });
});

/** Without the line that says who owns a table. */
async function ruleset(): Promise<string> {
  return (await node.nft('-s', 'list', 'ruleset')).replace(/^(table \S+ \S+ \{).*\n\tflags.*\n\n/gm, '$1\n');
}

test('while it runs, what others did to tables that nobody owns is undone at once, and their own tables stay', async () => {
  await daemon?.stop();
  await node.nft('flush', 'ruleset');
  const running = await node.start('--nftables-own-table=false');
  daemon = running;
  const repair = async (...edit: string[]): Promise<void> => {
    const from = running.log.length;
    await node.nft(...edit);
    const line = await running.waitForLog('repaired', { from, timeoutMs: 5000 });
    expect(line).toMatchObject({ level: 'warn', cause: 'drift' });
  };
  await repair('flush', 'ruleset');
  expect((await node.topology.client.agent().probe(WEB)).outcome).toBe('reply');
  expect((await node.diff()).status).toBe(0);

  await repair('add', 'element', 'ip', 'kproxy-ts', 'cluster-ips', '{ 192.0.2.1 }');
  await repair('flush', 'map', 'ip', 'kproxy-ts', 'endpoints');
  expect((await node.diff()).status).toBe(0);

  // What others do elsewhere makes it look, once, and nothing more.
  const { length } = running.log;
  await node.nft('add', 'table', 'inet', 'mine');
  const generation = await node.generation();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  expect(await node.generation()).toBe(generation);
  expect(running.log.slice(length)).toEqual([]);
  expect(await node.nft('list', 'tables')).toContain('table inet mine');
});
