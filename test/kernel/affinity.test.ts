// Session affinity with real packets: a client keeps its endpoint, for as long as was said after its last connection.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DisturbedNetlink, failure, isBatch, isElementQuery } from '../support/disturbed-netlink.ts';
import { type FrontendSpec, FrontendsInKernel, frontend } from '../support/frontends.ts';
import { NODE, NodeTopology } from '../support/netns/topology.ts';
import type { Agent, Tally, Target } from '../support/netns/traffic.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';
import { podIp, podIp6 } from '../support/test-node.ts';

const PODS = [1, 2, 3, 4];
const VIP = '10.96.0.1';
const VIP6 = 'fd00:10:96::1';
const HOUR = 3600;

let topology: NodeTopology;
let netlink: RemoteNetlink;
let client: Agent;
let kernel: FrontendsInKernel;

beforeAll(async () => {
  topology = await NodeTopology.create(PODS.map((n) => ({ name: `pod-${n}`, ip: podIp(n), ip6: podIp6(n) })));
  for (const n of PODS) {
    const agent = topology.pod(`pod-${n}`).agent();
    await agent.serve({ protocol: 'tcp', port: 8080, name: `pod-${n}` });
    await agent.serve({ protocol: 'udp', port: 5353, name: `pod-${n}` });
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
  await nft('flush', 'ruleset');
  kernel = new FrontendsInKernel(netlink);
});

const nft = (...args: string[]): Promise<string> => topology.node.exec(['nft', ...args]);

/** The n-th address of the client. */
const address = (n: number, isIp6 = false): string => (isIp6 ? `fd00:200::${n}` : `10.200.0.${n}`);

const pods = (numbers: readonly number[], port = 8080): string[] => numbers.map((n) => `${podIp(n)}:${port}`);
const pods6 = (numbers: readonly number[], port = 8080): string[] =>
  numbers.map((n) => `[${podIp6(n)}]:${port}`);

async function put(name: string, ...specs: FrontendSpec[]): Promise<number> {
  const { failures, writes } = await kernel.set(...specs.map((spec) => frontend(name, spec)));
  expect(failures).toEqual([]);
  return writes;
}

const WEB: Target = { protocol: 'tcp', host: VIP, port: 80 };

/** The one server that `count` connections of a client reach. */
async function serverOf(target: Target, count = 1): Promise<string> {
  const tally = await client.burst({ ...target, count });
  expect(tally.failures).toEqual([]);
  const servers = Object.keys(tally.servers);
  expect(servers, `of ${target.localAddress}`).toHaveLength(1);
  return servers[0]!;
}

/** The servers of the first `count` clients, each asked `each` times. */
async function serversOf(target: Target, count: number, each = 1): Promise<string[]> {
  const servers: string[] = [];
  for (let n = 1; n <= count; n++) {
    servers.push(await serverOf({ ...target, localAddress: address(n, target.host.includes(':')) }, each));
  }
  return servers;
}

interface Entry {
  readonly client: string;
  readonly timeoutSeconds: number;
  readonly expiresSeconds: number;
}

/** What a map of clients holds. */
async function entries(set = 'affinity', family = 'ip'): Promise<Entry[]> {
  const { nftables } = JSON.parse(await nft('-j', 'list', 'map', family, 'kproxy-ts', set)) as {
    nftables: {
      map?: { elem?: [{ elem: { val: { concat: string[] }; timeout: number; expires: number } }][] };
    }[];
  };
  return nftables.flatMap(({ map }) =>
    (map?.elem ?? []).map(([{ elem }]) => ({
      client: elem.val.concat[0]!,
      timeoutSeconds: elem.timeout,
      expiresSeconds: elem.expires,
    })),
  );
}

describe.each([
  ['a cluster IP over TCP', { address: VIP, backends: pods([1, 2, 3]) }, WEB],
  [
    'a cluster IP over UDP',
    { address: VIP, protocol: 'UDP', port: 53, backends: pods([1, 2, 3], 5353) },
    { protocol: 'udp', host: VIP, port: 53 },
  ],
  [
    'a cluster IP over TCP, IPv6',
    { address: VIP6, backends: pods6([1, 2, 3]) },
    { protocol: 'tcp', host: VIP6, port: 80 },
  ],
  [
    'a cluster IP over UDP, IPv6',
    { address: VIP6, protocol: 'UDP', port: 53, backends: pods6([1, 2, 3], 5353) },
    { protocol: 'udp', host: VIP6, port: 53 },
  ],
  [
    'a node port over TCP',
    { port: 30080, masquerade: 'always', backends: pods([1, 2, 3]) },
    { protocol: 'tcp', host: NODE.ip, port: 30080 },
  ],
  [
    'a node port over UDP, IPv6',
    { protocol: 'UDP', port: 30053, masquerade: 'always', backends: pods6([1, 2, 3], 5353) },
    { protocol: 'udp', host: NODE.ip6, port: 30053 },
  ],
] as const satisfies readonly (readonly [string, FrontendSpec, Target])[])('%s', (_, spec, target) => {
  test('a client keeps its endpoint; clients are spread', async () => {
    await put('web', { ...spec, affinityTimeoutSeconds: HOUR });
    const servers = await serversOf(target, 12, 30);
    expect(new Set(servers).size).toBeGreaterThan(1);
    expect(await serversOf(target, 12)).toEqual(servers);
  });
});

test('a node and its pods are clients like others', async () => {
  await put('web', {
    address: VIP,
    masquerade: 'always',
    backends: pods([1, 2, 3]),
    affinityTimeoutSeconds: HOUR,
  });
  for (const agent of [topology.node.agent(), topology.pod('pod-1').agent(), topology.pod('pod-4').agent()]) {
    const { servers, failures } = await agent.burst({ ...WEB, count: 30 });
    expect(failures).toEqual([]);
    expect(Object.keys(servers)).toHaveLength(1);
  }
});

test('what others do not get is sticky, too: this node and its pods under a Local policy', async () => {
  await put('web', {
    address: VIP,
    backends: pods([1, 2]),
    insideBackends: pods([1, 2, 3, 4]),
    affinityTimeoutSeconds: HOUR,
  });
  const servers = await serversOf(WEB, 10, 10);
  expect([...new Set(servers)].sort()).toEqual(['pod-1', 'pod-2']);
  const inside = await topology.node.agent().burst({ ...WEB, count: 30 });
  expect(Object.keys(inside.servers)).toHaveLength(1);
  expect(await entries('inside-affinity')).toHaveLength(1);
  expect(await entries()).toHaveLength(10);
});

test('a client whose first connections come all at once has one endpoint', async () => {
  await put('web', { address: VIP, backends: pods(PODS), affinityTimeoutSeconds: HOUR });
  for (let n = 1; n <= 10; n++) {
    const tally = await client.burst({ ...WEB, localAddress: address(n), count: 20, concurrency: 20 });
    expect(Object.keys(tally.servers)).toHaveLength(1);
  }
});

test('of two first connections of a client, the endpoint of the one that was learnt first counts for both', async () => {
  await put('web', { address: VIP, backends: pods(PODS), affinityTimeoutSeconds: HOUR });
  const servers = await serversOf(WEB, 10);
  // As if both had looked before either was learnt.
  await nft('flush', 'chain', 'ip', 'kproxy-ts', `stick-${HOUR}`);
  expect(await serversOf(WEB, 10)).toEqual(servers);
});

test('each port of a Service by itself', async () => {
  const sticky = { address: VIP, affinityTimeoutSeconds: HOUR, backends: pods(PODS) };
  await put('web', sticky, { ...sticky, port: 81 });
  await serversOf(WEB, 3);
  expect(await entries()).toHaveLength(3);
  await serversOf({ ...WEB, port: 81 }, 3);
  expect(await entries()).toHaveLength(6);
});

describe('time', () => {
  test('runs from the last connection, and then a client is balanced anew', async () => {
    await put('web', { address: VIP, backends: pods(PODS), affinityTimeoutSeconds: 2 });
    const servers = await serversOf(WEB, 12);
    await serverOf({ ...WEB, localAddress: address(1) });
    const left = async (n: number): Promise<number | undefined> =>
      (await entries()).find((entry) => entry.client === address(n))?.expiresSeconds;
    // The first client comes again and again, the others do not.
    const kept = setInterval(() => void client.probe({ ...WEB, localAddress: address(1) }), 200);
    try {
      await expect.poll(() => left(2), { timeout: 5000 }).toBeUndefined();
      expect(await left(1)).toBeDefined();
      expect(await serverOf({ ...WEB, localAddress: address(1) })).toBe(servers[0]);
    } finally {
      clearInterval(kept);
    }
    await expect.poll(async () => (await entries()).length, { timeout: 5000 }).toBe(0);
    expect(await serversOf(WEB, 12)).not.toEqual(servers);
  });

  test('that was changed is in force at once, and counts from the last connection before', async () => {
    const at = (seconds: number): FrontendSpec => ({
      address: VIP,
      backends: pods(PODS),
      affinityTimeoutSeconds: seconds,
    });
    await put('web', at(3 * HOUR));
    await put('other', { ...at(3 * HOUR), address: '10.96.0.2' });
    const servers = await serversOf(WEB, 3);
    await serversOf({ ...WEB, host: '10.96.0.2' }, 1);
    // Three clients that were here 10 minutes, 40 minutes and 150 minutes ago.
    const picks = await nft('list', 'map', 'ip', 'kproxy-ts', 'picked');
    const id = /10\.96\.0\.1 \. tcp \. 80 \. (\S+)/.exec(picks)![1];
    const add = (n: number, expires: string): Promise<string> =>
      nft(
        'add element ip kproxy-ts affinity',
        `{ ${address(n)} . ${VIP} . tcp . 80 timeout 3h expires ${expires} : ${id} }`,
      );
    await add(11, '170m');
    await add(12, '140m');
    await add(13, '30m');
    // What packets and others put into the map is nobody's business.
    kernel.backend.distrust();
    expect(await kernel.update(new Map())).toMatchObject({ failures: [], isFull: true, writes: 0 });

    const left = async (): Promise<Record<string, string>> =>
      Object.fromEntries(
        (await entries()).map((entry) => [
          entry.client,
          `${Math.ceil(entry.expiresSeconds / 60)} of ${entry.timeoutSeconds / 60} min`,
        ]),
      );
    // The second frontend of that first client keeps its time.
    const others = (await entries()).filter(({ client: ip }) => ip === address(1)).length;
    expect(others).toBe(2);
    await put('web', at(HOUR));
    expect(await left()).toMatchObject({
      [address(2)]: '60 of 60 min',
      [address(3)]: '60 of 60 min',
      [address(11)]: '50 of 60 min',
      [address(12)]: '20 of 60 min',
    });
    expect(await left()).not.toHaveProperty([address(13)]);
    expect((await entries()).map(({ timeoutSeconds }) => timeoutSeconds).sort()).toEqual(
      [3 * HOUR, HOUR, HOUR, HOUR, HOUR, HOUR].sort(),
    );
    expect(await serversOf(WEB, 3)).toEqual(servers);

    await put('web', at(2 * HOUR));
    expect(await left()).toMatchObject({ [address(11)]: '110 of 120 min', [address(12)]: '80 of 120 min' });
    expect(await serversOf(WEB, 3)).toEqual(servers);
    expect(await kernel.backend.hasDrifted()).toBe(false);
  });

  test('that was changed while no daemon ran is brought in force by the next', async () => {
    const at = (seconds: number): FrontendSpec => ({
      address: VIP6,
      backends: pods6(PODS),
      affinityTimeoutSeconds: seconds,
    });
    await put('web', at(3 * HOUR));
    const target = { ...WEB, host: VIP6 };
    const servers = await serversOf(target, 3);
    const next = new FrontendsInKernel(netlink);
    expect(await next.set(frontend('web', at(HOUR)))).toMatchObject({ failures: [] });
    expect((await entries('affinity', 'ip6')).map(({ timeoutSeconds }) => timeoutSeconds)).toEqual([
      HOUR,
      HOUR,
      HOUR,
    ]);
    expect(await serversOf(target, 3)).toEqual(servers);
  });

  test('that could not be changed is a failure, and the next try does it', async () => {
    const disturbed = new DisturbedNetlink(netlink);
    kernel = new FrontendsInKernel(disturbed);
    const at = (seconds: number): FrontendSpec => ({
      address: VIP,
      backends: pods(PODS),
      affinityTimeoutSeconds: seconds,
    });
    await put('web', at(3 * HOUR));
    await serversOf(WEB, 3);
    const affinity = Buffer.from('affinity\0', 'latin1');
    disturbed.disturb = async (request, pass) => {
      const isReading =
        !isBatch(request) && !isElementQuery(request) && Buffer.from(request).includes(affinity);
      if (!isReading) return pass(request);
      disturbed.disturb = undefined;
      throw failure('ENOBUFS', 105);
    };
    const { failures } = await kernel.set(frontend('web', at(HOUR)));
    expect(failures).toHaveLength(1);
    expect((await entries()).map(({ timeoutSeconds }) => timeoutSeconds)).toEqual([
      3 * HOUR,
      3 * HOUR,
      3 * HOUR,
    ]);
    expect(await kernel.update(new Map())).toMatchObject({ failures: [] });
    expect((await entries()).map(({ timeoutSeconds }) => timeoutSeconds)).toEqual([HOUR, HOUR, HOUR]);
  });
});

describe('endpoints', () => {
  test.each([
    ['IPv4', VIP, pods],
    ['IPv6', VIP6, pods6],
  ] as const)(
    'one that is gone is left at once, for one that is kept; nobody else moves: %s',
    async (_, host, of) => {
      const target = { ...WEB, host };
      const spec = { address: host, affinityTimeoutSeconds: HOUR };
      await put('web', { ...spec, backends: of([1, 2, 3]) });
      const before = await serversOf(target, 15);
      await put('web', { ...spec, backends: of([1, 3]) });
      const after = await serversOf(target, 15, 5);
      expect(before).toContain('pod-2');
      expect(after).not.toContain('pod-2');
      expect(after.filter((_, i) => before[i] !== 'pod-2')).toEqual(before.filter((pod) => pod !== 'pod-2'));
      expect(await serversOf(target, 15)).toEqual(after);
      await put('web', { ...spec, backends: of([1, 2, 3, 4]) });
      expect(await serversOf(target, 15)).toEqual(after);
    },
  );

  test('one that is new, or weighs more, moves nobody', async () => {
    const spec = { address: VIP, affinityTimeoutSeconds: HOUR };
    await put('web', { ...spec, backends: pods([1]) });
    expect(new Set(await serversOf(WEB, 10))).toEqual(new Set(['pod-1']));
    await put('web', { ...spec, backends: pods([1, 2, 3]) });
    expect(new Set(await serversOf(WEB, 10))).toEqual(new Set(['pod-1']));
    await put('web', { ...spec, backends: pods([1, 2, 3]).map((text, i) => (i === 2 ? `${text}*7` : text)) });
    expect(new Set(await serversOf(WEB, 10))).toEqual(new Set(['pod-1']));
    // One connection in nine goes to the second: that none of 190 does would be one run in billions.
    const servers = await serversOf(WEB, 200);
    expect(new Set(servers.slice(10)).size).toBe(3);
  });

  test('one that comes back finds clients again that were not here meanwhile', async () => {
    const spec = { address: VIP, affinityTimeoutSeconds: HOUR };
    await put('web', { ...spec, backends: pods([1, 2, 3]) });
    const before = await serversOf(WEB, 10);
    await put('web', { ...spec, backends: [] });
    expect((await client.probe({ ...WEB, localAddress: address(1) })).outcome).toBe('refused');
    await put('web', { ...spec, backends: pods([1, 2, 3]) });
    expect(await serversOf(WEB, 10)).toEqual(before);
  });
});

test.each([['sh'], ['mh'], ['rr'], ['random']] as const)(
  'comes before the scheduler, and a restart keeps it and writes nothing: %s',
  async (scheduler) => {
    const spec = { address: VIP, scheduler, affinityTimeoutSeconds: HOUR };
    const node = { ...spec, address: undefined, port: 30080, masquerade: 'always' as const };
    const { address: _, ...nodePort } = node;
    await put('web', { ...spec, backends: pods([1, 2]) }, { ...nodePort, backends: pods([1, 2]) });
    const before = await serversOf(WEB, 10);
    // A history that leaves slots and backends where no fresh daemon would put them.
    for (const numbers of [
      [1, 2, 3, 4],
      [2, 3, 4, 1],
      [1, 2, 4],
    ]) {
      await put('web', { ...spec, backends: pods(numbers) }, { ...nodePort, backends: pods(numbers) });
    }
    await kernel.flush();
    expect(await serversOf(WEB, 10, 3)).toEqual(before);
    const generation = await kernel.backend.hasDrifted();
    expect(generation).toBe(false);
    const ruleset = await nft('-s', 'list', 'ruleset');
    expect(await kernel.restart()).toMatchObject({ failures: [], writes: 0, transactions: 0 });
    const without = (text: string): string => text.replace(/ expires \w+/g, '');
    expect(without(await nft('-s', 'list', 'ruleset'))).toEqual(without(ruleset));
    expect(await serversOf(WEB, 10, 3)).toEqual(before);
    expect(await kernel.compare()).toEqual({ now: [], later: [] });
  },
);

test('is switched on and off without a failed connection, with endpoints coming and going', async () => {
  const base = { address: VIP };
  await put('web', { ...base, backends: pods([1, 2, 3]) });
  const load = await client.startLoad({ ...WEB, pauseMs: 1 });
  const schedulers = ['random', 'rr', 'sh', 'mh'] as const;
  const steps: FrontendSpec[] = schedulers.flatMap((scheduler) => [
    { ...base, scheduler, backends: pods([1, 2, 3]), affinityTimeoutSeconds: HOUR },
    { ...base, scheduler, backends: pods([1, 2]), affinityTimeoutSeconds: HOUR },
    { ...base, scheduler, backends: pods([3, 4]), affinityTimeoutSeconds: HOUR },
    { ...base, scheduler, backends: pods([3]), affinityTimeoutSeconds: 1 },
    { ...base, scheduler, backends: pods([1, 2, 4]) },
    { ...base, scheduler, backends: pods([1, 2, 3, 4]).map((text, i) => `${text}*${i + 1}`) },
    { ...base, backends: pods([2]) },
  ]);
  for (const step of [...steps, ...steps]) {
    await put('web', step);
    const { total } = await load.peek();
    await expect.poll(async () => (await load.peek()).total, { interval: 5 }).toBeGreaterThan(total + 10);
    await kernel.backend.flushDeferred();
  }
  const tally: Tally = await load.stop();
  expect(tally.failures).toEqual([]);
  expect(tally.total).toBeGreaterThan(500);
});

test('no packet leaves with what a pick left in its priority', async () => {
  const spec = { affinityTimeoutSeconds: HOUR, masquerade: 'always' } as const;
  await put('web', { ...spec, address: VIP, backends: pods(PODS) });
  await put('web6', { ...spec, address: VIP6, scheduler: 'mh', backends: pods6(PODS) });
  await topology.node.exec(['nft', '-f', '-'], {
    input: `table inet watch { chain out { type filter hook postrouting priority 300; meta priority != none counter; }; }`,
  });
  for (const host of [VIP, VIP6]) {
    for (const agent of [client, topology.node.agent(), topology.pod('pod-4').agent()]) {
      expect((await agent.burst({ ...WEB, host, count: 20 })).failures).toEqual([]);
    }
  }
  expect(await nft('list', 'table', 'inet', 'watch')).toContain('counter packets 0 ');
});
