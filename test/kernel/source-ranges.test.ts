// Source ranges with real packets: who is let in, in both families, with backends and without, under a Local policy too;
// and what nft and a restart make of the set.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Frontend } from '../../src/vip/frontend.ts';
import { FrontendProxy, type FrontendSpec, frontend, SURROUNDINGS } from '../support/frontend-proxy.ts';
import { CLUSTER_CIDRS } from '../support/in-process-proxy.ts';
import { CLIENT, GATEWAY, NODE, NodeTopology } from '../support/netns/topology.ts';
import type { Agent, Target } from '../support/netns/traffic.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';
import { podIp, podIp6 } from '../support/test-node.ts';

const VIP = { 4: '203.0.113.7', 6: 'fd00:10:96::e' } as const;
const OTHER_VIP = { 4: '203.0.113.8', 6: 'fd00:10:96::f' } as const;
const ADDRESSES = {
  4: {
    client: CLIENT.ip,
    node: NODE.ip,
    gateway: GATEWAY.ip,
    pod: podIp,
    pods: '10.1.0.0/24',
    all: '192.168.50.0/24',
  },
  6: {
    client: CLIENT.ip6,
    node: NODE.ip6,
    gateway: GATEWAY.ip6,
    pod: podIp6,
    pods: 'fd00:10:1::/64',
    all: 'fd00:50::/64',
  },
} as const;
const surroundings = {
  ...SURROUNDINGS,
  localPods: new Map(CLUSTER_CIDRS.map((cidr) => [cidr.family, { kind: 'source' as const, cidr }])),
};

let topology: NodeTopology;
let netlink: RemoteNetlink;
let proxy: FrontendProxy;
let client: Agent;
let visitor: Agent;
let host: Agent;

beforeAll(async () => {
  topology = await NodeTopology.create(
    [1, 2, 3].map((n) => ({ name: `pod-${n}`, ip: podIp(n), ip6: podIp6(n) })),
  );
  for (const n of [1, 2]) {
    const agent = topology.pod(`pod-${n}`).agent();
    await agent.serve({ protocol: 'tcp', port: 8080, name: `pod-${n}` });
    await agent.serve({ protocol: 'udp', port: 8080, name: `pod-${n}` });
  }
  client = topology.client.agent();
  visitor = topology.pod('pod-3').agent();
  host = topology.node.agent();
  netlink = await RemoteNetlink.open(topology.node);
});

afterAll(async () => {
  netlink?.close();
  await topology?.delete();
});

beforeEach(async () => {
  await topology.node.exec(['nft', 'flush', 'ruleset']);
  proxy = new FrontendProxy(netlink);
});

async function set(...frontends: readonly Frontend[]): Promise<void> {
  const { failures } = await proxy.set(frontends, surroundings);
  expect(failures).toEqual([]);
  expect((await proxy.differences()).now).toEqual([]);
}

const tcp = (address: string): Target => ({ protocol: 'tcp', host: address, port: 80 });

type Outcomes = Partial<Record<'client' | 'pod' | 'node', string>>;

/** What each of these gets: a server by name and by whom it sees, or how it fails. No answer within 400 ms is none. */
async function expectOutcomes(target: Target, expected: Outcomes): Promise<void> {
  const agents = { client, pod: visitor, node: host };
  const entries = Object.entries(expected).map(async ([who, text]) => {
    const timeoutMs = text === 'timeout' ? 400 : 5000;
    const { outcome, server, peer } = await agents[who as keyof Outcomes].probe({ ...target, timeoutMs });
    return [who, outcome === 'reply' ? `${server} sees ${peer}` : outcome];
  });
  expect(Object.fromEntries(await Promise.all(entries))).toEqual(expected);
}

