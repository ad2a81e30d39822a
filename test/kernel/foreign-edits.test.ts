// What somebody else did to our table is found and undone; what is not ours is never touched.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Store } from '../../src/model/store.ts';
import { compare, InProcessProxy, LISTED, upserts } from '../support/in-process-proxy.ts';
import { service, slice } from '../support/manifests.ts';
import { Netns } from '../support/netns/netns.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';

const OBJECTS = [
  service('web', {
    clusterIps: ['10.96.0.1', 'fd00:10:96::1'],
    ports: [{ name: 'http', port: 80, nodePort: 30080 }],
    externalIps: ['203.0.113.7'],
  }),
  slice('web', 'web-4', { ports: [{ name: 'http', port: 8080 }], endpoints: ['10.1.0.11', '10.1.0.12'] }),
  slice('web', 'web-6', { ports: [{ name: 'http', port: 8080 }], endpoints: ['fd00:10:1::11'] }),
  service('empty', { clusterIps: ['10.96.0.2'], ports: [{ port: 53, protocol: 'UDP' }] }),
];

/** Names close to ours, families we do not use, and what kube-proxy and operators have. */
const OTHERS = `
  table ip kproxy-ts2 {
    set services { type ipv4_addr; elements = { 10.96.0.1 }; }
    chain services { type nat hook prerouting priority -101; ip daddr @services counter; }
  }
  table inet kproxy-ts { chain services { type filter hook forward priority 0; counter; }; }
  table bridge kproxy-ts { chain services { type filter hook forward priority 0; counter; }; }
  table ip kube-proxy {
    map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
    chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
    chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
  }
  table inet filter { chain input { type filter hook input priority 0; tcp dport 22 accept; }; }
`;
const OTHER_TABLES = ['ip kproxy-ts2', 'inet kproxy-ts', 'bridge kproxy-ts', 'ip kube-proxy', 'inet filter'];

let netns: Netns;
let netlink: RemoteNetlink;

beforeAll(async () => {
  netns = await Netns.create('edits');
  netlink = await RemoteNetlink.open(netns);
});

afterAll(async () => {
  netlink?.close();
  await netns?.delete();
});

beforeEach(async () => {
  await nft('flush ruleset');
  await nft(OTHERS);
  await start();
});

const nft = (input: string): Promise<string> => netns.exec(['nft', '-f', '-'], { input });

/** A daemon that starts, does what it has to do, and ends: its rules stay. Returns the number of writes. */
async function start(): Promise<number> {
  const proxy = new InProcessProxy(netlink);
  const { failures, writes } = await proxy.apply(...LISTED, ...upserts(...OBJECTS));
  expect(failures).toEqual([]);
  await proxy.flush();
  return writes;
}

/** All there is, handles included, but for our tables. */
async function others(): Promise<string[]> {
  return Promise.all(
    OTHER_TABLES.map((table) => netns.exec(['nft', '-a', 'list', 'table', ...table.split(' ')])),
  );
}

const list = (): Promise<string> => netns.exec(['nft', '-s', 'list', 'table', 'ip', 'kproxy-ts']);

