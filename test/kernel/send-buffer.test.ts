// A send buffer that cannot be raised: what does not fit one transaction takes several, and no packet meets a gap.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { isBatch } from '../support/disturbed-netlink.ts';
import { deadEnds, deletion, LISTED, upserts } from '../support/in-process-proxy.ts';
import { service, slice } from '../support/manifests.ts';
import { FaultyNode, failuresOf, web } from './faulty-node.ts';

/** What net.core.wmem_max usually allows without CAP_NET_ADMIN of the first user namespace. */
const UNPRIVILEGED_BYTES = 2 * 212_992 - 32;

const SMALL = 32 * 1024;

let node: FaultyNode;

beforeAll(async () => {
  node = await FaultyNode.create();
});

afterAll(() => node?.delete());

beforeEach(() => node.restart());

/** Notes when after any batch an address is missing or leads nowhere. */
function watch(vips: number): string[] {
  const broken: string[] = [];
  node.disturbed.disturb = async (request, pass) => {
    const replies = await pass(request);
    if (!isBatch(request)) return replies;
    broken.push(...(await deadEnds(node.netlink)));
    const map = await node.netns.exec(['nft', 'list', 'map', 'ip', 'kproxy-ts', 'services']);
    const present = map.split(' comment ').length - 1;
    if (present < vips) broken.push(`${present} of ${vips} addresses after a batch`);
    return replies;
  };
  return broken;
}

test('takes several transactions, and no packet meets a gap between them', async () => {
  await node.restart(SMALL);
  const numbers = Array.from({ length: 120 }, (_, i) => i + 1);
  const load = await node.proxy.apply(...LISTED, ...upserts(...numbers.flatMap((n) => web(n, 2))));
  expect(failuresOf(load)).toEqual([]);
  expect(load.transactions).toBeGreaterThan(3);
  await node.expectInForce();
  // Everything at once, new chains included.
  const broken = watch(120);
  expect(
    failuresOf(await node.proxy.apply(...upserts(...numbers.flatMap((n) => web(n, 3 + (n % 40)))))),
  ).toEqual([]);
  expect(broken).toEqual([]);
  expect(Math.max(...node.disturbed.batchBytes)).toBeLessThanOrEqual(SMALL);
  await node.expectInForce();
});

test('a restart that has much to write moves the node-port addresses too', async () => {
  await node.restart(SMALL);
  const numbers = Array.from({ length: 120 }, (_, i) => i + 1);
  await node.proxy.apply(...LISTED, ...upserts(...numbers.flatMap((n) => web(n, 2))));
  await node.proxy.flush();
  await node.netns.exec(['nft', '-f', '-'], {
    input: `flush map ip kproxy-ts services\nflush map ip kproxy-ts endpoints
      flush set ip kproxy-ts nodeport-addresses
      add element ip kproxy-ts nodeport-addresses { 192.168.0.0/16 }`,
  });
  node.proxy.backend.distrust();
  expect(failuresOf(await node.proxy.retry())).toEqual([]);
  await node.expectInForce();
});

test('5,000 Services and one of 20,000 endpoints come and go', async () => {
  await node.restart(UNPRIVILEGED_BYTES);
  const { proxy } = node;
  const ports = [{ name: 'http', port: 80 }];
  const objects = Array.from({ length: 5000 }, (_, i) => [
    service(`s-${i}`, { clusterIps: [`10.97.${i >> 8}.${i & 255}`], ports }),
    slice(`s-${i}`, `s-${i}`, { ports, endpoints: [`10.2.${i >> 8}.${i & 255}`] }),
  ]).flat();
  const large = [
    service('large', { clusterIps: ['10.96.0.1'], ports: [{ name: 'http', port: 80, nodePort: 30080 }] }),
    ...Array.from({ length: 20 }, (_, n) => {
      const endpoints = Array.from({ length: 1000 }, (__, i) => `10.${100 + n}.${i >> 8}.${i & 255}`);
      return slice('large', `large-${n}`, { ports, endpoints });
    }),
  ];
  const load = await proxy.apply(...LISTED, ...upserts(...large, ...objects));
  expect(load).toMatchObject({ failures: [] });
  expect(load.transactions).toBeGreaterThan(5);
  await node.expectInForce();

  const gone = [
    deletion('Service', 'large'),
    ...Array.from({ length: 20 }, (_, n) => deletion('EndpointSlice', `large-${n}`)),
  ];
  expect(await proxy.apply(...gone)).toMatchObject({ failures: [] });
  await node.expectInForce();
  expect(Math.max(...node.disturbed.batchBytes)).toBeLessThanOrEqual(UNPRIVILEGED_BYTES);
}, 60_000);
