import { describe, expect, it } from 'vitest';
import { DecodeError, InternalError } from '../../src/errors.ts';
import { attr, listOf, required, sequenceOf, struct } from '../../src/netlink/attribute.ts';
import * as codec from '../../src/netlink/codec.ts';
import { Reader } from '../../src/netlink/reader.ts';
import { Writer } from '../../src/netlink/writer.ts';
import { attribute, be32, text, u16, u32 } from './support/naive.ts';

function encode<T>(one: codec.Codec<T>, value: T): Buffer {
  const writer = new Writer(1);
  one.encode(writer, value);
  return writer.bytes();
}
const decode = <T>(one: codec.Codec<T>, bytes: Buffer): T => one.decode(new Reader('test', bytes));

const sample = struct({
  name: required(1, codec.string),
  count: attr(2, codec.u32be, 0),
  minimum: attr([3, 1], codec.bytes),
  maximum: attr([3, 2], codec.bytes),
  deep: attr([4, 5, 6], codec.u8),
  inner: attr(7, struct({ size: attr(1, codec.u32) })),
  names: attr(8, listOf(1, codec.string)),
  isOn: attr(9, codec.flag),
  color: attr(10, codec.oneOf(codec.u32be, { red: 1, green: 2 })),
  isInverted: attr(11, codec.bit(codec.u32be, 2), false),
  sizes: attr(12, sequenceOf(codec.u16)),
});

describe('a struct', () => {
  const full = {
    name: 'a',
    count: 7,
    minimum: '\x00\xff',
    maximum: '',
    deep: 9,
    inner: { size: 3 },
    names: ['x', 'yz'],
    isOn: true,
    color: 'green',
    isInverted: true,
    sizes: [1, 2],
  } as const;
  const bytes = Buffer.concat([
    attribute(1, text('a')),
    attribute(2, be32(7)),
    attribute(3, [attribute(1, Buffer.from([0, 255])), attribute(2, Buffer.alloc(0))]),
    attribute(4, [attribute(5, [attribute(6, Buffer.from([9]))])]),
    attribute(7, [attribute(1, u32(3))]),
    attribute(8, [attribute(1, text('x')), attribute(1, text('yz'))]),
    attribute(9, Buffer.alloc(0)),
    attribute(10, be32(2)),
    attribute(11, be32(2)),
    attribute(12, [attribute(1, u16(1)), attribute(2, u16(2))]),
  ]);

  it('goes to bytes and back', () => {
    expect(encode(sample, full)).toEqual(bytes);
    expect(decode(sample, bytes)).toEqual(full);
  });

  it('writes nothing for what is not there, not even an empty nest', () => {
    expect(encode(sample, { name: 'a' })).toEqual(attribute(1, text('a')));
  });

  it('leaves out what means the same as nothing', () => {
    const zero = Buffer.concat([attribute(1, text('a')), attribute(2, be32(0)), attribute(11, be32(1))]);
    expect(decode(sample, zero)).toEqual({ name: 'a' });
  });

  it('skips attributes it does not know, and flags of those it knows', () => {
    const strange = Buffer.concat([
      attribute(77, [attribute(1, text('?'))]),
      attribute(1 | 0x4000, text('a')),
      attribute(8, [attribute(2, text('no')), attribute(1, text('yes'))]),
    ]);
    expect(decode(sample, strange)).toEqual({ name: 'a', names: ['yes'] });
  });

  it.each([
    ['without a required attribute', attribute(2, be32(7))],
    ['with an attribute shorter than its header', Buffer.concat([u16(3), u16(1)])],
    ['with an attribute longer than the struct', Buffer.concat([u16(9), u16(1), u32(0)])],
    ['with an attribute whose padding is missing', attribute(1, text('a')).subarray(0, 6)],
    ['that ends in the middle of a header', Buffer.concat([attribute(1, text('a')), u16(4)])],
    ['with a number too short', Buffer.concat([attribute(1, text('a')), attribute(2, Buffer.from([1, 2]))])],
    ['with a number too long', Buffer.concat([attribute(1, text('a')), attribute(2, Buffer.alloc(5))])],
    [
      'with a number and an attribute in its payload',
      Buffer.concat([
        attribute(1, text('a')),
        attribute(2, Buffer.concat([be32(7), attribute(99, be32(0))])),
      ]),
    ],
    [
      'with a flag that has a value',
      Buffer.concat([attribute(1, text('a')), attribute(9, Buffer.from([1]))]),
    ],
    ['with a number that has no name', Buffer.concat([attribute(1, text('a')), attribute(10, be32(3))])],
    [
      'with an inner attribute that reaches out',
      Buffer.concat([attribute(3, Buffer.concat([u16(8), u16(1)]))]),
    ],
  ])('%s is a DecodeError', (_, malformed) => {
    expect(() => decode(sample, malformed)).toThrow(DecodeError);
  });

  it('says what it was reading, and where', () => {
    const error = new DecodeError('test', 8, '4 bytes wanted, 2 left');
    const malformed = Buffer.concat([attribute(1, text('a')), attribute(2, Buffer.from([1, 2]))]);
    expect(() => decode(sample, malformed)).toThrow(expect.objectContaining({ what: 'test', offset: 12 }));
    expect(error.message).toBe('test: 4 bytes wanted, 2 left at byte 8');
  });

  it('refuses to write an attribute that its length cannot count', () => {
    expect(encode(sample, { name: 'x'.repeat(65_530) })).toHaveLength(65_536);
    expect(() => encode(sample, { name: 'x'.repeat(65_531) })).toThrow(InternalError);
    expect(() => encode(sample, { name: 'a', names: ['x'.repeat(40_000), 'y'.repeat(40_000)] })).toThrow(
      InternalError,
    );
  });
});

