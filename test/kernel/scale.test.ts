// A Service of a size that nobody should have: loaded, and changed at the cost of the change.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { compare, InProcessProxy, LISTED, upserts } from '../support/in-process-proxy.ts';
import { service, slice } from '../support/manifests.ts';
import { Netns } from '../support/netns/netns.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';

let netns: Netns;
let netlink: RemoteNetlink;

beforeAll(async () => {
  netns = await Netns.create('scale');
  netlink = await RemoteNetlink.open(netns);
});

beforeEach(() => netns.exec(['nft', 'flush', 'ruleset']));

afterAll(async () => {
  netlink?.close();
  await netns?.delete();
});

const PORTS = [{ name: 'http', port: 80 }];
const PER_SLICE = 1000;

/** The n-th thousand of endpoints of the large Service; `replaced` gives one of them another address. */
function largeSlice(n: number, { count = PER_SLICE, isReplaced = false } = {}): object {
  const endpoints = Array.from({ length: count }, (_, i) => ({
    ip: i === 0 && isReplaced ? `10.250.0.${n}` : `10.${100 + n}.${i >> 8}.${i & 255}`,
    nodeName: 'node-2',
  }));
  return slice('large', `large-${n}`, { ports: PORTS, endpoints });
}

function large(thousands: number): object[] {
  return [
    service('large', { clusterIps: ['10.96.0.1'], ports: [{ name: 'http', port: 80, nodePort: 30080 }] }),
    ...Array.from({ length: thousands }, (_, n) => largeSlice(n)),
  ];
}

test('100,000 endpoints in one Service: an endpoint more, less or another costs a few writes', async () => {
  const proxy = new InProcessProxy(netlink);
  const load = await proxy.apply(...LISTED, ...upserts(...large(100)));
  expect(load).toMatchObject({ failures: [] });
  // A slot for each of two frontends.
  expect(load.writes).toBeGreaterThan(200_000);

  const replaced = await proxy.apply(...upserts(largeSlice(50, { isReplaced: true })));
  expect(replaced).toMatchObject({ failures: [], writes: 2, transactions: 1 });

  // For each of two frontends: the hole, its element, and a shape with a chain of up to four rules.
  const less = await proxy.apply(...upserts(largeSlice(50, { count: PER_SLICE - 1, isReplaced: true })));
  expect(less).toMatchObject({ failures: [], transactions: 1 });
  expect(less.writes).toBeLessThanOrEqual(14);
  await proxy.flush();

  const more = await proxy.apply(...upserts(largeSlice(50, { isReplaced: true })));
  expect(more).toMatchObject({ failures: [], transactions: 1 });
  expect(more.writes).toBeLessThanOrEqual(14);
  await proxy.flush();
  expect(await compare(netlink, proxy.store)).toEqual({ now: [], later: [] });
}, 60_000);
