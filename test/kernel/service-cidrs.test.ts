// The networks of cluster IPs, with real packets: an address that nobody has gets no answer; what anybody has, this node, or
// another proxy beside this one, is left alone.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { parseCidr } from '../../src/model/ip.ts';
import type { Surroundings } from '../../src/vip/surroundings.ts';
import { FrontendProxy, frontend, SURROUNDINGS } from '../support/frontend-proxy.ts';
import { CLIENT, GATEWAY, NODE, NodeTopology } from '../support/netns/topology.ts';
import type { Agent } from '../support/netns/traffic.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';
import { podIp, podIp6 } from '../support/test-node.ts';

const CIDRS = ['10.96.0.0/16', 'fd00:10:96::/112'];
/** Somebody outside has these, in both networks. */
const NOBODYS = ['10.96.0.200', 'fd00:10:96::c8'] as const;
const FRONTENDS = [
  frontend('10.96.0.1', { kind: 'ClusterIP', backends: [podIp(1)] }),
  frontend('fd00:10:96::1', { kind: 'ClusterIP', backends: [podIp6(1)] }),
  frontend('10.96.0.7', { kind: 'ExternalIP', backends: [podIp(1)] }),
  frontend('fd00:10:96::7', { kind: 'LoadBalancer', backends: [podIp6(1)] }),
  { ...frontend('10.96.0.1', { kind: 'NodePort', backends: [podIp(1)], port: 30080 }), address: undefined },
];

let topology: NodeTopology;
let netlink: RemoteNetlink;
let proxy: FrontendProxy;
let client: Agent;
let visitor: Agent;
let host: Agent;

beforeAll(async () => {
  topology = await NodeTopology.create(
    [1, 2].map((n) => ({ name: `pod-${n}`, ip: podIp(n), ip6: podIp6(n) })),
  );
  client = topology.client.agent();
  visitor = topology.pod('pod-2').agent();
  host = topology.node.agent();
  await topology.pod('pod-1').agent().serve({ protocol: 'tcp', port: 8080, name: 'pod-1' });
  await topology.client.ip(
    ...NOBODYS.map((ip) => `address add ${ip}/${ip.includes(':') ? '128 dev lo nodad' : '32 dev lo'}`),
  );
  await client.serve({ protocol: 'tcp', port: 80, name: 'outside' });
  netlink = await RemoteNetlink.open(topology.node);
});

afterAll(async () => {
  netlink?.close();
  await topology?.delete();
});

beforeEach(async () => {
  await nft('flush ruleset');
  proxy = new FrontendProxy(netlink);
  await set([]);
});

const nft = (input: string): Promise<string> => topology.node.exec(['nft', '-f', '-'], { input });

const within = (cidrs: readonly string[]): Surroundings => ({
  ...SURROUNDINGS,
  serviceCidrs: cidrs.map((text) => parseCidr(text)!),
});

async function set(cidrs: readonly string[]): Promise<number> {
  const { failures, writes } = await proxy.set(FRONTENDS, within(cidrs));
  expect(failures).toEqual([]);
  expect((await proxy.differences()).now).toEqual([]);
  return writes;
}

/** Who answers, or how nobody does: no answer within 400 ms is none. */
async function expectAnswer(from: Agent, address: string, expected: string, port = 80): Promise<void> {
  const timeoutMs = expected === 'timeout' ? 400 : 5000;
  const { outcome, server } = await from.probe({ protocol: 'tcp', host: address, port, timeoutMs });
  expect(server ?? outcome, `${address}:${port}`).toBe(expected);
}

test('an address that nobody has gets no answer, from pods and from the node', async () => {
  for (const address of NOBODYS) {
    for (const from of [visitor, host]) await expectAnswer(from, address, 'outside');
  }
  await set(CIDRS);
  for (const address of NOBODYS) {
    for (const from of [visitor, host]) await expectAnswer(from, address, 'timeout');
  }
  // The client is not the one who has it: its packets come to the node.
  await expectAnswer(client, '10.96.0.201', 'timeout');
  await expectAnswer(client, 'fd00:10:96::c9', 'timeout');
});

