// The traffic agents: every outcome they report is one that really happened on the wire.

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Netns } from './netns/netns.ts';
import { CLIENT, NODE, NodeTopology } from './netns/topology.ts';
import type { Agent, Target } from './netns/traffic.ts';

let topology: NodeTopology;
let node: Netns;
let client: Agent;

beforeAll(async () => {
  topology = await NodeTopology.create([
    { name: 'web-1', ip: '10.1.0.11', ip6: 'fd00:10:1::11' },
    { name: 'web-2', ip: '10.1.0.12', ip6: 'fd00:10:1::12' },
  ]);
  node = topology.node;
  client = topology.client.agent();
  for (const name of ['web-1', 'web-2']) {
    const pod = topology.pod(name).agent();
    await pod.serve({ protocol: 'tcp', port: 80, name });
    await pod.serve({ protocol: 'udp', port: 53, name });
  }
  // A virtual IP with two backends, and one address for each way in which a request can fail.
  await node.exec(['nft', '-f', '-'], {
    input: `table ip probe {
      chain nat { type nat hook prerouting priority dstnat;
        ip daddr 10.96.0.1 dnat to numgen inc mod 2 map { 0 : 10.1.0.11, 1 : 10.1.0.12 }
      }
      chain filter { type filter hook forward priority filter;
        ip daddr 198.51.100.1 drop
        ip daddr 198.51.100.2 reject with icmp host-unreachable
        ip daddr 198.51.100.3 meta l4proto tcp reject with tcp reset
        ip daddr 198.51.100.3 reject
      }
    }`,
  });
  await topology.client.ip(`route add 198.51.100.0/24 via ${NODE.ip}`);
});

afterAll(() => topology.delete());

const web = (host: string): Target => ({ protocol: 'tcp', host, port: 80, timeoutMs: 500 });
const dns = (host: string): Target => ({ protocol: 'udp', host, port: 53, timeoutMs: 500 });

test.each([
  ['TCP', web('10.1.0.11'), CLIENT.ip],
  ['UDP', dns('10.1.0.11'), CLIENT.ip],
  ['TCP over IPv6', web('fd00:10:1::11'), CLIENT.ip6],
  ['UDP over IPv6', dns('fd00:10:1::11'), CLIENT.ip6],
])('%s: who answered, and whom the server saw', async (_, target, peer) => {
  const reply = await client.probe(target);
  expect(reply).toMatchObject({ outcome: 'reply', server: 'web-1', peer });
  expect(reply.peerPort).toBeGreaterThan(0);
  expect(reply.latencyMs).toBeGreaterThan(0);
});

test.each([
  ['dropped', '198.51.100.1', 'timeout', 'timeout'],
  ['host unreachable', '198.51.100.2', 'unreachable', 'timeout'],
  ['rejected', '198.51.100.3', 'refused', 'refused'],
  ['nobody listens', CLIENT.ip, 'refused', 'refused'],
])('%s', async (_, host, tcp, udp) => {
  expect((await client.probe(web(host))).outcome).toBe(tcp);
  expect((await client.probe(dns(host))).outcome).toBe(udp);
});

test.each([
  ['rejected', '198.51.100.3'],
  ['nobody listens', '10.1.0.11'],
  ['nobody listens, IPv6', 'fd00:10:1::11'],
])('refusals in a row are all told: %s', async (_, host) => {
  const tally = await client.burst({ ...dns(host), port: 9, count: 100 });
  expect(tally.outcomes).toEqual({ refused: 100 });
});

test('a burst counts servers, peers and outcomes', async () => {
  const tally = await client.burst({ ...web('10.96.0.1'), count: 300 });
  expect(tally).toMatchObject({
    total: 300,
    outcomes: { reply: 300 },
    servers: { 'web-1': 150, 'web-2': 150 },
    peers: { [CLIENT.ip]: 300 },
    failures: [],
  });
  expect(tally.latencyMs.p50).toBeLessThanOrEqual(tally.latencyMs.p99);
});

test('HTTP is answered too', async () => {
  const script = `const r = await fetch('http://10.1.0.12/'); console.log(r.status, await r.text())`;
  const body = await topology.client.exec([process.execPath, '--input-type=module', '-e', script]);
  expect(body).toMatch(/^200 {"server":"web-2","peer":"192.168.50.2","peerPort":\d+}\n/);
});

test('a continuous load tells when it failed', async () => {
  const pod = topology.pod('web-2').agent();
  const stopServing = await pod.serve({ protocol: 'tcp', port: 81, name: 'brief' });
  const load = await client.startLoad({ protocol: 'tcp', host: '10.1.0.12', port: 81 });
  const start = Date.now();
  await expect.poll(async () => (await load.peek()).outcomes.reply).toBeGreaterThan(20);
  expect((await load.peek()).failures).toEqual([]);
  await stopServing();
  await expect.poll(async () => (await load.peek()).outcomes.refused).toBeGreaterThan(0);
  const tally = await load.stop();
  expect(tally.total).toBe(Object.values(tally.outcomes).reduce((sum, count) => sum + count, 0));
  expect(tally.failures[0]!.atMs).toBeGreaterThan(start);
});

test.each([
  ['TCP', 'tcp', 'reset'],
  ['UDP', 'udp', 'refused'],
] as const)('a held %s connection outlives nothing but its server', async (_, protocol, outcome) => {
  const pod = topology.pod('web-1').agent();
  const stopServing = await pod.serve({ protocol, port: 82, name: 'brief' });
  const target = { protocol, host: '10.1.0.11', port: 82 } as const;
  const [released, broken] = await Promise.all([
    client.hold({ ...target, intervalMs: 10 }),
    // Silent while the server ends: a datagram that arrives just then is lost without an answer.
    client.hold({ ...target, intervalMs: 60_000 }),
  ]);
  expect(released.first.server).toBe('brief');
  const alive = await released.release();
  expect(alive).toMatchObject({ outcome: 'reply', server: 'brief', peerPort: released.first.peerPort });
  expect(alive.asked).toBeGreaterThan(1);
  await stopServing();
  expect((await broken.release()).outcome).toBe(outcome);
  await expect(client.hold(target)).rejects.toThrow('not connected: refused');
});

test('requests to an agent that ended fail instead of waiting', async () => {
  const pod = await topology.addPod({ name: 'gone', ip: '10.1.0.13' });
  const agent = pod.agent();
  const pending = agent.probe({ ...web('198.51.100.1'), timeoutMs: 60_000 });
  await Promise.all([expect(pending).rejects.toThrow('ended'), pod.delete()]);
  await expect(agent.probe(web('10.1.0.11'))).rejects.toThrow('ended');
});
