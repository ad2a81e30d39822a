// Lines out of chunks that end anywhere.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MalformedError } from '../../../src/source/kubernetes/api-errors.ts';
import { LineSplitter } from '../../../src/source/kubernetes/line-splitter.ts';

function lines(chunks: readonly Buffer[]): string[] {
  const splitter = new LineSplitter();
  return chunks.flatMap((chunk) => [...splitter.push(chunk)].map((line) => line.toString()));
}

describe('LineSplitter', () => {
  test('finds the same lines wherever the chunks end, also inside a character', () => {
    const text = '{"a":"é"}\n\n{"b":"日本語 🚀"}\n{"c":1}\n';
    const bytes = Buffer.from(text);
    const expected = text.split('\n').filter((line) => line !== '');
    for (let size = 1; size <= bytes.length; size++) {
      const chunks: Buffer[] = [];
      for (let start = 0; start < bytes.length; start += size)
        chunks.push(bytes.subarray(start, start + size));
      expect(lines(chunks), `chunks of ${size}`).toEqual(expected);
    }
  });

  test('keeps an unfinished line to itself', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { maxLength: 10 }), (texts) => {
        const bytes = Buffer.from(texts.map((text) => text.replaceAll('\n', '')).join('\n'));
        const found = lines([bytes]);
        const expected = bytes.toString().split('\n').slice(0, -1);
        expect(found).toEqual(expected.filter((line) => line !== ''));
      }),
    );
  });

  test('takes a line of 10 MB in small chunks in time proportional to its length', () => {
    const chunk = Buffer.alloc(4096, 'x');
    const splitter = new LineSplitter();
    const startedAtMs = performance.now();
    for (let i = 0; i < 2560; i++) expect([...splitter.push(chunk)]).toEqual([]);
    const [line] = [...splitter.push(Buffer.from('\n'))];
    expect(line).toHaveLength(2560 * 4096);
    expect(performance.now() - startedAtMs).toBeLessThan(1000);
  });

  test('gives up a line without end', () => {
    const splitter = new LineSplitter();
    const chunk = Buffer.alloc(1024 * 1024, 'x');
    const feed = () => {
      for (let i = 0; i < 65; i++)
        for (const _ of splitter.push(chunk)) throw new Error('no line is complete');
    };
    expect(feed).toThrow(MalformedError);
  });
});
