// Pods of this node told by the interface they come through, with real packets; and a node that learns its pod CIDR, or
// gets another, while connections are made.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseCidr } from '../../src/model/ip.ts';
import type { LocalPods, LocalPodsByFamily } from '../../src/vip/local-pods.ts';
import { DisturbedNetlink, isBatch } from '../support/disturbed-netlink.ts';
import { FrontendProxy, frontend, SURROUNDINGS } from '../support/frontend-proxy.ts';
import { deadEnds } from '../support/in-process-proxy.ts';
import { CLIENT, GATEWAY, NodeTopology } from '../support/netns/topology.ts';
import type { Agent } from '../support/netns/traffic.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';
import { podIp, podIp6 } from '../support/test-node.ts';

const CLUSTER = { 4: '10.96.0.1', 6: 'fd00:10:96::1' } as const;
const EXTERNAL = { 4: '203.0.113.7', 6: 'fd00:10:96::e' } as const;
const FRONTENDS = ([4, 6] as const).flatMap((family) => {
  const [one, other] = family === 4 ? [podIp(1), podIp(2)] : [podIp6(1), podIp6(2)];
  return [
    frontend(CLUSTER[family], { kind: 'ClusterIP', backends: [one], masquerade: 'off-cluster' }),
    // A Local policy: others get the first pod, this node and its pods the second.
    frontend(EXTERNAL[family], { backends: [one], insideBackends: [other], masquerade: 'never' }),
  ];
});

let topology: NodeTopology;
let netlink: RemoteNetlink;
let disturbed: DisturbedNetlink;
let proxy: FrontendProxy;
let agents: Record<'client' | 'pod' | 'node', Agent>;

beforeAll(async () => {
  // Their links to the node are named pod0, pod1, pod2.
  topology = await NodeTopology.create(
    [1, 2, 3].map((n) => ({ name: `pod-${n}`, ip: podIp(n), ip6: podIp6(n) })),
  );
  for (const n of [1, 2])
    await topology
      .pod(`pod-${n}`)
      .agent()
      .serve({ protocol: 'tcp', port: 8080, name: `pod-${n}` });
  agents = {
    client: topology.client.agent(),
    pod: topology.pod('pod-3').agent(),
    node: topology.node.agent(),
  };
  netlink = await RemoteNetlink.open(topology.node);
});

afterAll(async () => {
  netlink?.close();
  await topology?.delete();
});

beforeEach(async () => {
  await topology.node.exec(['nft', 'flush', 'ruleset']);
  disturbed = new DisturbedNetlink(netlink);
  proxy = new FrontendProxy(disturbed);
});

const both = (pods: LocalPods | undefined): LocalPodsByFamily =>
  new Map(pods === undefined ? [] : ([4, 6] as const).map((family) => [family, pods] as const));
const within = (...cidrs: string[]): LocalPodsByFamily =>
  new Map(
    cidrs.map((text) => {
      const cidr = parseCidr(text)!;
      return [cidr.family, { kind: 'source' as const, cidr }] as const;
    }),
  );
const through = (name: string, isPrefix: boolean): LocalPodsByFamily =>
  both({ kind: 'interface', name, isPrefix });

async function set(localPods: LocalPodsByFamily): Promise<void> {
  const { failures } = await proxy.set(FRONTENDS, { ...SURROUNDINGS, localPods });
  expect(failures).toEqual([]);
  expect((await proxy.differences()).now).toEqual([]);
}

/** Who answers each of the three, and whom it sees. */
async function answers(address: string): Promise<Record<string, string>> {
  const entries = Object.entries(agents).map(async ([who, from]) => {
    const { outcome, server, peer } = await from.probe({
      protocol: 'tcp',
      host: address,
      port: 80,
      timeoutMs: 5000,
    });
    return [who, server === undefined ? outcome : `${server} sees ${peer}`];
  });
  return Object.fromEntries(await Promise.all(entries)) as Record<string, string>;
}

