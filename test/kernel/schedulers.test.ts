// Schedulers and weights with real packets: in turn, by the client's address, and in proportion.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type FrontendSpec, FrontendsInKernel, frontend } from '../support/frontends.ts';
import { NODE, NodeTopology } from '../support/netns/topology.ts';
import type { Agent, Target } from '../support/netns/traffic.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';
import { podIp, podIp6 } from '../support/test-node.ts';

const PODS = [1, 2, 3, 4];
const VIP = '10.96.0.1';
const VIP6 = 'fd00:10:96::1';
const WEB: Target = { protocol: 'tcp', host: VIP, port: 80 };

let topology: NodeTopology;
let netlink: RemoteNetlink;
let client: Agent;
let kernel: FrontendsInKernel;

beforeAll(async () => {
  topology = await NodeTopology.create(PODS.map((n) => ({ name: `pod-${n}`, ip: podIp(n), ip6: podIp6(n) })));
  for (const n of PODS) {
    await topology
      .pod(`pod-${n}`)
      .agent()
      .serve({ protocol: 'tcp', port: 8080, name: `pod-${n}` });
  }
  // The client has many addresses: all of two networks.
  await topology.client.sysctl({ 'net.ipv6.ip_nonlocal_bind': 1 });
  await topology.client.ip('route add local 10.200.0.0/16 dev lo', 'route add local fd00:200::/64 dev lo');
  netlink = await RemoteNetlink.open(topology.node);
  client = topology.client.agent();
});

afterAll(async () => {
  netlink?.close();
  await topology?.delete();
});

beforeEach(async () => {
  await topology.node.exec(['nft', 'flush', 'ruleset']);
  kernel = new FrontendsInKernel(netlink);
});

/** The n-th address of the client. */
const address = (n: number, isIp6 = false): string =>
  isIp6 ? `fd00:200::${n.toString(16)}` : `10.200.${n >> 8}.${n & 255}`;

const pods = (numbers: readonly number[]): string[] => numbers.map((n) => `${podIp(n)}:8080`);
const pods6 = (numbers: readonly number[]): string[] => numbers.map((n) => `[${podIp6(n)}]:8080`);
const weighted = (backends: readonly string[], weights: readonly number[]): string[] =>
  backends.map((text, i) => `${text}*${weights[i]}`);

async function put(name: string, ...specs: FrontendSpec[]): Promise<number> {
  const { failures, writes } = await kernel.set(...specs.map((spec) => frontend(name, spec)));
  expect(failures).toEqual([]);
  return writes;
}

async function ask(target: Target): Promise<string> {
  const { outcome, server } = await client.probe(target);
  expect(outcome).toBe('reply');
  return server!;
}

/** The servers of so many clients, in their order. */
async function serversOf(target: Target, count: number): Promise<string[]> {
  const isIp6 = target.host.includes(':');
  const servers: string[] = [];
  for (let n = 1; n <= count; n++) servers.push(await ask({ ...target, localAddress: address(n, isIp6) }));
  return servers;
}

/** How often each occurs. */
function countOf(servers: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const server of servers) counts[server] = (counts[server] ?? 0) + 1;
  return counts;
}

describe('rr', () => {
  test('takes endpoints strictly in turn, each Service by itself, at each of its addresses', async () => {
    const rr = { scheduler: 'rr', backends: pods(PODS) } as const;
    await put('a', { ...rr, address: VIP }, { ...rr, port: 30080, masquerade: 'always' });
    await put('b', { ...rr, address: '10.96.0.2' });
    await put('c', { scheduler: 'rr', address: VIP6, backends: pods6([1, 2, 3]) });
    const targets = [
      WEB,
      { ...WEB, host: '10.96.0.2' },
      { ...WEB, host: VIP6 },
      { ...WEB, host: NODE.ip, port: 30080 },
    ];
    const servers = targets.map((): string[] => []);
    for (let round = 0; round < 24; round++) {
      for (const [i, target] of targets.entries()) {
        servers[i]!.push(
          await ask({ ...target, localAddress: address(round + 1, target.host.includes(':')) }),
        );
      }
    }
    for (const [i, ofTarget] of servers.entries()) {
      const size = i === 2 ? 3 : 4;
      const first = ofTarget.slice(0, size);
      expect(new Set(first).size).toBe(size);
      expect(ofTarget).toEqual(Array.from({ length: 24 }, (_, n) => first[n % size]));
    }
  });

  test('deals heavier endpoints more turns', async () => {
    await put('a', { scheduler: 'rr', address: VIP, backends: weighted(pods([1, 2, 3]), [10, 20, 30]) });
    const servers: string[] = [];
    for (let n = 0; n < 24; n++) servers.push(await ask(WEB));
    expect(countOf(servers)).toEqual({ 'pod-1': 4, 'pod-2': 8, 'pod-3': 12 });
    expect(countOf(servers.slice(0, 6))).toEqual({ 'pod-1': 1, 'pod-2': 2, 'pod-3': 3 });
  });

  test('goes on in turn when endpoints come and go', async () => {
    for (const numbers of [
      [1, 2, 3],
      [1, 3],
      [1, 3, 4],
      [2, 4],
    ]) {
      await put('a', { scheduler: 'rr', address: VIP, backends: pods(numbers) });
      await kernel.backend.flushDeferred();
      const servers: string[] = [];
      for (let n = 0; n < numbers.length * 3; n++) servers.push(await ask(WEB));
      expect(countOf(servers)).toEqual(Object.fromEntries(numbers.map((n) => [`pod-${n}`, 3])));
    }
  });
});

