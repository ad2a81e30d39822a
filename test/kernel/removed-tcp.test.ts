// Connections that clients hold while the endpoint they have is removed: reset after the grace period where the Service
// asks for it, otherwise kept, and no others are touched.

import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { ConntrackSession } from '../../src/daemon/conntrack-session.ts';
import { unpackIp } from '../../src/model/ip.ts';
import { service, slice } from '../support/manifests.ts';
import type { Daemon, LogLine } from '../support/netns/daemon.ts';
import type { Netns } from '../support/netns/netns.ts';
import { NODE } from '../support/netns/topology.ts';
import type { HoldReport, Reply } from '../support/netns/traffic.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';
import { podIp, podIp6, TestNode, written } from '../support/test-node.ts';

const PEER = fileURLToPath(new URL('../conntrack/peer.mjs', import.meta.url));
const VIPS = {
  resetting: ['10.96.0.2', 'fd00:10:96::2'],
  keeping: ['10.96.0.3', 'fd00:10:96::3'],
  marker: ['10.96.0.4', 'fd00:10:96::4'],
} as const;
const NODE_PORTS = { resetting: 30080, keeping: 30081, marker: 30082 } as const;
const PEER_PORT = 9000;
const GRACE_MS = 1000;
const RESET_AFTER = { 'kproxy-ts.io/removed-endpoint-tcp': 'reset-after=1s' };

type Name = keyof typeof VIPS;
interface Held {
  readonly first: Reply;
  release(): Promise<HoldReport>;
}

let node: TestNode;
let daemon: Daemon;
let netlink: RemoteNetlink;
let bystanders: Held[];
/** What each file of manifests says. */
const present = new Map<Name, string>();

beforeAll(async () => {
  node = await TestNode.create(4);
  netlink = await RemoteNetlink.open(node.netns);
  put('resetting', [1]);
  put('keeping', [1]);
  daemon = await node.start();
  const visitor = node.topology.pod('pod-4').agent();
  bystanders = await Promise.all([
    visitor.hold({ protocol: 'tcp', host: podIp(1), port: 8080 }),
    visitor.hold({ protocol: 'tcp', host: VIPS.keeping[0], port: 80 }),
  ]);
});

beforeEach(async () => {
  await set('resetting', [1]);
  // What earlier tests have left would be found, and told, at any time.
  for (const vip of VIPS.resetting) await node.netns.tryExec(['conntrack', '-D', '-d', vip]);
  for (const ip of [NODE.ip, NODE.ip6]) await node.netns.tryExec(['conntrack', '-D', '-d', ip]);
});

afterAll(async () => {
  try {
    for (const one of bystanders ?? []) {
      expect(await one.release()).toMatchObject({ outcome: 'reply', server: 'pod-1' });
    }
  } finally {
    netlink?.close();
    await node?.delete();
  }
});

interface Options {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly draining?: readonly number[];
}

/** A Service with these pods behind it, in both families: their usual server, and on another port a silent one. */
function put(name: Name, pods: readonly number[], options: Options = {}): void {
  const { annotations = name === 'keeping' ? {} : RESET_AFTER, draining = [] } = options;
  present.set(name, JSON.stringify([pods, options]));
  const ports = [
    { name: 'web', port: 8080 },
    { name: 'peer', port: PEER_PORT },
  ];
  const endpoints = (ipOf: (n: number) => string) => [
    ...pods.map(ipOf),
    ...draining.map((n) => ({ ip: ipOf(n), ready: false, serving: true, terminating: true })),
  ];
  node.manifests.put(
    name,
    service(name, {
      clusterIps: VIPS[name],
      annotations,
      ports: [
        { name: 'web', port: 80, nodePort: NODE_PORTS[name] },
        { name: 'peer', port: PEER_PORT },
      ],
    }),
    slice(name, `${name}-4`, { ports, endpoints: endpoints(podIp) }),
    slice(name, `${name}-6`, { ports, endpoints: endpoints(podIp6) }),
  );
}

/** The same, in force when this settles. */
async function set(name: Name, pods: readonly number[], options: Options = {}): Promise<void> {
  if (present.get(name) !== JSON.stringify([pods, options]))
    await written(daemon, () => put(name, pods, options));
}

