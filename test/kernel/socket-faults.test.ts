// The real kernel behind a socket that fails, lies and loses: whatever happens is reported, nothing is lost, nothing in
// force ever leads nowhere, and in the end the kernel holds what was asked for.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  failure,
  interrupted,
  isBatch,
  isElementQuery,
  type Pass,
  withoutEnd,
} from '../support/disturbed-netlink.ts';
import { deadEnds, deletion, LISTED, upserts } from '../support/in-process-proxy.ts';
import { FaultyNode, failuresOf, web } from './faulty-node.ts';

let node: FaultyNode;

beforeAll(async () => {
  node = await FaultyNode.create();
});

afterAll(() => node?.delete());

beforeEach(() => node.restart());

/** Every kind of change, in a few syncs. */
const STEPS = [
  () => [...LISTED, ...upserts(...web(1, 3), ...web(2, 1), ...web(3, 0), ...web(4, 2))],
  () => upserts(...web(1, 2), ...web(2, 3), ...web(3, 1)),
  () => [deletion('Service', 'web-4'), ...upserts(...web(1, 4), ...web(3, 2, 8081), ...web(5, 1))],
  () => upserts(...web(4, 5), ...web(5, 0)),
];

/** Plays all steps, failing the n-th request; returns how many requests there were, and the reports of failure. */
async function play(n: number, fail: (request: Uint8Array, pass: Pass) => Promise<Uint8Array[]>) {
  let requests = 0;
  const broken: string[] = [];
  const reports: string[] = [];
  node.disturbed.disturb = async (request, pass) => {
    if (!isElementQuery(request) && ++requests === n) return fail(request, pass);
    const replies = await pass(request);
    if (isBatch(request)) broken.push(...(await deadEnds(node.netlink)));
    return replies;
  };
  for (const step of STEPS) {
    for (
      let result = await node.proxy.apply(...step());
      result.failures.length > 0;
      result = await node.proxy.retry()
    ) {
      reports.push(...failuresOf(result));
      expect(reports.length, reports.join('\n')).toBeLessThan(3);
    }
    while (node.proxy.backend.hasDeferred) {
      const { failures } = await node.proxy.backend.flushDeferred();
      if (failures.length === 0) continue;
      reports.push(failures[0]!.error.message);
      await node.proxy.retry();
    }
  }
  expect(broken).toEqual([]);
  await node.expectInForce();
  return { requests, reports };
}

const pass = (request: Uint8Array, next: Pass): Promise<Uint8Array[]> => next(request);

test.each([
  ['EAGAIN before it was sent', 'EAGAIN', 11, false],
  ['EPERM before it was sent', 'EPERM', 1, false],
  ['EBUSY before it was sent', 'EBUSY', 16, false],
  ['EINTR before it was sent', 'EINTR', 4, false],
  ['EMSGSIZE', 'EMSGSIZE', 90, false],
  ['ENOBUFS: the outcome is unknown, and it had taken effect', 'ENOBUFS', 105, true],
  ['EIO after it had taken effect', 'EIO', 5, true],
])('%s, at any of its requests: reported, retried, and all is in force', async (_, code, errno, isSent) => {
  const { requests } = await play(Number.POSITIVE_INFINITY, pass);
  for (let n = 1; n <= requests; n += 3) {
    await node.restart();
    const { reports } = await play(n, async (request, next) => {
      const replies = isSent ? await next(request) : [];
      throw failure(code, errno, replies.slice(0, -1));
    });
    expect(reports, `request ${n} of ${requests}`).toEqual([`sendmsg(NETLINK_NETFILTER): ${code}`]);
  }
});

test('counters that cannot be read stop nothing', async () => {
  await node.proxy.apply(...STEPS[0]!());
  node.disturbed.disturb = async (request, next) => {
    if (isElementQuery(request)) throw failure('ENOENT', 2);
    return next(request);
  };
  expect(failuresOf(await node.proxy.apply(...STEPS[1]!()))).toEqual([]);
  await node.expectInForce();
});

test('a dump that was interrupted is asked for again, and nobody is bothered', async () => {
  let left = 5;
  node.disturbed.disturb = async (request, next) => {
    const replies = await next(request);
    return !isBatch(request) && left-- > 0 ? interrupted(replies) : replies;
  };
  expect(failuresOf(await node.proxy.apply(...STEPS[0]!()))).toEqual([]);
  expect(left).toBeLessThan(0);
  await node.expectInForce();
});

test('a dump that is always interrupted is given up, reported, and made later', async () => {
  node.disturbed.disturb = async (request, next) =>
    isBatch(request) ? next(request) : interrupted(await next(request));
  expect(failuresOf(await node.proxy.apply(...STEPS[0]!()))).toEqual([expect.stringMatching(/: EINTR$/)]);
  expect(await node.netns.exec(['nft', 'list', 'ruleset'])).toBe('');
  node.disturbed.disturb = undefined;
  expect(failuresOf(await node.proxy.retry())).toEqual([]);
  await node.expectInForce();
});

test('a dump without its end is no dump', async () => {
  await node.proxy.apply(...STEPS[0]!());
  node.proxy.backend.distrust();
  node.disturbed.disturb = async (request, next) => withoutEnd(await next(request));
  expect(failuresOf(await node.proxy.apply(...STEPS[1]!()))).toEqual([expect.stringMatching(/no end/)]);
  node.disturbed.disturb = undefined;
  expect(failuresOf(await node.proxy.retry())).toEqual([]);
  await node.expectInForce();
});

test('somebody who writes during every dump delays us, and no longer than he does it', async () => {
  let writes = 0;
  const limit = { count: 6 };
  node.disturbed.disturb = async (request, next) => {
    const replies = await next(request);
    if (!isBatch(request) && writes < limit.count) {
      writes++;
      await node.netns.exec(['nft', 'add', 'table', 'inet', `other-${writes}`]);
    }
    return replies;
  };
  expect(failuresOf(await node.proxy.apply(...STEPS[0]!()))).toEqual([]);
  await node.expectInForce();

  limit.count = Number.POSITIVE_INFINITY;
  node.proxy.backend.distrust();
  expect(failuresOf(await node.proxy.apply(...STEPS[1]!()))).toEqual([
    expect.stringMatching(/others kept writing/),
  ]);
  node.disturbed.disturb = undefined;
  expect(failuresOf(await node.proxy.retry())).toEqual([]);
  await node.expectInForce();
});
