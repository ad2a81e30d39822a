// Slot assignment: a permutation of what is wanted that moves as little as possible.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assignSlots } from '../../../src/mode/nftables/slots.ts';

describe('assignSlots', () => {
  test.each([
    ['nothing before: in order', [], ['a', 'b'], ['a', 'b']],
    ['unchanged: stays', ['b', 'a'], ['a', 'b'], ['b', 'a']],
    ['one more: appended', ['b', 'a'], ['a', 'b', 'c'], ['b', 'a', 'c']],
    ['first removed: the last moves into the hole', ['a', 'b', 'c'], ['b', 'c'], ['c', 'b']],
    ['last removed: nothing moves', ['a', 'b', 'c'], ['a', 'b'], ['a', 'b']],
    ['one replaced: in place', ['a', 'b', 'c'], ['a', 'c', 'x'], ['a', 'x', 'c']],
    ['all gone', ['a'], [], []],
    ['repetitions are weights', ['a'], ['a', 'a', 'b'], ['a', 'a', 'b']],
  ])('%s', (_, previous, wanted, expected) => {
    expect(assignSlots(previous, wanted)).toEqual(expected);
  });

  test('places every wanted value once and keeps all that may stay', () => {
    const values = fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), { maxLength: 12 });
    fc.assert(
      fc.property(values, values, (previous, wanted) => {
        const slots = assignSlots(previous, wanted);
        expect([...slots].sort()).toEqual([...wanted].sort());
        const left = [...wanted];
        const mayStay = previous.slice(0, wanted.length).filter((value) => {
          const at = left.indexOf(value);
          if (at >= 0) left.splice(at, 1);
          return at >= 0;
        }).length;
        const stayed = slots.filter((value, i) => value === previous[i]).length;
        expect(stayed).toBeGreaterThanOrEqual(mayStay);
      }),
    );
  });
});