describe('a leaf codec', () => {
  it.each<[string, codec.Codec<never>, unknown, string]>([
    ['u8', codec.u8 as never, 0xfe, 'fe'],
    ['u16be', codec.u16be as never, 0x1f90, '1f90'],
    ['u32be', codec.u32be as never, 0xfffffffe, 'fffffffe'],
    ['i32be', codec.i32be as never, -100, 'ffffff9c'],
    ['u64be', codec.u64be as never, 2n ** 64n - 2n, 'fffffffffffffffe'],
    ['safeU64be', codec.safeU64be as never, 2 ** 53 - 1, '001fffffffffffff'],
    ['u16', codec.u16 as never, 0x1f90, u16(0x1f90).toString('hex')],
    ['u32', codec.u32 as never, 0xfffffffe, u32(0xfffffffe).toString('hex')],
    ['u64', codec.u64 as never, 1n, Buffer.from(BigUint64Array.of(1n).buffer).toString('hex')],
    ['string', codec.string as never, 'grün', '6772c3bc6e00'],
    ['long string', codec.string as never, 'ü'.repeat(40), `${'c3bc'.repeat(40)}00`],
    ['bytes', codec.bytes as never, '\x00\x7f\x80\xff', '007f80ff'],
    ['long bytes', codec.bytes as never, '\xe9'.repeat(100), 'e9'.repeat(100)],
  ])('%s goes to bytes and back', (_, one, value, bytes) => {
    expect(encode(one, value as never).toString('hex')).toBe(bytes);
    expect(decode(one, Buffer.from(bytes, 'hex'))).toEqual(value);
  });

  it('takes text without its terminator, and ends it at the first', () => {
    expect(decode(codec.string, Buffer.from('abc'))).toBe('abc');
    expect(decode(codec.string, Buffer.from('ab\0c'))).toBe('ab');
  });

  it('does not round a number above 2^53', () => {
    expect(() => decode(codec.safeU64be, Buffer.from('0020000000000000', 'hex'))).toThrow(DecodeError);
  });

  it.each(['Ā', `${'x'.repeat(100)}€`])(
    'refuses a binary string with a character that is no byte',
    (value) => {
      expect(() => encode(codec.bytes, value)).toThrow(InternalError);
    },
  );
});
