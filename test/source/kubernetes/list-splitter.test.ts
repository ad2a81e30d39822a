// Lists taken apart while they arrive, against JSON.parse of the whole.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MalformedError } from '../../../src/source/kubernetes/api-errors.ts';
import { type ListMeta, ListSplitter } from '../../../src/source/kubernetes/list-splitter.ts';

function split(chunks: readonly Buffer[]): { items: unknown[]; meta: ListMeta } {
  const splitter = new ListSplitter();
  const items = chunks.flatMap((chunk) => [...splitter.push(chunk)]);
  return { items, meta: splitter.end() };
}

const splitText = (text: string) => split([Buffer.from(text)]);

/** Cuts `bytes` at the given positions (taken modulo the length). */
function cut(bytes: Buffer, positions: readonly number[]): Buffer[] {
  const cuts = [0, ...positions.map((p) => p % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return cuts.slice(1).map((end, i) => bytes.subarray(cuts[i], end));
}

describe('ListSplitter', () => {
  test('yields what JSON.parse would, for any items, any order of fields and any chunks', () => {
    const item = fc.dictionary(
      fc.oneof(fc.string(), fc.constantFrom('items', '"items":[')),
      fc.jsonValue({ maxDepth: 3 }),
    );
    const name = fc
      .oneof(fc.string({ unit: 'binary' }), fc.constantFrom('"items":[{', '\\"', ',"items" : ['))
      .filter((text) => text !== 'items' && text !== 'metadata');
    fc.assert(
      fc.property(
        fc.array(item),
        fc.dictionary(name, fc.jsonValue({ maxDepth: 3 })),
        fc.boolean(),
        fc.boolean(),
        fc.array(fc.nat(), { maxLength: 20 }),
        (items, extra, isMetaFirst, isIndented, cuts) => {
          const metadata = { extra, resourceVersion: '7', continue: 'next' };
          const list = isMetaFirst ? { ...extra, metadata, items } : { items, ...extra, metadata };
          const bytes = Buffer.from(JSON.stringify(list, null, isIndented ? 2 : undefined));
          const result = split(cut(bytes, cuts));
          expect(result.items).toEqual((JSON.parse(bytes.toString()) as typeof list).items);
          expect(result.meta).toEqual({ resourceVersion: '7', continueToken: 'next' });
        },
      ),
    );
  });

  test('takes an empty page, and null for an empty slice as Go writes it', () => {
    for (const items of ['[]', '[ ]', 'null']) {
      const { items: found, meta } = splitText(`{"metadata":{"resourceVersion":"3"},"items":${items}}`);
      expect(found).toEqual([]);
      expect(meta).toEqual({ resourceVersion: '3', continueToken: '' });
    }
  });

  test.each([
    ['nothing', ''],
    ['a truncated body', '{"metadata":{"resourceVersion":"3"},"items":[{"a":1},{"b"'],
    ['a missing comma between items', '{"metadata":{"resourceVersion":"3"},"items":[{"a":1} {"a":2}]}'],
    ['a trailing comma', '{"metadata":{"resourceVersion":"3"},"items":[{"a":1},]}'],
    ['a broken item', '{"metadata":{"resourceVersion":"3"},"items":[{"a":}]}'],
    ['mismatched brackets', '{"metadata":{"resourceVersion":"3"},"items":[{"a":[1}]]}'],
    ['an item that is no object', '{"metadata":{"resourceVersion":"3"},"items":[{"a":1},0]}'],
    ['items that are no array', '{"metadata":{"resourceVersion":"3"},"items":{"a":{}}}'],
    ['no items', '{"metadata":{"resourceVersion":"3"}}'],
    ['items twice', '{"metadata":{"resourceVersion":"3"},"items":[{}],"items":[{},{}]}'],
    ['no metadata', '{"items":[]}'],
    ['no version', '{"metadata":{},"items":[]}'],
    ['a version that is a number', '{"metadata":{"resourceVersion":3},"items":[]}'],
    ['an array', '[{"metadata":{"resourceVersion":"3"}}]'],
    ['something after the list', '{"metadata":{"resourceVersion":"3"},"items":[]}{}'],
    ['HTML', '<html><body>"items":[{}]</body></html>'],
  ])('refuses %s', (_, text) => {
    expect(() => splitText(text)).toThrow(MalformedError);
  });

  test('refuses an item that is not UTF-8 instead of changing its name', () => {
    const text = '{"metadata":{"resourceVersion":"3"},"items":[{"name":"w?b"}]}';
    const bytes = Buffer.from(text);
    bytes[text.indexOf('?')] = 0xff;
    expect(() => split([bytes])).toThrow('not valid UTF-8');
  });

  test('random damage gives the same list or a MalformedError, never anything else', () => {
    const bytes = Buffer.from(
      '{"kind":"L","metadata":{"resourceVersion":"3"},"items":[{"a":"x\\"y"},{"b":[{}]}]}',
    );
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
        const damaged = Buffer.from(bytes);
        damaged[at] = byte;
        let expected: { items?: unknown } | undefined;
        try {
          expected = JSON.parse(damaged.toString()) as { items?: unknown };
        } catch {
          expected = undefined;
        }
        try {
          expect(split([damaged]).items).toEqual(expected?.items);
        } catch (error) {
          if (!(error instanceof MalformedError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('bounds what it keeps', () => {
    const splitter = new ListSplitter();
    const chunk = Buffer.alloc(1024 * 1024, 'x');
    const feed = () => {
      for (const piece of [Buffer.from('{"items":[{"a":"'), ...Array<Buffer>(65).fill(chunk)]) {
        for (const _ of splitter.push(piece)) throw new Error('no item is complete');
      }
    };
    expect(feed).toThrow('exceeds 67108864 bytes');
  });
});