test('cluster IPs, and other addresses of Services that lie among them, are served', async () => {
  await set(CIDRS);
  for (const from of [client, visitor, host]) {
    for (const address of ['10.96.0.1', 'fd00:10:96::1', '10.96.0.7', 'fd00:10:96::7'])
      await expectAnswer(from, address, 'pod-1');
    // An unused port: of a cluster IP it is refused, of any other it is nobody's.
    for (const address of ['10.96.0.1', 'fd00:10:96::1']) await expectAnswer(from, address, 'refused', 81);
    for (const address of ['10.96.0.7', 'fd00:10:96::7']) await expectAnswer(from, address, 'timeout', 81);
  }
});

test('an address of this node among them is its own: node ports, and what else listens there', async () => {
  const stops = await Promise.all(
    [NODE.ip, GATEWAY.ip, NODE.ip6].map((address) =>
      host.serve({ protocol: 'tcp', port: 22, name: 'node', address }),
    ),
  );
  await set(['192.168.50.0/24', '10.1.0.0/30', 'fd00:50::/64']);
  for (const from of [client, visitor, host]) {
    await expectAnswer(from, NODE.ip, 'pod-1', 30080);
    for (const address of [NODE.ip, NODE.ip6]) {
      await expectAnswer(from, address, 'node', 22);
      await expectAnswer(from, address, 'refused', 23);
    }
  }
  await expectAnswer(visitor, GATEWAY.ip, 'node', 22);
  await expectAnswer(visitor, CLIENT.ip, 'timeout');
  await Promise.all(stops.map((stop) => stop()));
});

test.each(['before', 'after'])(
  'a Service of another proxy is left to it, be its rules there %s ours',
  async (when) => {
    const rule = `ip daddr 10.96.0.50 tcp dport 80 dnat to ${podIp(1)}:8080`;
    const other = `table ip other {
    chain in { type nat hook prerouting priority -100; ${rule}; }
    chain out { type nat hook output priority -100; ${rule}; }
  }`;
    if (when === 'before') {
      await nft(`flush ruleset\n${other}`);
      proxy = new FrontendProxy(netlink);
    }
    await set(CIDRS);
    if (when === 'after') await nft(other);
    for (const from of [client, visitor, host]) {
      await expectAnswer(from, '10.96.0.50', 'pod-1');
      await expectAnswer(from, '10.96.0.51', 'timeout');
    }
  },
);

test('networks that come and go are written alone, and nobody else notices', async () => {
  const load = await visitor.startLoad({ protocol: 'tcp', host: '10.96.0.1', port: 80, pauseMs: 1 });
  for (const cidrs of [CIDRS, ['10.96.0.0/12', CIDRS[1]!], ['10.96.0.0/17', '10.97.0.0/16'], CIDRS, []]) {
    const { failures, isFull, writes, transactions } = await proxy.set(FRONTENDS, within(cidrs));
    expect(failures).toEqual([]);
    expect({ isFull, transactions }).toEqual({ isFull: false, transactions: 1 });
    expect(writes).toBeLessThanOrEqual(10);
    expect((await proxy.differences()).now).toEqual([]);
    await expectAnswer(visitor, NOBODYS[0], cidrs.length === 0 ? 'outside' : 'timeout');
  }
  const { failures, total } = await load.stop();
  expect(failures).toEqual([]);
  expect(total).toBeGreaterThan(50);
});

test('nft re-loads them, and a restart writes nothing', async () => {
  await set([...CIDRS, '0.0.0.0/5', '10.101.110.100/32', '255.255.255.255/32']);
  const listing = await topology.node.exec(['nft', 'list', 'ruleset']);
  expect(listing).toContain('ip daddr @service-cidrs fib daddr type != local goto drop-silently');
  await nft(`flush ruleset\n${listing}`);
  proxy = new FrontendProxy(netlink);
  expect(await set([...CIDRS, '0.0.0.0/5', '10.101.110.100/32', '255.255.255.255/32'])).toBe(0);
});