describe.each([
  ['BridgeInterface', 'pod2', false, 'iifname "pod2"', 'iifname != "pod2"'],
  ['InterfaceNamePrefix', 'pod', true, 'iifname "pod*"', 'iifname != "pod*"'],
])('%s', (_, name, isPrefix, ...rules) => {
  test.each([4, 6] as const)(
    'IPv%s: pods keep their address and go inside, others do not',
    async (family) => {
      const [gateway, client, pod] =
        family === 4 ? [GATEWAY.ip, CLIENT.ip, podIp(3)] : [GATEWAY.ip6, CLIENT.ip6, podIp6(3)];
      await set(through(name, isPrefix));
      expect(await answers(CLUSTER[family])).toEqual({
        client: `pod-1 sees ${gateway}`,
        pod: `pod-1 sees ${pod}`,
        // What the node sends itself came through no interface.
        node: `pod-1 sees ${gateway}`,
      });
      expect(await answers(EXTERNAL[family])).toEqual({
        client: `pod-1 sees ${client}`,
        pod: `pod-2 sees ${pod}`,
        node: `pod-2 sees ${gateway}`,
      });
    },
  );

  test('nft prints it so, and re-loads it; then there is nothing to write', async () => {
    await set(through(name, isPrefix));
    const listing = await topology.node.exec(['nft', 'list', 'ruleset']);
    for (const rule of rules) expect(listing).toContain(rule);
    await topology.node.exec(['nft', '-f', '-'], { input: `flush ruleset\n${listing}` });
    proxy = new FrontendProxy(netlink);
    expect(await proxy.set(FRONTENDS, { ...SURROUNDINGS, localPods: through(name, isPrefix) })).toMatchObject(
      {
        failures: [],
        writes: 0,
      },
    );
  });
});

test('a name is not a prefix: pods behind other links are not taken for those behind one', async () => {
  for (const [name, isPrefix] of [
    ['pod', false],
    ['pod1', true],
    ['pod22', true],
  ] as const) {
    await set(through(name, isPrefix));
    expect((await answers(CLUSTER[4]))['pod']).toBe(`pod-1 sees ${GATEWAY.ip}`);
    expect((await answers(EXTERNAL[4]))['pod']).toBe(`pod-1 sees ${podIp(3)}`);
  }
});

test('nothing known: nobody is masqueraded to a cluster IP, and only the node goes inside', async () => {
  await set(both(undefined));
  const { client, pod } = await answers(EXTERNAL[4]);
  expect({ client, pod }).toEqual({ client: `pod-1 sees ${CLIENT.ip}`, pod: `pod-1 sees ${podIp(3)}` });
  expect((await answers(CLUSTER[4]))['client']).toBe(`pod-1 sees ${CLIENT.ip}`);
});

test.each([
  ['of any size', undefined],
  // No two chains fit.
  ['that are small', 4096],
])(
  'another way to tell pods rewrites the chains in transactions %s: no packet finds one empty',
  async (_, bytes) => {
    disturbed = new DisturbedNetlink(netlink, bytes);
    proxy = new FrontendProxy(disturbed);
    await set(within('10.1.0.0/24', 'fd00:10:1::/64'));
    const broken: string[] = [];
    let batches = 0;
    disturbed.disturb = async (request, pass) => {
      const replies = await pass(request);
      if (isBatch(request)) {
        batches++;
        broken.push(...(await deadEnds(netlink)));
      }
      return replies;
    };
    const targets = [CLUSTER[4], EXTERNAL[4], CLUSTER[6]];
    const loads = await Promise.all(
      targets.map((host) => agents.pod.startLoad({ protocol: 'tcp', host, port: 80, pauseMs: 1 })),
    );
    const settings = [
      within('10.1.0.0/28', 'fd00:10:1::/64'),
      through('pod', true),
      both(undefined),
      within('10.1.0.0/24'),
      through('pod2', false),
    ];
    for (let round = 0; round < 4; round++) for (const localPods of settings) await set(localPods);
    for (const load of loads) {
      const { failures, total } = await load.stop();
      expect(failures).toEqual([]);
      expect(total).toBeGreaterThan(50);
    }
    expect(broken).toEqual([]);
    expect(batches).toBeGreaterThanOrEqual(bytes === undefined ? 20 : 25);
    expect((await answers(CLUSTER[4]))['pod']).toBe(`pod-1 sees ${podIp(3)}`);
  },
);
