import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Edit, editsBetween } from '../../../src/mode/iptables/edit-rules.ts';

const edits = (before: readonly string[], after: readonly string[]): Edit<string>[] =>
  editsBetween(
    before,
    after,
    (text) => text,
    (a, b) => a === b,
  );
function apply(items: readonly string[], some: readonly Edit<string>[]): string[] {
  const result = [...items];
  for (const edit of some) {
    expect(edit.index).toBeLessThanOrEqual(result.length - (edit.kind === 'delete' ? 1 : 0));
    if (edit.kind === 'delete') result.splice(edit.index, 1);
    else result.splice(edit.index, 0, edit.item);
  }
  return result;
}
/** By the textbook: a table of all pairs of prefixes. */
function longestCommon(a: readonly string[], b: readonly string[]): number {
  let row = new Array<number>(b.length + 1).fill(0);
  for (const one of a) {
    const next = [0];
    for (const [j, other] of b.entries()) {
      next.push(one === other ? row[j]! + 1 : Math.max(row[j + 1]!, next[j]!));
    }
    row = next;
  }
  return row.at(-1)!;
}

describe('editsBetween', () => {
  test('leads from any sequence to any other, items that occur twice included', () => {
    const items = fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { maxLength: 30, size: 'max' });
    fc.assert(
      fc.property(items, items, (before, after) => {
        expect(apply(before, edits(before, after))).toEqual(after);
        expect(edits(after, after)).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });

  test('keeps as much as can be kept, where nothing occurs twice', () => {
    const items = fc.uniqueArray(fc.nat({ max: 30 }).map(String), { maxLength: 30, size: 'max' });
    fc.assert(
      fc.property(items, items, (before, after) => {
        const kept = longestCommon(before, after);
        expect(edits(before, after)).toHaveLength(before.length + after.length - 2 * kept);
      }),
      { numRuns: 500 },
    );
  });
});