describe('found at start', () => {
  test.each([
    ['a deleted element', 'delete element ip kproxy-ts services { 10.96.0.1 . tcp . 80 }'],
    ['a deleted slot', 'delete element ip kproxy-ts endpoints { 10.96.0.1 . tcp . 80 . 1 }'],
    ['a deleted element over IPv6', 'delete element ip6 kproxy-ts cluster-ips { fd00:10:96::1 }'],
    [
      'another shape',
      `delete element ip kproxy-ts services { 10.96.0.1 . tcp . 80 }
       add element ip kproxy-ts services { 10.96.0.1 . tcp . 80 comment "default/web:http" : none }`,
    ],
    [
      'a shape that nobody has',
      `delete element ip kproxy-ts nodeports { tcp . 30080 }
       add element ip kproxy-ts nodeports { tcp . 30080 comment "default/web:http" : 777:777 }`,
    ],
    [
      'a shape that leads elsewhere',
      `delete element ip kproxy-ts shapes { 100:2 }
       add element ip kproxy-ts shapes { 100:2 : goto refuse }`,
    ],
    [
      'a shape that jumps',
      `delete element ip kproxy-ts shapes { 100:2 }
       add element ip kproxy-ts shapes { 100:2 : jump pick-2-masquerade-off-cluster }`,
    ],
    [
      'a shape that drops',
      `delete element ip kproxy-ts shapes { none }
       delete element ip kproxy-ts inside-shapes { none }
       add element ip kproxy-ts shapes { none : drop }`,
    ],
    ['a deleted shape', 'delete element ip kproxy-ts shapes { 100:2 }'],
    [
      'an extra shape with a chain of its own',
      `add chain ip kproxy-ts mine { counter; }
       add element ip kproxy-ts shapes { 777:777 : goto mine }`,
    ],
    [
      'another comment',
      `delete element ip kproxy-ts services { 10.96.0.2 . udp . 53 }
       add element ip kproxy-ts services { 10.96.0.2 . udp . 53 comment "mine" : none }`,
    ],
    [
      'another backend',
      `delete element ip kproxy-ts endpoints { 10.96.0.1 . tcp . 80 . 0 }
       add element ip kproxy-ts endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.1.0.66 . 8080 }`,
    ],
    ['an extra Service', 'add element ip kproxy-ts services { 10.96.0.66 . tcp . 80 : 100:2 }'],
    ['an extra slot', 'add element ip kproxy-ts endpoints { 10.96.0.1 . tcp . 80 . 2 : 10.1.0.66 . 80 }'],
    ['an extra cluster IP', 'add element ip kproxy-ts cluster-ips { 192.0.2.1 }'],
    ['an extra hairpin pair', 'add element ip kproxy-ts hairpin { 192.0.2.1 . 192.0.2.2 }'],
    ['an extra node-port range', 'add element ip kproxy-ts nodeport-addresses { 10.0.0.0/8 }'],
    ['no node-port address', 'flush set ip kproxy-ts nodeport-addresses'],
    ['flushed maps', 'flush map ip kproxy-ts services\nflush map ip kproxy-ts endpoints'],
    ['an extra rule', 'insert rule ip kproxy-ts services tcp dport { 80, 443 } drop'],
    ['an extra rule at the end', 'add rule ip kproxy-ts refuse counter'],
    ['an extra rule in a base chain', 'insert rule ip kproxy-ts nat-prerouting ip daddr 10.96.0.1 accept'],
    ['a flushed chain', 'flush chain ip kproxy-ts services'],
    ['all chains flushed', 'flush table ip kproxy-ts'],
    ['a deleted chain', 'flush chain ip kproxy-ts nat-output\ndelete chain ip kproxy-ts nat-output'],
    [
      'a deleted chain that a shape led to',
      `delete element ip kproxy-ts shapes { none }
       delete element ip kproxy-ts inside-shapes { none }
       flush chain ip kproxy-ts services
       flush chain ip kproxy-ts refuse
       delete chain ip kproxy-ts refuse`,
    ],
    [
      'an extra chain',
      'add chain ip kproxy-ts mine\nadd rule ip kproxy-ts mine ip daddr { 1.2.3.4, 1.2.3.5 } drop',
    ],
    [
      'an extra chain on a hook',
      'add chain ip kproxy-ts mine { type filter hook forward priority 0; policy drop; }',
    ],
    [
      'extra chains, sets and maps that refer to each other',
      `add set ip kproxy-ts mine-set { type ipv4_addr; elements = { 192.0.2.1 } }
       add chain ip kproxy-ts mine-1
       add chain ip kproxy-ts mine-2 { ip saddr @mine-set drop; }
       add map ip kproxy-ts mine-map { type ipv4_addr : verdict; elements = { 192.0.2.1 : jump mine-2 } }
       add rule ip kproxy-ts mine-1 ip daddr vmap @mine-map
       insert rule ip kproxy-ts services jump mine-1`,
    ],
    ['a deleted table', 'delete table ip kproxy-ts'],
    ['both tables deleted', 'delete table ip kproxy-ts\ndelete table ip6 kproxy-ts'],
    ['a dormant table', 'add table ip kproxy-ts { flags dormant; }'],
    [
      'a base chain of another priority',
      `flush chain ip kproxy-ts nat-postrouting
       delete chain ip kproxy-ts nat-postrouting
       add chain ip kproxy-ts nat-postrouting { type nat hook postrouting priority 50; }`,
    ],
    [
      'a base chain of another policy',
      'add chain ip kproxy-ts nat-output { type nat hook output priority -100; policy drop; }',
    ],
    [
      'a set with other flags',
      `flush chain ip kproxy-ts nat-postrouting
       delete set ip kproxy-ts hairpin
       add set ip kproxy-ts hairpin { type ipv4_addr . ipv4_addr; flags interval; }`,
    ],
    [
      'a map without counters',
      `flush chain ip kproxy-ts services
       delete map ip kproxy-ts nodeports
       add map ip kproxy-ts nodeports { type inet_proto . inet_service : verdict; }`,
    ],
  ])('%s', async (_, edit) => {
    const [tableBefore, othersBefore] = await Promise.all([list(), others()]);
    await nft(edit);
    const store = new Store();
    store.apply([...LISTED, ...upserts(...OBJECTS)]);
    const damage = await compare(netlink, store);
    expect([...damage.now, ...damage.later]).not.toEqual([]);

    await start();
    expect(await compare(netlink, store)).toEqual({ now: [], later: [] });
    expect(canonical(await list())).toEqual(canonical(tableBefore));
    expect(await others()).toEqual(othersBefore);
    expect(await start(), 'writes of the next start').toBe(0);
  });
});

