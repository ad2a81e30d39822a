// One daemon of userspace mode takes the place of another, under load: sockets and connections change hands, and nobody notices.

import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import { Daemon } from '../support/netns/daemon.ts';
import type { Agent } from '../support/netns/traffic.ts';
import { podIp, TestNode } from '../support/test-node.ts';
import { DNS, putWebAndDns, WEB, WEB6 } from '../support/web-and-dns.ts';

const MODE = '--proxy-mode=userspace';

const ADDON = fileURLToPath(new URL('../../native/load.cjs', import.meta.url));
/** Asks for everything, takes the first descriptor, and goes. */
const ASK_AND_GO = `
  const addon = require(process.argv[1]).loadAddon();
  const socket = addon.connectUnix(Buffer.from('\\0kproxy-ts-handover'.padEnd(108, '\\0')));
  const wait = () => (Array.isArray(addon.receiveDescriptors(socket)) ? process.exit(0) : setTimeout(wait, 5));
  if (socket < 0) process.exit(1);
  wait();`;

let node: TestNode;
let client: Agent;
let pod: Agent;
const daemons: Daemon[] = [];

beforeAll(async () => {
  node = await TestNode.create(3);
  client = node.topology.client.agent();
  pod = node.topology.pod('pod-3').agent();
  putWebAndDns(node.manifests);
});
afterEach(async () => {
  for (const daemon of daemons.splice(0)) await daemon.stop('SIGKILL');
});
afterAll(() => node?.delete());

async function start(...flags: string[]): Promise<Daemon> {
  const daemon = Daemon.start(node.netns, [...node.flags, MODE, ...flags, '-v=2']);
  daemons.push(daemon);
  await daemon.rulesInForce();
  return daemon;
}

/** Handles and all: what is written anew has others. */
const tables = async () =>
  (await node.nft('-a', 'list', 'ruleset')).replaceAll(/counter packets \d+ bytes \d+/g, 'counter');

test('three times, from one to the next: new connections, open ones, and not one rule is written', async () => {
  let running = await start();
  const before = await tables();
  const loads = await Promise.all(
    [
      { agent: client, to: WEB },
      { agent: pod, to: WEB6 },
    ].map(async ({ agent, to }) => ({ to, load: await agent.startLoad({ ...to, pauseMs: 2 }) })),
  );
  const held = await Promise.all([client.hold(WEB), client.hold(WEB6), pod.hold(WEB)]);
  const steady = await client.hold({ ...WEB, intervalMs: 20 });
  for (let round = 0; round < 3; round++) {
    const successor = await start('--takeover', '--takeover-wait=0');
    expect(await running.ended).toBe(0);
    expect(running.log.map(({ msg }) => msg)).toContain('another daemon takes over');
    expect((await successor.rulesInForce())['writes']).toBe(0);
    running = successor;
    held.push(await client.hold(WEB));
    const totals = await Promise.all(loads.map(async ({ load }) => (await load.peek()).total));
    for (const [i, { load }] of loads.entries()) {
      await expect.poll(async () => (await load.peek()).total).toBeGreaterThan(totals[i]! + 20);
    }
    expect(await client.probe(DNS)).toMatchObject({ outcome: 'reply' });
  }
  for (const { to, load } of loads)
    expect({ to, failures: (await load.stop()).failures }).toEqual({ to, failures: [] });
  for (const { first, release } of [...held, steady])
    expect(await release()).toMatchObject({ outcome: 'reply', server: first.server });
  expect(await tables()).toBe(before);
  for (const { log } of daemons) expect(log.filter(({ msg }) => /warning/i.test(msg))).toEqual([]);
}, 60_000);

test('--takeover with nobody there is a start like any other; the portals go with the last daemon', async () => {
  const daemon = await start('--takeover');
  expect(await client.probe(WEB)).toMatchObject({ outcome: 'reply' });
  expect(await daemon.stop()).toBe(0);
  expect(await node.nft('list', 'tables')).not.toContain('kproxy-ts');
});

test('without it a second daemon changes nothing for the first', async () => {
  const first = await start();
  const held = await client.hold(WEB);
  const second = Daemon.start(node.netns, [...node.flags, MODE, '--takeover-wait=0']);
  daemons.push(second);
  expect(await second.ended).toBe(3);
  expect(await held.release()).toMatchObject({ outcome: 'reply' });
  expect(first.hasEnded).toBe(false);
});

test('who asks and goes away leaves the first one serving: new connections, open ones, changes', async () => {
  const daemon = await start();
  const load = await client.startLoad({ ...WEB, pauseMs: 5 });
  const held = await client.hold({ ...WEB, intervalMs: 20 });
  const from = daemon.log.length;
  await node.netns.exec([process.execPath, '-e', ASK_AND_GO, ADDON]);
  await daemon.waitForLog('the other daemon did not take over', { from });
  await daemon.waitForLog('rules in force', { from });
  const { total } = await load.peek();
  await expect.poll(async () => (await load.peek()).total).toBeGreaterThan(total + 20);
  expect((await load.stop()).failures).toEqual([]);
  expect(await held.release()).toMatchObject({ outcome: 'reply', server: held.first.server });
  expect(daemon.hasEnded).toBe(false);
});

test('in nftables mode nobody is asked, and who is asked goes on', async () => {
  const first = Daemon.start(node.netns, [...node.flags, '-v=2']);
  daemons.push(first);
  await first.rulesInForce();
  const second = Daemon.start(node.netns, [...node.flags, MODE, '--takeover', '--takeover-wait=0']);
  daemons.push(second);
  expect(await second.ended).toBe(3);
  node.manifests.put(
    'more',
    service('more', { clusterIps: ['10.96.0.7'], ports: [{ name: 'http', port: 80 }] }),
    slice('more', 'more', { ports: [{ name: 'http', port: 8080 }], endpoints: [podIp(1)] }),
  );
  await expect.poll(() => client.probe({ ...WEB, host: '10.96.0.7' })).toMatchObject({ outcome: 'reply' });
});
