import { describe, expect, it } from 'vitest';
import { InternalError } from '../../src/errors.ts';
import { splitMessages } from '../../src/netlink/message.ts';
import { encodeBatch, type NftRequest, originOf } from '../../src/netlink/nftables/batch.ts';
import { decodeSetElements, type Element } from '../../src/netlink/nftables/element.ts';
import { attribute, be32, message, text } from './support/naive.ts';

const at = { family: 'ip', table: 't' } as const;
const inSet = { ...at, set: 's' } as const;
const BEGIN = 0x10;
const END = 0x11;
const subsystem = Buffer.from([0, 0, 0, 10]);
const family = Buffer.from([2, 0, 0, 0]);

/** Elements of `length` bytes each, with the 12 bytes of headers. */
const elementsOf = (count: number, length: number): Element[] =>
  Array.from({ length: count }, (_, index) => ({
    key: String.fromCharCode(index >>> 8, index & 255).padEnd(length - 12, '\0'),
  }));

describe('a batch', () => {
  it('is begin, messages and end, and only the last message asks for an ack', () => {
    const batch = encodeBatch(
      [
        { op: 'deleteTable', family: 'ip6', table: 't' },
        { op: 'deleteSet', ...inSet },
      ],
      { firstSeq: 40 },
    );
    expect(batch.bytes).toEqual(
      Buffer.concat([
        message(BEGIN, 1, 40, subsystem),
        message(0x0a02, 1, 41, Buffer.from([10, 0, 0, 0]), attribute(1, text('t'))),
        message(0x0a0b, 1 | 4, 42, family, attribute(1, text('t')), attribute(2, text('s'))),
        message(END, 1, 43, subsystem),
      ]),
    );
    expect(batch.nextSeq).toBe(44);
  });

  it('may name the generation it is for', () => {
    const { bytes } = encodeBatch([], { firstSeq: 1, genId: 77 });
    expect(bytes).toEqual(
      Buffer.concat([message(BEGIN, 1, 1, subsystem, attribute(1, be32(77))), message(END, 1, 2, subsystem)]),
    );
  });

  it('has no message for a request without elements', () => {
    const requests: NftRequest[] = [
      { op: 'flushSet', ...inSet },
      { op: 'deleteElements', ...inSet, elements: [] },
      { op: 'addElements', ...inSet, elements: [] },
    ];
    const batch = encodeBatch(requests, { firstSeq: 1 });
    expect(batch.bytes).toEqual(encodeBatch(requests.slice(0, 1), { firstSeq: 1 }).bytes);
  });

  it('gives sets different ids, unless they have their own', () => {
    const set = { op: 'addSet', ...at, keyType: 7, keyLength: 4, isMap: false, flags: {} } as const;
    const { bytes } = encodeBatch(
      [
        { ...set, set: 'a' },
        { ...set, set: 'b' },
        { ...set, set: 'c', setId: 5 },
      ],
      {
        firstSeq: 1,
      },
    );
    const ids = splitMessages(bytes)
      .slice(1, -1)
      .map(
        ({ payload }) =>
          Buffer.from(payload)
            .toString('hex')
            .match(/08000a00(.{8})/)?.[1],
      );
    expect(new Set(ids).size).toBe(3);
    expect(ids[2]).toBe('00000005');
  });

  it('deletes elements by what names them', () => {
    const element: Element = { key: 'abcd', keyEnd: 'efgh', data: 'x', comment: 'y', timeoutMs: 5 };
    const { bytes } = encodeBatch([{ op: 'deleteElements', ...inSet, elements: [element] }], { firstSeq: 1 });
    expect(decodeSetElements(splitMessages(bytes)[1]!).elements).toEqual([{ key: 'abcd', keyEnd: 'efgh' }]);
  });
});

describe('many elements', () => {
  const requests: NftRequest[] = [
    { op: 'addTable', ...at },
    { op: 'addElements', ...inSet, elements: elementsOf(5000, 32) },
    { op: 'deleteElements', ...inSet, elements: elementsOf(3, 32) },
  ];
  const batch = encodeBatch(requests, { firstSeq: 100 });
  const messages = splitMessages(batch.bytes);

  it('fill messages as far as the length of an attribute goes', () => {
    const counts = messages.slice(2, -2).map((one) => decodeSetElements(one).elements.length);
    // 4 bytes of the list's header, 32 of each element: 65,535 bytes hold 2047.
    expect(counts).toEqual([2047, 2047, 906]);
  });

  it('arrive in order', () => {
    const keys = messages
      .slice(2, -2)
      .flatMap((one) => decodeSetElements(one).elements.map(({ key }) => key));
    expect(keys).toEqual(elementsOf(5000, 32).map(({ key }) => key));
  });

  it('have an origin each: by sequence number, and by offset in the message', () => {
    const header = 16 + 4 + attribute(1, text('t')).length + attribute(2, text('s')).length;
    const offsetOf = (index: number) => header + 4 + 32 * index;
    expect(originOf(batch, 100)).toBeUndefined();
    expect(originOf(batch, 101)).toEqual({ requestIndex: 0 });
    expect(originOf(batch, 101, 20)).toEqual({ requestIndex: 0 });
    expect(originOf(batch, 102, offsetOf(0))).toEqual({ requestIndex: 1, elementIndex: 0 });
    expect(originOf(batch, 103, offsetOf(7))).toEqual({ requestIndex: 1, elementIndex: 2047 + 7 });
    expect(originOf(batch, 104, offsetOf(905))).toEqual({ requestIndex: 1, elementIndex: 4999 });
    expect(originOf(batch, 104, offsetOf(906))).toEqual({ requestIndex: 1 });
    expect(originOf(batch, 104, offsetOf(3) + 4)).toEqual({ requestIndex: 1 });
    expect(originOf(batch, 104)).toEqual({ requestIndex: 1 });
    expect(originOf(batch, 105, offsetOf(2))).toEqual({ requestIndex: 2, elementIndex: 2 });
    expect(originOf(batch, 106)).toBeUndefined();
  });

  it('may be as long as an attribute, and no longer', () => {
    const one = (length: number): NftRequest => ({
      op: 'addElements',
      ...inSet,
      elements: [{ key: 'x'.repeat(length) }],
    });
    expect(() => encodeBatch([one(65_516)], { firstSeq: 1 })).not.toThrow();
    expect(() => encodeBatch([one(65_520)], { firstSeq: 1 })).toThrow(InternalError);
  });
});