describe.each([4, 6] as const)('IPv%s', (family) => {
  const { client: clientIp, node: nodeIp, gateway, pod, pods, all } = ADDRESSES[family];
  const vip = VIP[family];
  const bits = family === 4 ? 32 : 128;
  const one = (spec: FrontendSpec): Frontend => frontend(vip, { backends: [pod(1)], ...spec });
  const served = `pod-1 sees ${gateway}`;

  test.each([
    ['a client', [`${clientIp}/${bits}`], { client: served, pod: 'timeout', node: 'timeout' }],
    ['its network, of which the node is', [all], { client: served, pod: 'timeout', node: served }],
    ['the node', [`${nodeIp}/${bits}`], { client: 'timeout', pod: 'timeout', node: served }],
    ['pods', [pods], { client: 'timeout', pod: served, node: 'timeout' }],
    ['several', [pods, `${clientIp}/${bits}`], { client: served, pod: served, node: 'timeout' }],
    ['everybody', [family === 4 ? '0.0.0.0/0' : '::/0'], { client: served, pod: served, node: served }],
    ['nobody', [], { client: 'timeout', pod: 'timeout', node: 'timeout' }],
  ])('lets in %s', async (_, sourceRanges, expected) => {
    await set(one({ sourceRanges }));
    await expectOutcomes(tcp(vip), expected);
  });

  test('without backends those let in are refused, others get no answer', async () => {
    await set(one({ backends: [], sourceRanges: [`${clientIp}/${bits}`] }));
    await expectOutcomes(tcp(vip), { client: 'refused', pod: 'timeout', node: 'timeout' });
    await set(one({ backends: [], whenEmpty: 'drop', sourceRanges: [`${clientIp}/${bits}`] }));
    await expectOutcomes(tcp(vip), { client: 'timeout', pod: 'timeout', node: 'timeout' });
  });

  test('under a Local policy ranges come before the way inside', async () => {
    const local: FrontendSpec = { masquerade: 'never', insideBackends: [pod(2)] };
    await set(one({ ...local, sourceRanges: [`${clientIp}/${bits}`] }));
    await expectOutcomes(tcp(vip), {
      client: `pod-1 sees ${clientIp}`,
      pod: 'timeout',
      node: 'timeout',
    });
    await set(one({ ...local, sourceRanges: [pods, all] }));
    await expectOutcomes(tcp(vip), {
      client: `pod-1 sees ${clientIp}`,
      pod: `pod-2 sees ${pod(3)}`,
      node: `pod-2 sees ${gateway}`,
    });
    await set(one({ ...local, backends: [], whenEmpty: 'drop', sourceRanges: [pods] }));
    await expectOutcomes(tcp(vip), {
      client: 'timeout',
      pod: `pod-2 sees ${pod(3)}`,
      node: 'timeout',
    });
  });

  test('concern one address, protocol and port', async () => {
    await set(
      one({ sourceRanges: [] }),
      one({ protocol: 'UDP', sourceRanges: [`${clientIp}/${bits}`] }),
      one({ port: 81, sourceRanges: [pods] }),
      one({ port: 82 }),
      { ...one({}), address: OTHER_VIP[family] as Frontend['address'] },
    );
    await expectOutcomes(tcp(vip), { client: 'timeout', pod: 'timeout' });
    await expectOutcomes({ ...tcp(vip), protocol: 'udp' }, { client: served, pod: 'timeout' });
    await expectOutcomes({ ...tcp(vip), port: 81 }, { client: 'timeout', pod: served });
    await expectOutcomes({ ...tcp(vip), port: 82 }, { client: served, pod: served });
    await expectOutcomes(tcp(OTHER_VIP[family]), { client: served, pod: served });
  });
});

test('who is let in before and after a change never notices it, and who is kept out never gets in', async () => {
  const at = (...sourceRanges: string[]): Frontend =>
    frontend(VIP[4], { backends: [podIp(1)], sourceRanges });
  await set(at('192.168.0.0/16'));
  const [inside, outside] = await Promise.all(
    [client, visitor].map((from) =>
      from.startLoad({ ...tcp(VIP[4]), pauseMs: 1, timeoutMs: from === client ? 5000 : 300 }),
    ),
  );
  for (let round = 0; round < 12; round++) {
    // Shrunk, split, moved to a range beside it, grown around both; all overlap.
    await set(at('192.168.50.0/24'));
    await set(at('192.168.50.0/31', '192.168.50.2/31', '172.16.0.0/12'));
    await set(at('192.168.50.0/30', '10.0.0.0/32'));
    await set(at('192.0.0.0/8'));
    await set(frontend(VIP[4], { backends: [podIp(1), podIp(2)], sourceRanges: ['128.0.0.0/1'] }));
    await set(at('192.168.0.0/16'));
  }
  const [insideTally, outsideTally] = await Promise.all([inside!.stop(), outside!.stop()]);
  expect(insideTally.failures).toEqual([]);
  expect(insideTally.total).toBeGreaterThan(100);
  expect(Object.keys(outsideTally.outcomes)).toEqual(['timeout']);
});

