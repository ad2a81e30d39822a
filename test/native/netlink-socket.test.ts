// The netlink socket against the running kernel, each test in a network namespace of its own.

import { expect, test } from 'vitest';
import { type Header, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR, RTM_NEWADDR } from './child/requests.ts';
import { runChild } from './run-child.ts';

const sendmsgRoute = { name: 'TransactError', operation: 'sendmsg(NETLINK_ROUTE)' };

test('requests are answered: single, 200 at once in order, larger than the send buffer, dumped', async () => {
  const { dumpTypes, dumpDatagrams, ticksWhileSending, generation, ...rest } = await runChild('transact.ts');

  expect(generation).toMatchObject([{ type: (10 << 8) | 15, seq: 7 }]);
  expect(rest).toEqual({ strangerGets: 'ECONNREFUSED', inOrder: true, hasReserved: true, largeReplies: 0 });
  // 127.0.0.1 and the 5,000 that the large request added.
  expect(dumpTypes).toEqual([...Array(5001).fill(RTM_NEWADDR), NLMSG_DONE]);
  expect(dumpDatagrams).toBeGreaterThan(5);
  // Zero if the event loop had waited for the kernel.
  expect(ticksWhileSending).toBeGreaterThan(0);
});

test('failures are typed, and the next request gets its own reply only', async () => {
  const { overrun, nonsense, existing, ...rest } = await runChild('failures.ts');

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
  // NETLINK_GET_STRICT_CHK, NETLINK_EXT_ACK and NETLINK_CAP_ACK are on.
  expect(nonsense).toContain('Invalid values in header for address dump request');
  const [refusal] = existing as Header[];
  expect(refusal?.type).toBe(NLMSG_ERROR);
  expect((refusal?.flags ?? 0) & NLM_F_CAPPED).toBe(NLM_F_CAPPED);
  const { code, seqs } = overrun as { code: string; seqs: number[] };
  expect(code).toBe('ENOBUFS');
  expect(seqs.length).toBeGreaterThan(0);
  expect(seqs).toEqual(seqs.map((_, index) => index));
});

test('without CAP_NET_ADMIN the kernel refuses, and says so with its errno', async () => {
  const wrapper = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'];
  const result = await runChild('unprivileged.ts', { wrapper });

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
  expect(await runChild('subscribe.ts')).toEqual({
    seesWrite: true,
    forged: 0,
    stuckEvents: 0,
    seesWriteAfterOverrun: true,
    isLossUntold: false,
    closedInside: 1,
    afterClose: 0,
  });
});

test('close is idempotent, lets a request in flight finish, and 10,000 sockets leave no descriptor', async () => {
  const closed = { code: 'EBADF', errno: 9 };

  expect(await runChild('lifetime.ts')).toEqual({
    closed: { ...closed, name: 'TransactError', operation: 'sendmsg(NETLINK_NETFILTER)' },
    closedBuffer: { ...closed, name: 'KernelError', operation: 'setsockopt(NETLINK_NETFILTER)' },
    inFlightReplies: 0,
    queuedFailure: { ...sendmsgRoute, ...closed },
    neighbourSeqs: [3],
    fdsGrownByClose: 0,
    fdsGrownByLoop: 0,
  });
});

test('garbage collection closes forgotten sockets, but not busy ones and not subscriptions', async () => {
  expect(await runChild('collect.ts')).toEqual({ fdsGrown: 0, repliesOfUnreferenced: 0 });
  expect(await runChild('unheld.ts')).toEqual({ errno: 0 });
});

test('worker threads can be terminated in the middle of everything', async () => {
  expect(await runChild('workers.ts')).toEqual({ workers: 24, fdsGrown: 0 });
});
