// Endpoints and Services that come and go under a continuous load of new connections: not one of them fails.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { node as nodeObject, service, slice } from '../support/manifests.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import { NODE } from '../support/netns/topology.ts';
import type { Agent, Target } from '../support/netns/traffic.ts';
import { podIp, TestNode, written } from '../support/test-node.ts';

const HTTP = { name: 'http', port: 80, nodePort: 30080 } as const;
const STABLE: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
const CHANGING: Target = { protocol: 'tcp', host: '10.96.0.2', port: 80 };
const CHANGING_UDP: Target = { ...CHANGING, protocol: 'udp', port: 53 };

const UDP_TIMEOUT_MS = 2000;
const UDP_CLIENTS = 4;

let node: TestNode;
let daemon: Daemon;
let visitor: Agent;

beforeAll(async () => {
  node = await TestNode.create(5);
  visitor = node.topology.pod('pod-5').agent();
  node.manifests.put(
    'stable',
    service('stable', { clusterIps: [STABLE.host], ports: [{ name: 'http', port: 80 }] }),
    slice('stable', 'stable', {
      ports: [{ name: 'http', port: 8080 }],
      endpoints: [podIp(1), podIp(2)],
    }),
  );
  putChanging([1, 2, 3]);
  daemon = await node.start();
});

beforeEach(() => restore());

afterAll(() => node?.delete());

/** The changing Service with the pods of these numbers behind it. */
function putChanging(pods: readonly number[], port = 8080): void {
  node.manifests.put(
    'changing',
    service('changing', {
      clusterIps: [CHANGING.host],
      ports: [HTTP, { name: 'dns', protocol: 'UDP', port: 53 }],
    }),
    slice('changing', 'changing', {
      ports: [
        { name: 'http', port },
        { name: 'dns', protocol: 'UDP', port: 5353 },
      ],
      endpoints: pods.map(podIp),
    }),
  );
}

let present = '1,2,3 8080';

/** The same, in force when this settles. */
async function setPods(pods: readonly number[], port = 8080): Promise<void> {
  const wanted = `${pods} ${port}`;
  if (wanted === present) return;
  present = wanted;
  await written(daemon, () => putChanging(pods, port));
}

const restore = (): Promise<void> => setPods([1, 2, 3]);

/** Names of the servers that answer new connections. */
async function servers(target: Target = CHANGING): Promise<string[]> {
  const tally = await visitor.burst({ ...target, count: 60 });
  expect(tally.failures).toEqual([]);
  return Object.keys(tally.servers).sort();
}

test('no request fails while endpoints are removed, added and replaced', async () => {
  const loads = await Promise.all(
    [STABLE, CHANGING, { ...CHANGING_UDP, timeoutMs: UDP_TIMEOUT_MS, concurrency: UDP_CLIENTS }].map(
      (target) => visitor.startLoad({ ...target, pauseMs: 1 }),
    ),
  );
  const steps: [pods: number[], port?: number][] = [
    [[1, 2]],
    [[1, 2, 3, 4]],
    [[4]],
    [[3]],
    [[1, 2, 3, 4]],
    [[1, 2, 3, 4], 8081],
    [[2, 4], 8081],
    [[1, 3], 8080],
    [[1, 2, 3]],
  ];
  const changes: { readonly fromMs: number; readonly toMs: number }[] = [];
  for (const [pods, port = 8080] of steps) {
    const fromMs = Date.now();
    await setPods(pods, port);
    changes.push({ fromMs, toMs: Date.now() });
    const { total } = await loads[1]!.peek();
    await expect.poll(async () => (await loads[1]!.peek()).total).toBeGreaterThan(total + 60);
  }
  const [stable, changing, changingUdp] = await Promise.all(loads.map((load) => load.stop()));
  for (const tally of [stable!, changing!, changingUdp!]) expect(tally.total).toBeGreaterThan(500);
  expect(stable!.failures).toEqual([]);
  expect(changing!.failures).toEqual([]);
  // A reply on its way from a removed endpoint finds its flow deleted: one datagram per client at the most.
  for (const { atMs } of changingUdp!.failures) {
    const askedMs = atMs - UDP_TIMEOUT_MS;
    expect(changes.some(({ fromMs, toMs }) => askedMs > fromMs - 50 && askedMs < toMs + 50)).toBe(true);
  }
  expect(changingUdp!.failures.length).toBeLessThanOrEqual(UDP_CLIENTS * changes.length);
});

