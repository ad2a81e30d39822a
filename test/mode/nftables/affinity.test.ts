// What is left of an entry's time when that time changes.

import { describe, expect, test } from 'vitest';
import { retimed } from '../../../src/mode/nftables/affinity.ts';

const MINUTE = 60_000;
const entry = (timeout: number, left: number) => ({
  key: 'k',
  data: 'id',
  timeoutMs: timeout * MINUTE,
  expirationMs: left * MINUTE,
});

describe('retimed', () => {
  test.each([
    ['shorter: what is left of it', 180, 170, 60, 50],
    ['shorter: used just before', 180, 180, 60, 60],
    ['shorter: nothing is left', 180, 120, 60, undefined],
    ['shorter: less than nothing is left', 180, 30, 60, undefined],
    ['longer: as much more', 60, 50, 180, 170],
    ['longer: about to expire', 60, 0, 180, 120],
    ['used since the change: as it is', 60, 180, 180, 180],
    ['used since the change, shorter', 180, 60, 60, 60],
    ['used under a longer time before', 60, 90, 30, 30],
  ])('%s', (_, before, left, after, expected) => {
    const result = retimed(entry(before, left), { stickyMs: after * MINUTE, elapsedMs: 50 });
    expect(result).toEqual(expected === undefined ? undefined : entry(after, expected));
  });

  test('used since a change that is longer ago: as it is', () => {
    expect(retimed(entry(60, 175), { stickyMs: 180 * MINUTE, elapsedMs: 6 * MINUTE })).toEqual(
      entry(180, 175),
    );
    expect(retimed(entry(60, 54), { stickyMs: 180 * MINUTE, elapsedMs: 6 * MINUTE })).toEqual(
      entry(180, 174),
    );
  });

  test('an entry of that time is right, and one without a time is none of ours', () => {
    for (const one of [entry(60, 10), { key: 'k', data: 'id' }]) {
      expect(retimed(one, { stickyMs: 60 * MINUTE, elapsedMs: 50 })).toBe(one);
    }
  });
});