/** Connections to a Service from a pod and from outside, to cluster IPs and node ports of both families. */
function holdAll(name: Name, intervalMs?: number): Promise<Held[]> {
  const { topology } = node;
  const [pod, client] = [topology.pod('pod-3').agent(), topology.client.agent()];
  const to = (host: string, port: number) => ({
    protocol: 'tcp' as const,
    host,
    port,
    ...(intervalMs === undefined ? {} : { intervalMs }),
  });
  return Promise.all([
    ...VIPS[name].map((vip) => pod.hold(to(vip, 80))),
    client.hold(to(NODE.ip, NODE_PORTS[name])),
    client.hold(to(NODE.ip6, NODE_PORTS[name])),
  ]);
}

const release = (all: readonly Held[]): Promise<HoldReport[]> => Promise.all(all.map((one) => one.release()));
const outcomes = async (all: readonly Held[]): Promise<string[]> =>
  (await release(all)).map(({ outcome }) => outcome);

const timeOf = (line: LogLine): number => Date.parse(String(line['time']));

/** Makes a change, and settles when flows have been deleted; returns how long that took. */
async function deletedAfter(change: () => void): Promise<{ ms: number; deleted: number }> {
  const from = daemon.log.length;
  const startMs = Date.now();
  change();
  const line = await daemon.waitForLog('stale flows deleted', { from });
  return { ms: timeOf(line) - startMs, deleted: Number(line['deleted']) };
}

/** Who answers the connections that the node tracks at a Service's addresses. */
async function answeredBy(name: Name): Promise<string[]> {
  const session = new ConntrackSession(netlink);
  const vips: readonly string[] = VIPS[name];
  const found = await Promise.all(
    ([4, 6] as const).map((family) =>
      session.find(family, { protocol: 6 }, ({ original }) => vips.includes(unpackIp(original.destination))),
    ),
  );
  return found.flatMap(({ flows }) => flows.map(({ reply }) => unpackIp(reply.source)));
}

class Peer {
  readonly #child: ReturnType<Netns['spawn']>;
  readonly #lines: AsyncIterator<string>;