describe.each([
  ['sh', VIP],
  ['sh', VIP6],
  ['mh', VIP],
  ['mh', VIP6],
] as const)('%s at %s', (scheduler, host) => {
  const of = host === VIP6 ? pods6 : pods;
  const target = { ...WEB, host };

  test('a client has one endpoint, whatever Service and node; clients are spread', async () => {
    await put('a', { scheduler, address: host, backends: of(PODS) });
    await put('b', { scheduler, address: host, port: 81, backends: of(PODS) });
    const servers = await serversOf(target, 200);
    expect(await serversOf({ ...target, port: 81 }, 200)).toEqual(servers);
    for (const count of Object.values(countOf(servers))) {
      expect(count).toBeGreaterThan(25);
      expect(count).toBeLessThan(80);
    }
    // Another node: its table has another history.
    await topology.node.exec(['nft', 'flush', 'ruleset']);
    kernel = new FrontendsInKernel(netlink);
    for (const numbers of [[3], [4, 3, 2], [4, 3, 2, 1]]) {
      await put('a', { scheduler, address: host, backends: of(numbers) });
    }
    expect(await serversOf(target, 200)).toEqual(servers);
  });

  test('heavier endpoints get more clients', async () => {
    await put('a', { scheduler, address: host, backends: weighted(of([1, 2]), [1, 4]) });
    const counts = countOf(await serversOf(target, 300));
    // A fifth, give or take five standard deviations.
    expect(counts['pod-1']).toBeGreaterThan(25);
    expect(counts['pod-1']).toBeLessThan(95);
  });
});

test('mh: clients of the endpoints that stay hardly move', async () => {
  await put('a', { scheduler: 'mh', address: VIP, backends: pods(PODS) });
  const before = await serversOf(WEB, 300);
  await put('a', { scheduler: 'mh', address: VIP, backends: pods([1, 2, 4]) });
  const after = await serversOf(WEB, 300);
  expect(after).not.toContain('pod-3');
  const others = before.filter((server, i) => server !== 'pod-3' && server !== after[i]).length;
  expect(others).toBeLessThan(30);
  await put('a', { scheduler: 'mh', address: VIP, backends: pods(PODS) });
  expect(await serversOf(WEB, 300)).toEqual(before);
});

test('random: weights are shares of connections', async () => {
  await put('a', { address: VIP, backends: weighted(pods([1, 2, 3]), [50, 100, 100]) });
  await put('b', { address: VIP6, affinityTimeoutSeconds: 60, backends: weighted(pods6([1, 2]), [1, 4]) });
  const { servers, failures } = await client.burst({ ...WEB, count: 500 });
  expect(failures).toEqual([]);
  // A fifth and two fifths, give or take five standard deviations.
  expect(servers['pod-1']).toBeGreaterThan(55);
  expect(servers['pod-1']).toBeLessThan(145);
  expect(servers['pod-2']).toBeGreaterThan(145);
  expect(servers['pod-3']).toBeGreaterThan(145);
  const sticky = countOf(await serversOf({ ...WEB, host: VIP6 }, 200));
  expect(sticky['pod-1']).toBeGreaterThan(12);
  expect(sticky['pod-1']).toBeLessThan(70);
});
