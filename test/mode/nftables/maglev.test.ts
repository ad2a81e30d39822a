// Maglev's table: shares, few moves, and nothing that depends on order or history.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type MaglevBackend, maglevTable, maglevTableSize } from '../../../src/mode/nftables/maglev.ts';

const backends = (count: number, weight = 1): MaglevBackend[] =>
  Array.from({ length: count }, (_, i) => ({ name: `10.1.${i >> 8}.${i & 255}:8080`, weight }));

/** The name per entry. */
const names = (list: readonly MaglevBackend[]): string[] =>
  Array.from(maglevTable(list), (i) => list[i]!.name);

function counts(entries: readonly string[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const name of entries) found.set(name, (found.get(name) ?? 0) + 1);
  return found;
}

const some = fc.uniqueArray(
  fc.record({
    name: fc.nat(400).map((n) => `10.1.${n >> 8}.${n & 255}:80`),
    weight: fc.integer({ min: 1, max: 100 }),
  }),
  { minLength: 1, maxLength: 30, selector: ({ name }) => name },
);

describe('maglevTable', () => {
  test.each([
    [1, 1021],
    [20, 1021],
    [21, 4093],
    [80, 4093],
    [81, 16381],
    [320, 16381],
    [321, 65521],
    [5000, 65521],
  ])('of %i backends has %i entries, a prime', (count, size) => {
    expect(maglevTableSize(count)).toBe(size);
    for (let divisor = 2; divisor * divisor <= size; divisor++) expect(size % divisor).not.toBe(0);
  });

  test.each([1, 2, 3, 7, 20, 80, 320, 1000])('%i backends get equal shares', (count) => {
    const shares = [...counts(names(backends(count))).values()];
    expect(shares).toHaveLength(count);
    // Turns are taken one by one, so no two differ by more than one.
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
  });

  test('shares are in proportion to weights', () => {
    fc.assert(
      fc.property(some, (list) => {
        const table = names(list);
        const total = list.reduce((sum, { weight }) => sum + weight, 0);
        const heaviest = Math.max(...list.map(({ weight }) => weight));
        const found = counts(table);
        for (const { name, weight } of list) {
          const due = (table.length * weight) / total;
          // One turn of its own, and what the others may be ahead of it.
          expect(Math.abs((found.get(name) ?? 0) - due)).toBeLessThanOrEqual(
            1 + (list.length * weight) / heaviest,
          );
        }
      }),
      { numRuns: 50 },
    );
  });

  test('does not depend on the order of backends', () => {
    fc.assert(
      fc.property(
        some.chain((list) =>
          fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
        ),
        ([list, shuffled]) => {
          expect(names(shuffled)).toEqual(names(list));
        },
      ),
      { numRuns: 50 },
    );
  });

  test.each([5, 20, 70, 300])('of %i backends one goes: its share moves, and few others', (count) => {
    const all = backends(count);
    const before = names(all);
    const gone = all[count >> 1]!.name;
    const after = names(all.filter(({ name }) => name !== gone));
    expect(after).not.toContain(gone);
    const moved = before.filter((name, i) => name !== gone && name !== after[i]).length;
    // The paper's figure 12: below a few per cent at some hundred entries per backend.
    expect(moved / before.length).toBeLessThan(0.1);
  });

  test('is the same in every version: entries that another program made after the paper', () => {
    const table = names(backends(3));
    const text = (name: string): string => name.slice('10.1.0.'.length, -':8080'.length);
    expect(table.slice(0, 30).map(text).join('')).toBe('210012100222001200012101212101');
  });
});
