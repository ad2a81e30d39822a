// What the fixtures of nft do not show: how expressions are read that this program does not know, or that the kernel
// words differently. Bytes by the naive builder.

import { describe, expect, it } from 'vitest';
import { DecodeError } from '../../src/errors.ts';
import { type Expression, expression } from '../../src/netlink/nftables/expression.ts';
import { Reader } from '../../src/netlink/reader.ts';
import { Writer } from '../../src/netlink/writer.ts';
import { attribute, be32, text } from './support/naive.ts';

const wire = (name: string, ...attributes: readonly Buffer[]) =>
  Buffer.concat([attribute(1, text(name)), attribute(2, attributes)]);
const decode = (bytes: Buffer) => expression.decode(new Reader('expression', bytes));
function encode(one: Expression): Buffer {
  const writer = new Writer();
  expression.encode(writer, one);
  return writer.bytes();
}

describe('an expression', () => {
  it.each([
    ['without a codec', 'osf', [attribute(1, be32(1))]],
    ['with a value that has no name', 'meta', [attribute(2, be32(999)), attribute(1, be32(1))]],
    ['without attributes and without a codec', 'notrack', []],
  ])('%s is kept as bytes', (_, name, attributes) => {
    const bytes = wire(name, ...attributes);
    const kept = decode(bytes);
    expect(kept).toEqual({ kind: 'unknown', name, data: Buffer.concat(attributes).toString('latin1') });
    expect(encode(kept)).toEqual(bytes);
  });

  it('is told by its name, wherever that is', () => {
    const swapped = Buffer.concat([
      attribute(2, [attribute(1, be32(1)), attribute(2, be32(16))]),
      attribute(1, text('meta')),
    ]);
    expect(decode(swapped)).toEqual({ kind: 'meta', key: 'l4proto', register: 1 });
  });

  it.each([
    ['whose number is too short', wire('meta', attribute(2, Buffer.from([0, 0, 16])))],
    ['that lacks what it needs', wire('meta', attribute(1, be32(1)))],
    ['without a name', attribute(2, [attribute(1, be32(1))])],
  ])('%s is a DecodeError', (_, bytes) => {
    expect(() => decode(bytes)).toThrow(DecodeError);
  });
});

describe('what the kernel spells out is left out', () => {
  it.each<[string, Buffer, Expression]>([
    [
      'the registers of a range of one',
      wire(
        'nat',
        attribute(1, be32(1)),
        attribute(2, be32(2)),
        attribute(3, be32(1)),
        attribute(4, be32(1)),
        attribute(5, be32(9)),
        attribute(6, be32(9)),
        attribute(7, be32(3)),
      ),
      { kind: 'nat', type: 'dnat', family: 'ip', addressMin: 1, protoMin: 9 },
    ],
    [
      'that no direction was asked for',
      wire('ct', attribute(2, be32(7)), attribute(1, be32(8)), attribute(3, Buffer.from([2]))),
      { kind: 'ct', key: 'l3proto', register: 1 },
    ],
    [
      'that a lookup is not inverted',
      wire('lookup', attribute(1, text('s')), attribute(2, be32(12)), attribute(5, be32(0))),
      { kind: 'lookup', set: 's', register: 2 },
    ],
    [
      'that a counter is at zero',
      wire(
        'counter',
        attribute(1, Buffer.alloc(8)),
        attribute(2, Buffer.alloc(8)),
        attribute(3, Buffer.alloc(0)),
      ),
      { kind: 'counter' },
    ],
  ])('%s', (_, bytes, wanted) => {
    expect(decode(bytes)).toEqual(wanted);
  });
});
