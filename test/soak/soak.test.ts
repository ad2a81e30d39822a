// The short form of `npm run soak`, and how growth is told from noise.

import { describe, expect, test } from 'vitest';
import { randomNumbers } from '../support/random-numbers.ts';
import { growth } from './census.ts';
import { soak } from './soak.ts';

test.concurrent.each(['nftables', 'iptables'] as const)(
  '%s mode holds while everything changes',
  async (mode) => {
    const seed = Number(process.env['KPROXY_SEED'] ?? Date.now() % 1_000_000);
    const options = { mode, seed, seconds: 5, services: 300, changesPerSec: 100, checkpoints: 2 };
    const { figures, problems } = await soak(options, () => undefined);
    console.log(figures.join('\n'));
    expect(problems).toEqual([]);
  },
  120_000,
);

describe('growth', () => {
  const random = randomNumbers();
  const noise = (at: (i: number) => number) => Array.from({ length: 400 }, (_, i) => at(i) + 20 * random());

  test('of what only fills up at first is none', () => {
    expect(Math.abs(growth(noise((i) => Math.min(i, 90))))).toBeLessThan(10);
  });

  test('that does not end is seen', () => {
    // Half of three quarters of 400 values lie between the middles of both thirds.
    expect(growth(noise((i) => i))).toBeGreaterThan(180);
  });

  test('of too few values is not judged', () => {
    expect(growth([1, 2, 3, 1000, 2000])).toBe(0);
  });
});
