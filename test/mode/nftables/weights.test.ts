// Weights as slots: the right proportion, as few as it takes, never none.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deal, MAX_SLOTS, slotShares } from '../../../src/mode/nftables/weights.ts';

describe('slotShares', () => {
  test.each([
    [[1], [1]],
    [[50], [1]],
    [
      [100, 100, 100],
      [1, 1, 1],
    ],
    [
      [50, 100],
      [1, 2],
    ],
    [
      [10, 20, 30],
      [1, 2, 3],
    ],
    [
      [3, 7],
      [3, 7],
    ],
    [[], []],
  ])('%j → %j', (weights, shares) => {
    expect(slotShares(weights)).toEqual(shares);
  });

  test('never more slots than there can be, never none, nearly in proportion', () => {
    const many = fc
      .integer({ min: 1, max: 5000 })
      .chain((length) =>
        fc.array(fc.integer({ min: 1, max: 100 }), { minLength: length, maxLength: length }),
      );
    fc.assert(
      fc.property(many, (weights) => {
        const shares = slotShares(weights);
        expect(Math.min(...shares)).toBeGreaterThanOrEqual(1);
        expect(shares.reduce((sum, share) => sum + share, 0)).toBeLessThanOrEqual(MAX_SLOTS);
        const [heaviest, its] = [Math.max(...weights), Math.max(...shares)];
        weights.forEach((weight, i) => {
          expect(Math.abs(shares[i]! - (weight * its) / heaviest)).toBeLessThanOrEqual(1.1);
        });
      }),
      { numRuns: 30 },
    );
    expect(slotShares(Array.from({ length: 70_000 }, (_, i) => (i % 2) + 1)).every((one) => one === 1)).toBe(
      true,
    );
  });
});

describe('deal', () => {
  test.each([
    [['a', 'b', 'c'], [1, 1, 1], 'abc'],
    [['a', 'b'], [3, 1], 'abaa'],
    [['a', 'b', 'c'], [1, 2, 3], 'abcbcc'],
    [[], [], ''],
  ])('%j %j → %s', (values, shares, expected) => {
    expect(deal(values, shares).join('')).toBe(expected);
  });
});
