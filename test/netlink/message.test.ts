import { describe, expect, it } from 'vitest';
import { DecodeError, KernelError } from '../../src/errors.ts';
import { collectDump } from '../../src/netlink/dump.ts';
import { errnoName } from '../../src/netlink/errno.ts';
import {
  beginMessage,
  decodeFailures,
  decodeStatus,
  endMessage,
  splitMessages,
} from '../../src/netlink/message.ts';
import { Writer } from '../../src/netlink/writer.ts';
import { attribute, i32, message, text, u32 } from './support/naive.ts';

const ERROR = 2;
const DONE = 3;
const CAPPED = 0x100;
const HAS_ATTRIBUTES = 0x200;
const DUMP_INTERRUPTED = 0x10;

const only = (bytes: Buffer) => splitMessages(bytes)[0]!;

describe('a message', () => {
  it('is written as header, payload and padding', () => {
    const writer = new Writer(1);
    for (const [seq, payload] of [
      [7, Buffer.from('abc')],
      [8, Buffer.alloc(0)],
    ] as const) {
      const start = beginMessage(writer, 0x0a03, 0x405, seq);
      writer.bytesOf(payload);
      endMessage(writer, start);
    }
    expect(writer.bytes()).toEqual(
      Buffer.concat([message(0x0a03, 0x405, 7, Buffer.from('abc')), message(0x0a03, 0x405, 8)]),
    );
  });

  it('is cut out of a datagram with others, the last without padding', () => {
    const bytes = Buffer.concat([
      message(16, 1, 1, Buffer.from('abc')),
      message(17, 2, 2, Buffer.from('defgh')),
    ]);
    const wanted = [
      { type: 16, flags: 1, seq: 1, portId: 0, payload: Buffer.from('abc') },
      { type: 17, flags: 2, seq: 2, portId: 0, payload: Buffer.from('defgh') },
    ];
    expect(splitMessages(bytes)).toEqual(wanted);
    expect(splitMessages(bytes.subarray(0, -3))).toEqual(wanted);
    expect(splitMessages(Buffer.alloc(0))).toEqual([]);
  });

  it.each([
    ['shorter than its header', Buffer.concat([u32(15), Buffer.alloc(12)])],
    ['of length 0', Buffer.alloc(16)],
    ['longer than the datagram', Buffer.concat([u32(17), Buffer.alloc(12)])],
    ['cut inside its header', Buffer.alloc(7)],
  ])('%s is a DecodeError', (_, bytes) => {
    expect(() => splitMessages(bytes)).toThrow(DecodeError);
  });
});

