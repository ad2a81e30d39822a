// UDP clients that talk on from one port while what is behind a Service changes: each hears from an endpoint that still
// serves, soon, and what is not the Service's goes on undisturbed.

import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { ConntrackSession } from '../../src/daemon/conntrack-session.ts';
import { unpackIp } from '../../src/model/ip.ts';
import type { Flow } from '../../src/netlink/conntrack/flow.ts';
import { service, slice } from '../support/manifests.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import type { Netns } from '../support/netns/netns.ts';
import { CLIENT, NODE } from '../support/netns/topology.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';
import { podIp, podIp6, TestNode, written } from '../support/test-node.ts';

const TALKER = fileURLToPath(new URL('../conntrack/talker.mjs', import.meta.url));
const VIP = '10.96.0.2';
const VIP6 = 'fd00:10:96::2';
const OTHER_VIP = '10.96.0.3';
const NODE_PORT = 30053;

let node: TestNode;
let daemon: Daemon;
let netlink: RemoteNetlink;
let bystanders: Talker[];
let talkers: Talker[] = [];
let lastPort = 20_000;

class Talker {
  readonly ownPort = ++lastPort;
  readonly #child: ReturnType<Netns['spawn']>;
  readonly #lines: AsyncIterator<string>;
  /** Servers heard so far, one entry for each change. */
  readonly heard: string[] = [];

  constructor(netns: Netns, host: string, port: number) {
    this.#child = netns.spawn([process.execPath, TALKER, host, String(port), String(this.ownPort)]);
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Settles once one of the servers answers; the test's own timeout bounds the wait. */
  async hears(...servers: string[]): Promise<void> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error('the client has ended');
      if (value !== this.heard.at(-1)) this.heard.push(value);
      if (servers.includes(value)) return;
    }
  }

  /** Every flow of it that the node tracks. */
  async flows(): Promise<Flow[]> {
    const session = new ConntrackSession(netlink);
    const families = ([4, 6] as const).map((family) =>
      session.find(family, { protocol: 17 }, ({ original }) => original.sourcePort === this.ownPort),
    );
    return (await Promise.all(families)).flatMap(({ flows }) => flows);
  }

  /** Where its one flow goes. */
  async answeredBy(): Promise<string[]> {
    return (await this.flows()).map(({ reply }) => unpackIp(reply.source));
  }

  async ids(): Promise<(number | undefined)[]> {
    return (await this.flows()).map(({ id }) => id);
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}

beforeAll(async () => {
  node = await TestNode.create(4);
  netlink = await RemoteNetlink.open(node.netns);
  const { topology } = node;
  // To the number of the node port, but on a host beyond this node.
  await topology.client
    .agent()
    .serve({ protocol: 'udp', port: NODE_PORT, name: 'outside', address: CLIENT.ip });
  await topology.client.agent().serve({ protocol: 'udp', port: 53, name: 'stranger', address: '0.0.0.0' });
  node.manifests.put(
    'other',
    service('other', { clusterIps: [OTHER_VIP], ports: [{ name: 'dns', protocol: 'UDP', port: 53 }] }),
    slice('other', 'other', {
      ports: [{ name: 'dns', protocol: 'UDP', port: 5353 }],
      endpoints: [podIp(1), podIp(2)],
    }),
  );
  put([1]);
  daemon = await node.start();
  const visitor = topology.pod('pod-4');
  bystanders = [
    new Talker(visitor, CLIENT.ip, NODE_PORT),
    new Talker(visitor, OTHER_VIP, 53),
    new Talker(visitor, podIp(1), 5353),
  ];
  await bystanders[0]!.hears('outside');
  await bystanders[1]!.hears('pod-1', 'pod-2');
  await bystanders[2]!.hears('pod-1');
});

let bystandersBefore: unknown;

beforeEach(async () => {
  await set([1]);
  bystandersBefore = await Promise.all(bystanders.map((one) => one.ids()));
});

afterEach(async () => {
  for (const talker of talkers) talker.stop();
  talkers = [];
  // The very same flows, before and after.
  expect(await Promise.all(bystanders.map((one) => one.ids()))).toEqual(bystandersBefore);
  for (const one of bystanders) expect(one.heard).toHaveLength(1);
});

afterAll(async () => {
  netlink?.close();
  await node?.delete();
});

let present = '';

/** The Service with these pods behind it, in both families. */
function put(pods: readonly number[], port = 5353): void {
  present = `${pods} ${port}`;
  const ports = [{ name: 'dns', protocol: 'UDP', port }] as const;
  node.manifests.put(
    'changing',
    service('changing', {
      clusterIps: [VIP, VIP6],
      ports: [{ name: 'dns', protocol: 'UDP', port: 53, nodePort: NODE_PORT }],
    }),
    slice('changing', 'changing-4', { ports, endpoints: pods.map(podIp) }),
    slice('changing', 'changing-6', { ports, endpoints: pods.map(podIp6) }),
  );
}

