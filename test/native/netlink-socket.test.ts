// The netlink socket against the running kernel, each test in a network namespace of its own.

import { expect, test } from 'vitest';
import { Netns } from '../support/netns/netns.ts';
import { NLMSG_DONE, RTM_NEWADDR } from './child/requests.ts';
import { type ChildOptions, runChild } from './run-child.ts';

async function childResult(name: string, options?: ChildOptions): Promise<Record<string, unknown>> {
  const netns = await Netns.create('native');
  try {
    return await runChild(netns, name, options);
  } finally {
    await netns.delete();
  }
}

const sendmsgRoute = { name: 'TransactError', operation: 'sendmsg(NETLINK_ROUTE)' };

test('requests are answered: single, 200 at once in order, larger than the send buffer, dumped', async () => {
  const { dumpTypes, dumpDatagrams, ticksWhileSending, generation, ...rest } =
    await childResult('transact.ts');

  expect(generation).toMatchObject([{ type: (10 << 8) | 15, seq: 7 }]);
  expect(rest).toEqual({ inOrder: true, hasReserved: true, largeReplies: 0 });
  // 127.0.0.1 and the 5,000 that the large request added.
  expect(dumpTypes).toEqual([...Array(5001).fill(RTM_NEWADDR), NLMSG_DONE]);
  expect(dumpDatagrams).toBeGreaterThan(5);
  // Zero if the event loop had waited for the kernel.
  expect(ticksWhileSending).toBeGreaterThan(0);
});

test('failures are typed, and the next request gets its own reply only', async () => {
  const { overrun, ...rest } = await childResult('failures.ts');

  expect(rest).toEqual({
    badProtocol: {
      name: 'KernelError',
      code: 'EPROTONOSUPPORT',
      errno: 93,
      operation: 'socket(netlink protocol 77)',
    },
    largestReplies: [],
    tooLarge: { ...sendmsgRoute, code: 'EMSGSIZE', errno: 90 },
    afterOverrun: [99],
    overLimit: {
      name: 'TransactError',
      code: 'EFBIG',
      errno: 27,
      operation: 'recvmsg(NETLINK_ROUTE) of more than 4096 bytes',
    },
    afterOverLimit: [99],
  });
  const { code, seqs } = overrun as { code: string; seqs: number[] };
  expect(code).toBe('ENOBUFS');
  expect(seqs.length).toBeGreaterThan(0);
  expect(seqs).toEqual(seqs.map((_, index) => index));
});

test('without CAP_NET_ADMIN the kernel refuses, and says so with its errno', async () => {
  const wrapper = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'];
  const result = await childResult('unprivileged.ts', { wrapper });

  expect(result).toEqual({
    subscription: {
      name: 'KernelError',
      code: 'EPERM',
      errno: 1,
      operation: 'setsockopt(NETLINK_NETFILTER)',
    },
    isShort: true,
    tooLarge: { ...sendmsgRoute, code: 'EMSGSIZE', errno: 90 },
    nlmsgerr: -1,
  });
});

test('a subscription delivers what the kernel says, reports losses and ends with close', async () => {
  expect(await childResult('subscribe.ts')).toEqual({
    seesWrite: true,
    forged: 0,
    stuckEvents: 0,
    seesWriteAfterOverrun: true,
    closedInside: 1,
    afterClose: 0,
  });
});

test('close is idempotent, lets a request in flight finish, and 10,000 sockets leave no descriptor', async () => {
  const closed = { code: 'EBADF', errno: 9 };

  expect(await childResult('lifetime.ts')).toEqual({
    closed: { ...closed, name: 'TransactError', operation: 'sendmsg(NETLINK_NETFILTER)' },
    closedBuffer: { ...closed, name: 'KernelError', operation: 'setsockopt(NETLINK_NETFILTER)' },
    inFlightReplies: 0,
    queuedFailure: { ...sendmsgRoute, ...closed },
    neighbourSeqs: [3],
    fdsGrownByClose: 0,
    fdsGrownByLoop: 0,
  });
});

test('garbage collection closes forgotten sockets, not busy ones and not subscriptions', async () => {
  const result = await childResult('collect.ts', { nodeFlags: ['--expose-gc'] });

  expect(result).toEqual({ fdsGrown: 0, repliesOfUnreferenced: 1, events: 1 });
});

test('worker threads can be terminated in the middle of everything', async () => {
  expect(await childResult('workers.ts')).toEqual({ workers: 24, fdsGrown: 0 });
});
