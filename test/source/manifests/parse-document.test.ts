import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseDocument } from '../../../src/source/manifests/parse-document.ts';

function value(text: string): unknown {
  const parsed = parseDocument(text);
  if (parsed.kind !== 'value') throw new Error(parsed.reason);
  return parsed.value;
}

describe('parseDocument', () => {
  it('reads what JSON wrote, as JSON or as YAML', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (json) => {
        const text = JSON.stringify(json);
        expect(value(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  it.each<[string, string, unknown]>([
    ['text where YAML has types that JSON has not', 'a: 2024-01-01T00:00:00Z', { a: '2024-01-01T00:00:00Z' }],
    ['merge keys', 'x: &x {a: 1}\ny:\n  <<: *x\n  b: 2', { x: { a: 1 }, y: { a: 1, b: 2 } }],
    ['aliases as copies', 'a: &x [1]\nb: *x', { a: [1], b: [1] }],
    ['nothing', '---\n', null],
    ['flow style that is no JSON', '{a: 1, b: [x,],}', { a: 1, b: ['x'] }],
  ])('reads %s', (_, text, expected) => {
    expect(value(text)).toEqual(expected);
  });

  it('shares nothing between aliases', () => {
    const { a, b } = value('a: &x {n: 1}\nb: *x') as { a: object; b: object };
    expect(a).not.toBe(b);
  });

  it.each([
    ['a duplicate key', 'a: 1\nb: 2\na: 3\n', 2, /duplicated mapping key/],
    ['a tab', 'a:\n\tb: 1\n', 1, /tab/],
    ['an open list', 'a: [1, 2\nb: 3\n', 1, /./],
    ['half of a JSON file', '{"items": [\n{"kind": "Service"},\n{"ki', 2, /./],
    ['a tag', 'a: 1\nb: !ruby/object x\n', 1, /unknown tag/],
    ['a tag that js-yaml knows', 'b: !!binary aGk=\n', 0, /unknown tag/],
    ['an unknown alias', 'a: *nobody\n', 0, /alias/],
    ['a null byte', 'a: \u0000\n', 0, /null byte/],
    ['nesting without end', `a: ${'['.repeat(5000)}`, 0, /maxDepth/],
    ['a document in itself', '&a [*a]', 0, /aliases/],
  ])('tells of %s, and where', (_, text, line, reason) => {
    expect(parseDocument(text)).toEqual({ kind: 'unreadable', line, reason: expect.stringMatching(reason) });
  });

  it('refuses aliases that expand to gigabytes, at once', () => {
    const levels = Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}, *a${i}]`);
    const startedAt = performance.now();
    expect(parseDocument(`a0: &a0 lol\n${levels.join('\n')}`)).toMatchObject({ kind: 'unreadable', line: 0 });
    expect(performance.now() - startedAt).toBeLessThan(2_000);
    const long = `a: &a ${'x'.repeat(100_000)}\nb: [${'*a, '.repeat(1_000)}]`;
    expect(parseDocument(long)).toMatchObject({ kind: 'unreadable' });
  });

  it('takes __proto__ for a key like any other', () => {
    for (const text of [
      '__proto__: {polluted: 1}',
      '{"__proto__": {"polluted": 1}}',
      '<<: {__proto__: {polluted: 1}}',
    ]) {
      expect(Object.getPrototypeOf(value(text))).toBe(Object.prototype);
      expect((value(text) as { polluted?: unknown }).polluted).toBeUndefined();
    }
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it('answers whatever the text', () => {
    const unit = fc.constantFrom(...'ab:-[]{}&*!|>%@"\'#,? \n\t<0.'.split(''));
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit, maxLength: 60 })), (text) => {
        expect(['value', 'unreadable']).toContain(parseDocument(text).kind);
      }),
      { numRuns: 3000 },
    );
  });
});