/** The same, in force when this settles. */
async function set(pods: readonly number[], port = 5353): Promise<void> {
  if (`${pods} ${port}` !== present) await written(daemon, () => put(pods, port));
}

function talk(from: Netns, host: string, port: number): Talker {
  const talker = new Talker(from, host, port);
  talkers.push(talker);
  return talker;
}

/** Clients of the cluster IP in both families, and of the node port. */
async function talkAll(server: string): Promise<Talker[]> {
  const { topology } = node;
  const all = [
    talk(topology.pod('pod-4'), VIP, 53),
    talk(topology.pod('pod-4'), VIP6, 53),
    talk(topology.client, NODE.ip, NODE_PORT),
  ];
  for (const talker of all) await talker.hears(server);
  return all;
}

test('an endpoint that is replaced: clients go to the other', async () => {
  const all = await talkAll('pod-1');
  await set([2]);
  for (const talker of all) await talker.hears('pod-2');
  for (const talker of all) expect(talker.heard).toEqual(['pod-1', 'pod-2']);
});

test('an endpoint that is removed: its clients go to one of the others, and those stay where they are', async () => {
  const [first] = await talkAll('pod-1');
  await set([1, 2, 3]);
  const more = Array.from({ length: 8 }, () => talk(node.topology.pod('pod-4'), VIP, 53));
  for (const talker of more) await talker.hears('pod-1', 'pod-2', 'pod-3');
  const before = await Promise.all(more.map((talker) => talker.ids()));
  const wasHeard = more.map(({ heard }) => heard[0]);

  await set([2, 3]);
  await first!.hears('pod-2', 'pod-3');
  for (const [i, talker] of more.entries()) {
    await talker.hears('pod-2', 'pod-3');
    if (wasHeard[i] !== 'pod-1') expect(await talker.ids()).toEqual(before[i]);
  }
});

test('more endpoints: every flow stays', async () => {
  const all = await talkAll('pod-1');
  const before = await Promise.all(all.map((talker) => talker.ids()));
  await set([1, 2, 3]);
  expect(await Promise.all(all.map((talker) => talker.ids()))).toEqual(before);
});

test('scaled to zero and back: nobody is asked, then the new endpoint', async () => {
  const all = await talkAll('pod-1');
  await set([]);
  for (const talker of all) expect(await talker.flows()).toEqual([]);
  await set([3]);
  for (const talker of all) await talker.hears('pod-3');
});

test('a Service that is deleted: its endpoint is no longer asked', async () => {
  const all = await talkAll('pod-1');
  await written(daemon, () => {
    node.manifests.remove('changing');
    present = '';
  });
  for (const talker of all) expect(await talker.answeredBy()).not.toContain(podIp(1));
  for (const talker of all) expect(await talker.answeredBy()).not.toContain(podIp6(1));
  await set([2]);
  for (const talker of all) await talker.hears('pod-2');
});

test('a target port that changes: the new one is asked', async () => {
  const stop = await node.topology
    .pod('pod-1')
    .agent()
    .serve({ protocol: 'udp', port: 5454, name: 'new-port' });
  const all = await talkAll('pod-1');
  await set([1], 5454);
  for (const talker of all) await talker.hears('new-port');
  await set([1]);
  for (const talker of all) await talker.hears('pod-1');
  await stop();
});

test('traffic that came before the Service: it gets there with the first endpoint', async () => {
  await written(daemon, () => {
    node.manifests.remove('changing');
    present = '';
  });
  const early = talk(node.topology.pod('pod-4'), VIP, 53);
  await expect.poll(() => early.answeredBy()).toEqual([VIP]);
  await set([]);
  await set([2]);
  await early.hears('pod-2');
  expect(early.heard).toEqual(['pod-2']);
});

test('a daemon that starts again leaves the flows of serving endpoints, and finds those that have gone', async () => {
  await set([1, 2]);
  const many = Array.from({ length: 6 }, () => talk(node.topology.pod('pod-4'), VIP, 53));
  for (const talker of many) await talker.hears('pod-1', 'pod-2');
  const before = await Promise.all(many.map((talker) => talker.ids()));
  await daemon.stop();
  daemon = await node.start();
  expect(await Promise.all(many.map((talker) => talker.ids()))).toEqual(before);

  await daemon.stop();
  put([3]);
  daemon = await node.start();
  for (const talker of many) await talker.hears('pod-3');
});
