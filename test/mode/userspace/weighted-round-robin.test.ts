// Turns: the right share of them, spread, and undisturbed by endpoints that come and go.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WeightedRoundRobin } from '../../../src/mode/userspace/weighted-round-robin.ts';
import type { Backend } from '../../../src/vip/frontend.ts';
import { backend } from '../../support/frontends.ts';

const NONE: ReadonlySet<string> = new Set();
const one = (name: string, weight = 1): Backend => backend(`10.0.0.${name}:80*${weight}`);
const textOf = ({ ip }: Backend): string => ip.slice(7);

function turnsOf(...backends: Backend[]): WeightedRoundRobin {
  const turns = new WeightedRoundRobin();
  turns.set(backends);
  return turns;
}

/** The last parts of the addresses whose turn it is, one after the other. */
function row(turns: WeightedRoundRobin, count: number, excluded = NONE): string {
  return Array.from({ length: count }, () => textOf(turns.next(excluded)!)).join('');
}

describe('turns', () => {
  test('equal weights: one after the other', () => {
    expect(row(turnsOf(one('1'), one('2'), one('3')), 7)).toBe('1231231');
  });

  test('weights: their share, spread', () => {
    expect(row(turnsOf(one('1', 5), one('2'), one('3')), 14)).toBe('11213111121311');
  });

  test('nobody', () => {
    expect(turnsOf().next(NONE)).toBeUndefined();
    expect(turnsOf(one('1')).next(new Set(['10.0.0.1:80']))).toBeUndefined();
  });

  test('one more does not begin the round anew, nor does one less', () => {
    const turns = turnsOf(one('1'), one('2'), one('3'), one('4'));
    expect(row(turns, 2)).toBe('12');
    turns.set([one('1'), one('2'), one('3'), one('4'), one('5')]);
    expect(row(turns, 2)).toBe('34');
    turns.set([one('2'), one('3'), one('4'), one('5')]);
    expect(row(turns, 2)).toMatch(/^(52|25)$/);
  });

  test('who was in the shadow of a heavy one has no turns in a row when that is gone', () => {
    const turns = turnsOf(one('1', 100), one('2'), one('3'));
    row(turns, 52);
    turns.set([one('2'), one('3')]);
    expect(row(turns, 6)).toMatch(/^.{0,3}(232|323)$/);
  });
});

test('every endpoint has its share from any moment on, whatever came and went before', () => {
  const endpoints = fc.uniqueArray(
    fc.record({ name: fc.integer({ min: 1, max: 9 }), weight: fc.integer({ min: 1, max: 100 }) }),
    { selector: ({ name }) => name, minLength: 1, maxLength: 9 },
  );
  const history = fc.array(fc.tuple(endpoints, fc.integer({ min: 0, max: 300 })), { maxLength: 5 });
  fc.assert(
    fc.property(history, endpoints, fc.integer({ min: 1, max: 400 }), (steps, last, count) => {
      const turns = new WeightedRoundRobin();
      const set = (list: typeof last): void =>
        turns.set(list.map(({ name, weight }) => one(`${name}`, weight)));
      for (const [list, turnsTaken] of steps) {
        set(list);
        row(turns, turnsTaken);
      }
      set(last);
      const taken = row(turns, count);
      const total = last.reduce((sum, { weight }) => sum + weight, 0);
      for (const { name, weight } of last) {
        const got = [...taken].filter((text) => text === `${name}`).length;
        expect(Math.abs(got - (count * weight) / total)).toBeLessThanOrEqual(4);
      }
    }),
    { numRuns: 300 },
  );
});

test('a round of a fresh start is exact', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 }), (weights) => {
      const turns = turnsOf(...weights.map((weight, i) => one(`${i + 1}`, weight)));
      const taken = row(
        turns,
        weights.reduce((sum, weight) => sum + weight, 0),
      );
      weights.forEach((weight, i) => {
        expect([...taken].filter((text) => text === `${i + 1}`)).toHaveLength(weight);
      });
    }),
    { numRuns: 100 },
  );
});