test('one that opens and closes is never open to all on its way from ranges to ranges', async () => {
  const at = (sourceRanges?: string[]): Frontend => frontend(VIP[4], { backends: [podIp(1)], sourceRanges });
  await set(at());
  expect((await visitor.probe(tcp(VIP[4]))).outcome).toBe('reply');
  await set(at(['192.168.50.0/24']));
  const load = await visitor.startLoad({ ...tcp(VIP[4]), pauseMs: 0, timeoutMs: 200, concurrency: 8 });
  for (let round = 0; round < 30; round++) {
    // The address goes, and comes back for another Service.
    const service = `default/other-${round}`;
    await set({ ...at(['192.168.50.0/25']), service: service as Frontend['service'] });
    await set();
    await set(at(['192.168.0.0/16']));
  }
  const { outcomes: all } = await load.stop();
  expect(all.reply).toBe(undefined);
  await set(at());
  expect((await visitor.probe(tcp(VIP[4]))).outcome).toBe('reply');
});

describe('the set', () => {
  const FRONTENDS = [
    frontend(VIP[4], {
      backends: [podIp(1)],
      sourceRanges: ['10.0.0.0/9', '10.128.0.0/9', '192.168.50.0/24'],
    }),
    frontend(VIP[4], { port: 81, sourceRanges: ['0.0.0.0/0'] }),
    frontend(OTHER_VIP[4], {
      backends: [podIp(1)],
      insideBackends: [podIp(2)],
      sourceRanges: ['10.0.0.1/32'],
    }),
    frontend(VIP[6], {
      protocol: 'UDP',
      backends: [podIp6(1)],
      sourceRanges: ['fd00:50::/64', '2001:db8::/33'],
    }),
    frontend(OTHER_VIP[6], { sourceRanges: ['::/0'] }),
  ];
  const nft = (...args: string[]): Promise<string> => topology.node.exec(['nft', ...args]);
  const edit = (input: string): Promise<string> => topology.node.exec(['nft', '-f', '-'], { input });

  beforeEach(() => set(...FRONTENDS));

  /** A daemon that starts anew; returns how many writes it made. */
  async function restart(): Promise<number> {
    proxy = new FrontendProxy(netlink);
    const { failures, writes } = await proxy.set(FRONTENDS, surroundings);
    expect(failures).toEqual([]);
    await proxy.flush();
    return writes;
  }

  test('is listed by nft, which re-loads it; then, as after any restart, there is nothing to write', async () => {
    const listing = await nft('list', 'ruleset');
    expect(listing).toContain('203.0.113.7 . tcp . 80 . 10.128.0.0/9');
    expect(listing).toContain(
      'ip daddr . meta l4proto . th dport . ip saddr != @source-ranges goto drop-silently',
    );
    expect(await restart()).toBe(0);
    await nft('flush', 'ruleset');
    await edit(listing);
    expect(await restart()).toBe(0);
    expect((await nft('list', 'ruleset')).split('\n').sort()).toEqual(listing.split('\n').sort());
    await expectOutcomes(tcp(VIP[4]), { client: `pod-1 sees ${GATEWAY.ip}` });
  });

  test.each([
    ['a range gone', 'delete element ip kproxy-ts source-ranges { 203.0.113.7 . tcp . 80 . 10.0.0.0/9 }'],
    ['all gone', 'flush set ip6 kproxy-ts source-ranges'],
    ['a range more', 'add element ip kproxy-ts source-ranges { 203.0.113.7 . tcp . 80 . 172.16.0.0/12 }'],
    [
      'one around two',
      'add element ip kproxy-ts source-ranges { 203.0.113.7 . tcp . 80 . 9.0.0.0-11.0.0.0 }',
    ],
    [
      'one around another, and one around both',
      `add element ip kproxy-ts source-ranges { 203.0.113.7 . tcp . 80 . 192.168.0.0/16 }
       add element ip kproxy-ts source-ranges { 203.0.113.7 . tcp . 80 . 192.0.0.0-193.0.0.0 }`,
    ],
    [
      'narrower ones in place of one',
      `delete element ip kproxy-ts source-ranges { 203.0.113.7 . tcp . 80 . 10.0.0.0/9 }
       add element ip kproxy-ts source-ranges { 203.0.113.7 . tcp . 80 . 10.0.0.0/10 }
       add element ip kproxy-ts source-ranges { 203.0.113.7 . tcp . 80 . 10.64.0.0/10 }`,
    ],
    [
      'a wider one in place of one',
      `delete element ip kproxy-ts source-ranges { 203.0.113.8 . tcp . 80 . 10.0.0.1 }
       add element ip kproxy-ts source-ranges { 203.0.113.8 . tcp . 80 . 10.0.0.0/8 }`,
    ],
    ['all ports', 'add element ip kproxy-ts source-ranges { 203.0.113.7 . tcp . 0-65535 . 10.0.0.0/8 }'],
    [
      'all addresses and protocols',
      'add element ip kproxy-ts source-ranges { 203.0.113.0/24 . 0-255 . 0-65535 . 0.0.0.0/0 }',
    ],
    ['everything', 'add element ip kproxy-ts source-ranges { * }'],
    [
      'an address that nobody has',
      'add element ip kproxy-ts source-ranges { 192.0.2.1 . tcp . 80 . 10.0.0.0/8 }',
    ],
    [
      'the rule gone from a chain',
      `flush chain ip kproxy-ts restricted-pick-1-masquerade
       add rule ip kproxy-ts restricted-pick-1-masquerade accept`,
    ],
    [
      'an open shape in its place',
      `delete element ip kproxy-ts services { 203.0.113.7 . tcp . 81 }
       add element ip kproxy-ts services { 203.0.113.7 . tcp . 81 comment "default/web" : none }`,
    ],
    [
      'another kind of set',
      `flush chain ip kproxy-ts restricted-pick-1-masquerade
       flush chain ip kproxy-ts restricted-refuse
       flush chain ip kproxy-ts restricted-local-pick-1-masquerade
       delete set ip kproxy-ts source-ranges
       add set ip kproxy-ts source-ranges { type ipv4_addr . inet_proto . inet_service . ipv4_addr; }`,
    ],
  ])('is repaired, found at start or by a check: %s', async (_, input) => {
    const listing = await nft('-s', 'list', 'table', 'ip', 'kproxy-ts');
    for (const repair of [restart, async () => (await proxy.retry()).writes]) {
      await edit(input);
      expect(await proxy.backend.hasDrifted()).toBe(true);
      proxy.backend.distrust();
      expect((await proxy.differences()).now).not.toEqual([]);
      expect(await repair()).toBeGreaterThan(0);
      await proxy.flush();
      expect(await proxy.differences()).toEqual({ now: [], later: [] });
      expect((await nft('-s', 'list', 'table', 'ip', 'kproxy-ts')).length).toBe(listing.length);
      expect(await restart()).toBe(0);
    }
  });

  test('is repaired by a change that the kernel refuses because of what somebody added', async () => {
    await edit('add element ip kproxy-ts source-ranges { 203.0.113.7 . tcp . 80 . 172.16.0.0/12 }');
    const [first, ...rest] = FRONTENDS;
    const changed = {
      ...first!,
      sourceRanges: frontend(VIP[4], { sourceRanges: ['172.16.1.0/24'] }).sourceRanges,
    };
    expect(await proxy.set([changed, ...rest])).toMatchObject({ failures: [], isFull: true });
    expect(await proxy.differences()).toEqual({ now: [], later: [] });
    expect(proxy.backend.problems()).toEqual([]);
  });

  test('costs others nothing: no chain of theirs reads it', async () => {
    await set(frontend(VIP[4], { backends: [podIp(1)] }), frontend(OTHER_VIP[4]));
    await proxy.flush();
    await proxy.backend.releaseUnused();
    await proxy.backend.releaseUnused();
    expect(await nft('list', 'ruleset')).not.toContain('@source-ranges');
    expect(await nft('list', 'set', 'ip', 'kproxy-ts', 'source-ranges')).not.toContain('elements');
  });
});
