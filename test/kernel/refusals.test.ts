// A transaction that the real kernel refuses: the Service it is about is named, and all others are served.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { SyncResult } from '../../src/daemon/backend.ts';
import { KernelError } from '../../src/errors.ts';
import { isBatch, type Pass, spoil, withWords } from '../support/disturbed-netlink.ts';
import { compare, deadEnds, deletion, LISTED, upserts } from '../support/in-process-proxy.ts';
import { FaultyNode, failuresOf, web } from './faulty-node.ts';

const NLMSG_ERROR = 2;
const ENOMEM = 12;

let node: FaultyNode;

beforeAll(async () => {
  node = await FaultyNode.create();
});

afterAll(() => node?.delete());

beforeEach(() => node.restart());

/** The kernel refuses the elements of Services with so many endpoints, web-<count> if there are several. */
const refuse =
  (...counts: number[]) =>
  async (request: Uint8Array, pass: Pass): Promise<Uint8Array[]> => {
    if (!isBatch(request)) return pass(request);
    const spoilOne = (bytes: Uint8Array, count: number) =>
      spoil(bytes, `default/web-${counts.length > 1 ? count : 2}:http`, count);
    return (await pass(counts.reduce(spoilOne, request))).map((reply) => withWords(reply, 'no such luck'));
  };

test('names the Service in the words of the kernel, and stops none of the others', async () => {
  node.disturbed.disturb = refuse(7);
  const result = await node.proxy.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 7), ...web(3, 3)));

  expect(result.failures).toHaveLength(1);
  const [{ error, services }] = result.failures as [SyncResult['failures'][0]];
  expect(services).toEqual(['default/web-2']);
  expect(error).toBeInstanceOf(KernelError);
  expect(error).toMatchObject({ code: 'EINVAL', extAck: 'no such luck' });
  expect(error.message).toMatch(
    /^service default\/web-2: \+ ip (services 10\.96\.0\.2 \. tcp \. 80|nodeports tcp \. 30002) .*EINVAL \(no such luck\)$/,
  );
  expect(node.proxy.backend.problems()).toEqual([
    { subject: 'Service default/web-2', code: 'REFUSED_BY_KERNEL', reason: error.message },
  ]);
  const { now } = await compare(node.netlink, node.proxy.store);
  expect(now.filter((line) => !line.includes('web-2') && !line.includes('10.1.2.'))).toEqual([]);
  expect(now).not.toEqual([]);

  // The others go on changing meanwhile.
  expect(failuresOf(await node.proxy.apply(...upserts(...web(3, 4))))).toEqual([error.message]);
  expect(node.proxy.backend.problems()).toHaveLength(1);
  expect(
    (await compare(node.netlink, node.proxy.store)).now.filter((line) => line.includes('web-3')),
  ).toEqual([]);

  node.disturbed.disturb = undefined;
  expect(failuresOf(await node.proxy.retry())).toEqual([]);
  await node.expectInForce();
});

test('that says nothing about the Service concerns all: nothing of its transaction is in force', async () => {
  await node.proxy.apply(...LISTED, ...upserts(...web(1, 2)));
  const spoiled = refuse(7);
  node.disturbed.disturb = async (request, pass) =>
    (await spoiled(request, pass)).map((reply) => {
      const bytes = Buffer.from(reply);
      // struct nlmsgerr follows the header.
      if (bytes.readUInt16LE(4) === NLMSG_ERROR && bytes.readInt32LE(16) < 0) bytes.writeInt32LE(-ENOMEM, 16);
      return bytes;
    });
  const { failures } = await node.proxy.apply(...upserts(...web(1, 3), ...web(2, 7)));
  expect(failures.length).toBeGreaterThan(0);
  for (const one of failures) expect(one).toMatchObject({ error: { code: 'ENOMEM' }, services: [] });
  const { now } = await compare(node.netlink, node.proxy.store);
  expect(now.join()).toContain('web-1');
  node.disturbed.disturb = undefined;
  await node.proxy.retry();
  await node.expectInForce();
});

test('is tried again when the Service changes', async () => {
  node.disturbed.disturb = refuse(7);
  await node.proxy.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 7)));
  expect(failuresOf(await node.proxy.apply(...upserts(...web(2, 6))))).toEqual([]);
  await node.expectInForce();
});

test('leaves a Service that worked as it was', async () => {
  await node.proxy.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 6)));
  node.disturbed.disturb = refuse(7);
  expect((await node.proxy.apply(...upserts(...web(2, 7)))).failures).toHaveLength(1);
  await node.proxy.flush();
  expect(await deadEnds(node.netlink)).toEqual([]);
  const services = await node.netns.exec(['nft', 'list', 'map', 'ip', 'kproxy-ts', 'services']);
  expect(services).toMatch(/10\.96\.0\.2 .*"default\/web-2:http" : 100:6\b/);
  node.disturbed.disturb = undefined;
  await node.proxy.retry();
  await node.expectInForce();
});

test('of a Service that is deleted leaves nothing', async () => {
  node.disturbed.disturb = refuse(7);
  await node.proxy.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 7)));
  const gone = [deletion('Service', 'web-2'), deletion('EndpointSlice', 'web-2')];
  expect(failuresOf(await node.proxy.apply(...gone))).toEqual([]);
  await node.expectInForce();
});

test('is tried again by the periodic check, however much else changes', async () => {
  node.disturbed.disturb = refuse(7);
  await node.proxy.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 7)));
  node.disturbed.disturb = undefined;
  expect((await node.proxy.apply(...upserts(...web(1, 3)))).failures).toHaveLength(1);
  expect(await node.proxy.backend.hasDrifted()).toBe(true);
  node.proxy.backend.distrust();
  expect(failuresOf(await node.proxy.apply(...upserts(...web(1, 4))))).toEqual([]);
  await node.expectInForce();
});

test('twenty at a time are each found out, and the rest is in force', async () => {
  const counts = Array.from({ length: 20 }, (_, i) => 20 + i);
  node.disturbed.disturb = refuse(...counts);
  const bad = counts.flatMap((count) => web(count, count));
  let result = await node.proxy.apply(...LISTED, ...upserts(...web(1, 2), ...bad, ...web(3, 3)));
  for (let retries = 0; result.transactions === 0; retries++) {
    expect(retries, failuresOf(result).join('\n')).toBeLessThan(3);
    // Until the last is found out, the rest is not in force either.
    expect(result.failures.some(({ services }) => services.length === 0)).toBe(true);
    result = await node.proxy.retry();
  }
  expect(node.proxy.backend.problems().map(({ subject }) => subject)).toEqual(
    counts.map((count) => `Service default/web-${count}`),
  );
  expect(result.failures).toHaveLength(20);
  const { now } = await compare(node.netlink, node.proxy.store);
  expect(now.filter((line) => /web-[13]\b/.test(line))).toEqual([]);
  node.disturbed.disturb = undefined;
  await node.proxy.retry();
  await node.expectInForce();
});