describe('while it runs', () => {
  const changed = slice('web', 'web-4', { ports: [{ name: 'http', port: 8080 }], endpoints: ['10.1.0.12'] });

  test.each([
    ['a flushed ruleset', 'flush ruleset'],
    [
      'a deleted element that is to be replaced',
      'delete element ip kproxy-ts services { 10.96.0.1 . tcp . 80 }',
    ],
    ['an element that is to be added', 'add element ip kproxy-ts shapes { 100:1 : goto refuse }'],
  ])('%s is noticed by the next change, which takes effect all the same', async (_, edit) => {
    const proxy = new InProcessProxy(netlink);
    await proxy.apply(...LISTED, ...upserts(...OBJECTS));
    expect(await proxy.backend.hasDrifted()).toBe(false);
    await nft(edit);
    expect(await proxy.backend.hasDrifted()).toBe(true);
    expect(await proxy.apply(...upserts(changed))).toMatchObject({ failures: [], isFull: true });
    await proxy.flush();
    expect(await compare(netlink, proxy.store)).toEqual({ now: [], later: [] });
    expect(await proxy.backend.hasDrifted()).toBe(false);
  });

  test('what is deleted while it waits for its deletion is not missed', async () => {
    const proxy = new InProcessProxy(netlink);
    await proxy.apply(...LISTED, ...upserts(...OBJECTS));
    await proxy.apply(...upserts(changed));
    await nft('delete element ip kproxy-ts endpoints { 10.96.0.1 . tcp . 80 . 1 }');
    await proxy.backend.flushDeferred();
    const { failures } = await proxy.backend.flushDeferred();
    expect(failures.map(({ error }) => error.message)).toEqual([expect.stringContaining('ENOENT')]);
    expect(await proxy.retry()).toMatchObject({ failures: [] });
    await proxy.flush();
    expect(await compare(netlink, proxy.store)).toEqual({ now: [], later: [] });
  });
});

/** Lines in an order of their own: objects made anew are listed at other places. */
function canonical(listing: string): string[] {
  return listing
    .split(/[\n,]/)
    .map((line) =>
      line
        .replace(/elements = {/, '')
        .replace(/[{}]/g, '')
        .trim(),
    )
    .filter((line) => line !== '')
    .sort();
}
