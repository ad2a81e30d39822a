// The delays between attempts.

import { describe, expect, test } from 'vitest';
import { Backoff, REFLECTOR_BACKOFF } from '../../../src/source/kubernetes/backoff.ts';

describe('Backoff', () => {
  const delays = (random: () => number, count: number) => {
    const backoff = new Backoff({ ...REFLECTOR_BACKOFF, random });
    return Array.from({ length: count }, () => backoff.next());
  };

  test('doubles up to its ceiling, between half of it and all of it', () => {
    expect(delays(() => 0, 8)).toEqual([400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000]);
    expect(delays(() => 1, 8)).toEqual([800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  });

  test('starts again after a reset', () => {
    const backoff = new Backoff({ ...REFLECTOR_BACKOFF, random: () => 1 });
    backoff.next();
    backoff.next();
    backoff.reset();
    expect(backoff.next()).toBe(800);
  });

  test('the longest delay does not count as an attempt', () => {
    const backoff = new Backoff({ ...REFLECTOR_BACKOFF, random: () => 1 });
    expect(backoff.longest()).toBe(30_000);
    expect(backoff.next()).toBe(800);
  });
});
