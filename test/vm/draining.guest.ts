// Endpoints that go while connections are made and held, on a real IPVS: weight 0, and gone with the last connection.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import type { Agent, Target } from '../support/netns/traffic.ts';
import { patient } from '../support/patience.ts';
import { podIp, TestNode, written } from '../support/test-node.ts';
import { listServers } from './ipvsadm.ts';

const PODS = [1, 2, 3] as const;
/** After a reset (linux/net/netfilter/ipvs/ip_vs_proto_tcp.c, IP_VS_TCP_S_CLOSE). */
const CLOSE_SEC = 10;

let node: TestNode;
let client: Agent;
let daemon: Daemon;
let web: Target;
let services = 0;

beforeAll(async () => {
  node = await TestNode.create(PODS.length);
  client = node.topology.client.agent();
});

afterAll(() => node?.delete());

/** A Service of its own for each test: connections of the last one count for minutes. */
beforeEach(async () => {
  web = { protocol: 'tcp', host: `10.96.0.${++services}`, port: 80 };
  putEndpoints(PODS);
});

afterEach(async () => {
  await daemon?.stop();
});

function putEndpoints(pods: readonly number[]): void {
  node.manifests.put(
    'web',
    service('web', { clusterIps: [web.host], ports: [{ port: 80 }] }),
    slice('web', 'web', { ports: [{ port: 8080 }], endpoints: pods.map(podIp) }),
  );
}

const start = async (...flags: string[]): Promise<void> => {
  daemon = await node.start('--proxy-mode=ipvs', ...flags);
};

/** Weights by pod, as the kernel has them. */
async function weights(): Promise<Record<number, number>> {
  const { realServers } = (await listServers(node.netns))[`TCP ${web.host}:80`]!;
  return Object.fromEntries(
    PODS.flatMap((n) => {
      const listed = realServers[`${podIp(n)}:8080`];
      return listed === undefined ? [] : [[n, listed.weight]];
    }),
  );
}

/** A connection that is asked again and again, to that pod. */
async function hold(pod: number): ReturnType<Agent['hold']> {
  for (;;) {
    const held = await client.hold(web);
    if (held.first.server === `pod-${pod}`) return held;
    await held.release({ isReset: true });
  }
}

const until = (seconds: number) => ({ timeout: patient(seconds * 1000), interval: 200 });

test('under load an endpoint that goes loses no request, gets no new connection, and has its weight again when it returns', async () => {
  await start();
  const held = await hold(1);
  const load = await client.startLoad({ ...web, concurrency: 2 });
  await expect.poll(async () => (await load.peek()).total, until(10)).toBeGreaterThan(40);

  await written(daemon, () => putEndpoints([2, 3]));
  expect(await weights()).toEqual({ 1: 0, 2: 1, 3: 1 });
  const burst = await client.burst({ ...web, count: 30 });
  expect(burst.servers).toEqual({ 'pod-2': expect.any(Number), 'pod-3': expect.any(Number) });
  const { total } = await load.peek();
  await expect.poll(async () => (await load.peek()).total, until(10)).toBeGreaterThan(total + 40);
  // Those that wait for the end of TIME_WAIT, and the one that is held.
  expect(await weights()).toEqual({ 1: 0, 2: 1, 3: 1 });

  await written(daemon, () => putEndpoints(PODS));
  expect(await weights()).toEqual({ 1: 1, 2: 1, 3: 1 });
  expect(Object.keys((await client.burst({ ...web, count: 30 })).servers).sort()).toEqual([
    'pod-1',
    'pod-2',
    'pod-3',
  ]);
  expect((await load.stop()).failures).toEqual([]);
  const report = await held.release();
  expect(report).toMatchObject({ outcome: 'reply', server: 'pod-1' });
  expect(report.asked).toBeGreaterThan(3);
});

test('it is deleted with its last connection, whichever daemon runs then', async () => {
  await start();
  const held = await hold(1);
  await written(daemon, () => putEndpoints([2, 3]));
  expect(await weights()).toEqual({ 1: 0, 2: 1, 3: 1 });

  await daemon.stop();
  await start();
  expect(daemon.log.find(({ msg }) => msg.includes('rules in force'))).toMatchObject({ writes: 0 });
  expect(await weights()).toEqual({ 1: 0, 2: 1, 3: 1 });
  expect((await client.burst({ ...web, count: 12 })).servers).not.toHaveProperty('pod-1');

  expect(await held.release({ isReset: true })).toMatchObject({ outcome: 'reply', server: 'pod-1' });
  await expect.poll(weights, until(3 * CLOSE_SEC)).toEqual({ 2: 1, 3: 1 });
});

test('it is deleted when its time is up, and with it the connections that it still has', async () => {
  await start('--ipvs-drain-timeout=3s');
  const held = await hold(1);
  await written(daemon, () => putEndpoints([2, 3]));
  expect(await weights()).toEqual({ 1: 0, 2: 1, 3: 1 });
  await expect.poll(weights, until(10)).toEqual({ 2: 1, 3: 1 });
  expect((await held.release()).outcome).not.toBe('reply');
});

test('a Service that is deleted takes its virtual server along at once', async () => {
  await start();
  const held = await hold(1);
  await written(daemon, () => node.manifests.remove('web'));
  expect(await listServers(node.netns)).toEqual({});
  expect((await client.probe({ ...web, timeoutMs: patient(500) })).outcome).not.toBe('reply');
  expect((await held.release()).outcome).not.toBe('reply');
});
