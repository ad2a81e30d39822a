// Who owns an address that several Services claim.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ServiceKey } from '../../src/model/types.ts';
import { type Claimant, Claims } from '../../src/vip/claims.ts';

const claimant = (service: string, createdAtMs: number): Claimant => ({
  service: service as ServiceKey,
  createdAtMs,
});

describe('claims', () => {
  test('the older Service wins, whatever the order of arrival', () => {
    for (const order of [
      ['a/old', 'a/new'],
      ['a/new', 'a/old'],
    ]) {
      const claims = new Claims();
      for (const service of order)
        claims.set(claimant(service, service === 'a/old' ? 1 : 2), ['10.0.0.1:80/TCP']);
      expect(claims.winner('10.0.0.1:80/TCP')).toBe('a/old');
    }
  });

  test('of two Services of one age the smaller name wins', () => {
    const claims = new Claims();
    claims.set(claimant('b/x', 5), ['k']);
    expect(claims.set(claimant('a/x', 5), ['k'])).toEqual(new Set(['b/x']));
    expect(claims.winner('k')).toBe('a/x');
  });

  test('a released address goes to the next in line, who is reported', () => {
    const claims = new Claims();
    claims.set(claimant('a/first', 1), ['k', 'only']);
    claims.set(claimant('a/second', 2), ['k']);
    expect(claims.set(claimant('a/first', 1), ['only'])).toEqual(new Set(['a/second']));
    expect(claims.winner('k')).toBe('a/second');
    expect(claims.winner('only')).toBe('a/first');
  });

  test('a Service that is recreated younger loses what it held', () => {
    const claims = new Claims();
    claims.set(claimant('a/x', 1), ['k']);
    claims.set(claimant('a/y', 2), ['k']);
    expect(claims.set(claimant('a/x', 3), ['k'])).toEqual(new Set(['a/y']));
    expect(claims.winner('k')).toBe('a/y');
  });

  test('any history leaves each address with the smallest of its claimants, and names every Service it changed', () => {
    const step = fc.record({
      service: fc.integer({ min: 0, max: 4 }),
      createdAtMs: fc.integer({ min: 0, max: 3 }),
      keys: fc.uniqueArray(fc.constantFrom('k0', 'k1', 'k2'), { maxLength: 3 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (history) => {
        const claims = new Claims();
        const naive = new Map<string, { createdAtMs: number; keys: string[] }>();
        const naiveWinner = (key: string): string | undefined =>
          [...naive]
            .filter(([, { keys }]) => keys.includes(key))
            .sort(([s, a], [t, b]) => a.createdAtMs - b.createdAtMs || (s < t ? -1 : 1))[0]?.[0];
        for (const { service, createdAtMs, keys } of history) {
          const name = `n/${service}`;
          const before = ['k0', 'k1', 'k2'].map(naiveWinner);
          naive.set(name, { createdAtMs, keys });
          const after = ['k0', 'k1', 'k2'].map(naiveWinner);
          const affected = claims.set(claimant(name, createdAtMs), keys);
          before.forEach((winner, i) => {
            if (winner === after[i]) return;
            for (const changed of [winner, after[i]]) {
              if (changed !== undefined && changed !== name) expect(affected).toContain(changed);
            }
          });
          for (const [i, key] of ['k0', 'k1', 'k2'].entries()) expect(claims.winner(key)).toBe(after[i]);
        }
      }),
    );
  });
});