test('new connections go only to the endpoints there are now', async () => {
  expect(await servers()).toEqual(['pod-1', 'pod-2', 'pod-3']);
  await setPods([1, 3]);
  expect(await servers()).toEqual(['pod-1', 'pod-3']);
  await setPods([4, 3]);
  expect(await servers()).toEqual(['pod-3', 'pod-4']);
  await setPods([4, 3], 8081);
  expect(await servers()).toEqual(['pod-3:8081', 'pod-4:8081']);
});

test('a connection to an endpoint that is removed goes on', async () => {
  const held = await visitor.hold({ ...CHANGING, intervalMs: 10 });
  const pod = Number(held.first.server?.slice('pod-'.length));
  await setPods([1, 2, 3].filter((n) => n !== pod));
  expect(await held.release()).toMatchObject({ outcome: 'reply', server: `pod-${pod}` });
});

test('the last endpoint gone, connections are refused at once; back, they work', async () => {
  const load = await visitor.startLoad(STABLE);
  for (const [from, target] of [
    [visitor, CHANGING],
    [node.topology.client.agent(), { ...CHANGING, host: '192.168.50.10', port: HTTP.nodePort }],
  ] as const) {
    await setPods([]);
    const refused = await from.probe(target);
    expect(refused.outcome).toBe('refused');
    expect(refused.latencyMs).toBeLessThan(100);
    await setPods([2]);
    expect(await from.probe(target)).toMatchObject({ outcome: 'reply', server: 'pod-2' });
  }
  expect((await load.stop()).failures).toEqual([]);
});

test('a Service that is deleted is gone and comes back as it was, and no other notices', async () => {
  const load = await visitor.startLoad({ ...STABLE, pauseMs: 1 });
  await written(daemon, () => node.manifests.remove('changing'));
  expect((await visitor.probe({ ...CHANGING, timeoutMs: 300 })).outcome).not.toBe('reply');
  expect((await node.topology.client.agent().probe({ ...CHANGING, timeoutMs: 300 })).outcome).not.toBe(
    'reply',
  );
  await written(daemon, () => putChanging([1, 2, 3]));
  expect(await servers()).toEqual(['pod-1', 'pod-2', 'pod-3']);
  const tally = await load.stop();
  expect(tally.failures).toEqual([]);
  expect(tally.total).toBeGreaterThan(100);
});

test('the slot of a removed endpoint is gone within a second', async () => {
  await setPods([1, 2, 3, 4]);
  const tail = async (): Promise<boolean> =>
    (await node.nft('list', 'map', 'ip', 'kproxy-ts', 'endpoints')).includes('10.96.0.2 . tcp . 80 . 3 ');
  expect(await tail()).toBe(true);
  await setPods([1, 2, 3]);
  const start = performance.now();
  await expect.poll(tail, { timeout: 5000, interval: 20 }).toBe(false);
  expect(performance.now() - start).toBeLessThan(1000);
});

test('node ports follow the addresses of the Node object', async () => {
  const client = node.topology.client.agent();
  const outcome = async (host: string): Promise<string> =>
    (await client.probe({ protocol: 'tcp', host, port: HTTP.nodePort })).outcome;
  const other = '192.168.50.77';
  await node.netns.ip(`address add ${other}/24 dev eth0`);
  expect([await outcome(NODE.ip), await outcome(other)]).toEqual(['reply', 'refused']);
  await written(daemon, () => node.manifests.put('node', nodeObject(other)));
  expect([await outcome(NODE.ip), await outcome(other)]).toEqual(['refused', 'reply']);
  await written(daemon, () => node.manifests.put('node', nodeObject(NODE.ip, NODE.ip6)));
  expect([await outcome(NODE.ip), await outcome(other)]).toEqual(['reply', 'refused']);
});

test('the counters of a Service go on through its changes', async () => {
  const connections = async (): Promise<number> =>
    (await node.table()).find(({ address, protocol }) => address === CHANGING.host && protocol === 'TCP')!
      .connections;
  const before = await connections();
  await visitor.burst({ ...CHANGING, count: 50 });
  expect(await connections()).toBe(before + 50);
  await setPods([1, 2]);
  await setPods([1, 2, 3, 4]);
  expect(await connections()).toBe(before + 50);
});