  constructor(netns: Netns, ...args: string[]) {
    this.#child = netns.spawn([process.execPath, PEER, ...args]);
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** The next thing that happened to it. */
  async next(): Promise<string> {
    return (await this.#lines.next()).value;
  }

  say(word = 'something'): void {
    this.#child.stdin.write(`${word}\n`);
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}

test('an endpoint that is replaced: its connections end after the grace period', async () => {
  const [held, kept] = await Promise.all([holdAll('resetting'), holdAll('keeping')]);
  await set('keeping', [2]);
  const { ms, deleted } = await deletedAfter(() => put('resetting', [2]));
  expect(ms).toBeGreaterThanOrEqual(GRACE_MS);
  expect(deleted).toBe(4);
  expect(await outcomes(held)).toEqual(['reset', 'reset', 'reset', 'reset']);
  for (const report of await release(kept))
    expect(report).toMatchObject({ outcome: 'reply', server: 'pod-1' });
  // Whoever connects anew is served.
  for (const report of await release(await holdAll('resetting'))) {
    expect(report).toMatchObject({ outcome: 'reply', server: 'pod-2' });
  }
  await set('keeping', [1]);
});

test('until then they go on; those of other endpoints always do', async () => {
  await set('resetting', [1, 2]);
  const held = (await Promise.all(Array.from({ length: 5 }, () => holdAll('resetting')))).flat();
  const [ofFirst, ofSecond] = ['pod-1', 'pod-2'].map((pod) =>
    held.filter(({ first }) => first.server === pod),
  );
  expect(ofFirst!.length).toBeGreaterThan(1);
  const from = daemon.log.length;
  await set('resetting', [2]);
  expect(await ofFirst!.pop()!.release()).toMatchObject({ outcome: 'reply', server: 'pod-1' });
  await daemon.waitForLog('stale flows deleted', { from });
  for (const one of ofFirst!) expect((await one.release()).outcome).toBe('reset');
  for (const one of ofSecond!)
    expect(await one.release()).toMatchObject({ outcome: 'reply', server: 'pod-2' });
});

test('the last endpoint: the refusal of the Service ends them', async () => {
  const held = await holdAll('resetting');
  await deletedAfter(() => put('resetting', []));
  expect(await outcomes(held)).toEqual(['reset', 'reset', 'reset', 'reset']);
});

test('silent connections end as soon as the client speaks', async () => {
  const held = await holdAll('resetting', 60_000);
  await deletedAfter(() => put('resetting', [2]));
  for (const report of await release(held)) expect(report).toMatchObject({ outcome: 'reset', asked: 2 });
});

test.each([
  ['cluster IP', () => node.topology.pod('pod-3'), VIPS.resetting[0]],
  ['cluster IP, IPv6', () => node.topology.pod('pod-3'), VIPS.resetting[1]],
  ['cluster IP, from the node', () => node.netns, VIPS.resetting[0]],
  ['cluster IP, of the pod itself', () => node.topology.pod('pod-1'), VIPS.resetting[0]],
])(
  '%s: the server that speaks first is reset, and does not get through to the client again',
  async (_, from, vip) => {
    const server = new Peer(node.topology.pod('pod-1'), 'listen', String(PEER_PORT));
    expect(await server.next()).toBe('listening');
    const client = new Peer(from(), 'dial', vip, String(PEER_PORT));
    expect(await Promise.all([server.next(), client.next()])).toEqual(['open', 'open']);
    server.say();
    expect(await client.next()).toBe('heard');

    await deletedAfter(() => put('resetting', [2]));
    server.say();
    expect(await server.next()).toBe('ECONNRESET');
    expect(await answeredBy('resetting')).toEqual([]);
    client.say();
    expect(await client.next()).toBe('ECONNRESET');
    expect(await answeredBy('resetting')).not.toContain(vip.includes(':') ? podIp6(1) : podIp(1));
    for (const peer of [server, client]) peer.stop();
  },
);

test('an endpoint that is back in time has lost nothing', async () => {
  const slowly = { annotations: { 'kproxy-ts.io/removed-endpoint-tcp': 'reset-after=3s' } };
  const held = await holdAll('resetting');
  await set('resetting', [2], slowly);
  const others = await holdAll('resetting');
  // The time of those comes later than that of the first would have.
  expect(await deletedAfter(() => put('resetting', [1], slowly))).toMatchObject({ deleted: 4 });
  expect(await outcomes(others)).toEqual(['reset', 'reset', 'reset', 'reset']);
  for (const report of await release(held))
    expect(report).toMatchObject({ outcome: 'reply', server: 'pod-1' });
  // A change that the rules see: the annotation alone is none.
  await set('resetting', [2]);
});

test('an endpoint that drains keeps its connections until it is gone', async () => {
  const held = await holdAll('resetting');
  await set('resetting', [2], { draining: [1] });
  const [early, ...others] = held;
  expect(await early!.release()).toMatchObject({ outcome: 'reply', server: 'pod-1' });
  await deletedAfter(() => put('resetting', [2]));
  expect(await outcomes(others)).toEqual(['reset', 'reset', 'reset']);
});

test('the annotation taken back: all goes on', async () => {
  await set('marker', [1]);
  const [held, markers] = await Promise.all([holdAll('resetting'), holdAll('marker')]);
  await set('resetting', [2]);
  const from = daemon.log.length;
  put('resetting', [2], { annotations: {} });
  await daemon.waitForLog('manifests read', { from });
  // Its time comes later than the other's would have.
  expect(await deletedAfter(() => put('marker', [2]))).toMatchObject({ deleted: 4 });
  expect(await outcomes(markers)).toEqual(['reset', 'reset', 'reset', 'reset']);
  for (const report of await release(held))
    expect(report).toMatchObject({ outcome: 'reply', server: 'pod-1' });
});

test('a Service that is deleted: what it asked for last holds', async () => {
  const held = await holdAll('resetting', 60_000);
  const { deleted } = await deletedAfter(() => {
    node.manifests.remove('resetting');
    present.delete('resetting');
  });
  expect(deleted).toBe(4);
  expect(await answeredBy('resetting')).toEqual([]);
  // At a node port the node itself answers; nobody does at an address that is nobody's.
  const [, , ...atNodePorts] = held;
  expect(await outcomes(atNodePorts)).toEqual(['reset', 'reset']);
});

test('a daemon that starts again in the middle: the grace period begins again, and is not forgotten', async () => {
  const held = await holdAll('resetting');
  await set('resetting', [2]);
  await daemon.stop();
  for (const { first } of held) expect(first.server).toBe('pod-1');
  daemon = await node.start();
  const started = await daemon.waitForLog('rules in force');
  const after = await daemon.waitForLog('stale flows deleted');
  // It begins before the log line does. Had it not begun again, there would be no time between the two.
  expect(timeOf(after) - timeOf(started)).toBeGreaterThan(GRACE_MS / 2);
  expect(await outcomes(held)).toEqual(['reset', 'reset', 'reset', 'reset']);
});

test('an endpoint that goes while the daemon is down', async () => {
  const held = await holdAll('resetting');
  await daemon.stop();
  put('resetting', [2]);
  daemon = await node.start();
  await daemon.waitForLog('stale flows deleted');
  expect(await outcomes(held)).toEqual(['reset', 'reset', 'reset', 'reset']);
});