describe('the status of a request', () => {
  const request = message(0x0a0e, 1, 9, Buffer.from('twelve bytes'));

  it('is an ack', () => {
    const ack = message(ERROR, CAPPED, 9, i32(0), request.subarray(0, 16));
    expect(decodeStatus(only(ack))).toEqual({ kind: 'ack', seq: 9 });
  });

  it.each([
    ['capped', CAPPED, request.subarray(0, 16)],
    ['with the request', 0, request],
  ])('is an error, %s', (_, flags, echo) => {
    const bare = message(ERROR, flags, 9, i32(-2), echo);
    expect(decodeStatus(only(bare))).toEqual({ kind: 'error', seq: 9, errno: 2, code: 'ENOENT' });
    const details = [
      attribute(1, text('no such thing')),
      attribute(2, u32(52)),
      attribute(3, Buffer.from('cookie')),
    ];
    const detailed = message(ERROR, flags | HAS_ATTRIBUTES, 9, i32(-17), echo, ...details);
    expect(decodeStatus(only(detailed))).toEqual({
      kind: 'error',
      seq: 9,
      errno: 17,
      code: 'EEXIST',
      message: 'no such thing',
      offset: 52,
    });
  });

  it('is the end of a dump, good or bad', () => {
    expect(decodeStatus(only(message(DONE, 2, 9, i32(0))))).toEqual({ kind: 'done', seq: 9 });
    expect(decodeStatus(only(message(DONE, 2, 9)))).toEqual({ kind: 'done', seq: 9 });
    const bad = message(DONE, HAS_ATTRIBUTES, 9, i32(-4), attribute(1, text('stopped')));
    expect(decodeStatus(only(bad))).toEqual({
      kind: 'error',
      seq: 9,
      errno: 4,
      code: 'EINTR',
      message: 'stopped',
    });
  });

  it('is no matter of a message with content', () => {
    expect(decodeStatus(only(request))).toBeUndefined();
  });

  it('is lost with an overrun', () => {
    expect(() => decodeStatus(only(message(4, 0, 0)))).toThrow(DecodeError);
  });

  it('is a failure of a batch if any message failed, acks after it notwithstanding', () => {
    const echo = request.subarray(0, 16);
    const datagrams = [
      message(ERROR, CAPPED, 3, i32(-2), echo),
      Buffer.concat([message(ERROR, CAPPED, 4, i32(0), echo), message(ERROR, CAPPED, 5, i32(-22), echo)]),
    ];
    expect(decodeFailures(datagrams).map(({ seq, code }) => [seq, code])).toEqual([
      [3, 'ENOENT'],
      [5, 'EINVAL'],
    ]);
  });
});

describe('a dump', () => {
  const part = (name: string, seq = 5, flags = 2) => message(0x0a09, flags, seq, Buffer.from(name));
  const done = message(DONE, 2, 5, i32(0));
  const payloads = (datagrams: readonly Buffer[]) =>
    collectDump(datagrams, 5).messages.map(({ payload }) => Buffer.from(payload).toString());

  it('is the messages of its request up to the end', () => {
    expect(
      payloads([Buffer.concat([part('a'), part('b')]), part('x', 4), part('c'), done, part('d')]),
    ).toEqual(['a', 'b', 'c']);
    expect(payloads([done])).toEqual([]);
  });

  it('of a single object ends with the ack', () => {
    expect(payloads([part('a'), message(ERROR, CAPPED, 5, i32(0), done)])).toEqual(['a']);
  });

  it('says when it was interrupted', () => {
    expect(collectDump([part('a'), done], 5).interrupted).toBe(false);
    expect(collectDump([part('a', 5, 2 | DUMP_INTERRUPTED), part('b'), done], 5).interrupted).toBe(true);
    expect(collectDump([part('a'), message(DONE, DUMP_INTERRUPTED, 5, i32(0))], 5).interrupted).toBe(true);
  });

  it('without its end is a DecodeError', () => {
    expect(() => collectDump([part('a')], 5)).toThrow(DecodeError);
    expect(() => collectDump([], 5)).toThrow(DecodeError);
    expect(() => collectDump([part('a'), message(DONE, 2, 4, i32(0))], 5)).toThrow(DecodeError);
  });

  it.each([
    ['refused', message(ERROR, CAPPED, 5, i32(-1), Buffer.alloc(16))],
    ['broken off', message(DONE, 2, 5, i32(-1))],
  ])('%s is a KernelError that names the operation', (_, end) => {
    const dump = () => collectDump([part('a'), end], 5, 'list sets');
    expect(dump).toThrow(KernelError);
    expect(dump).toThrow('list sets: EPERM');
  });
});

it('errno numbers have their names', () => {
  expect([1, 2, 11, 16, 17, 22, 35, 85, 90, 95, 105, 133].map(errnoName)).toEqual(
    'EPERM ENOENT EAGAIN EBUSY EEXIST EINVAL EDEADLK ERESTART EMSGSIZE EOPNOTSUPP ENOBUFS EHWPOISON'.split(
      ' ',
    ),
  );
  expect([0, 41, 134, 524].map(errnoName)).toEqual(['E0', 'E41', 'E134', 'E524']);
});
