// Ids that are given out: one per chain, none to two, learnt again from whatever the kernel holds.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { packHostU32, type SetName, unpackHostU32 } from '../../../src/mode/nftables/names.ts';
import { noElements, type ObservedTable } from '../../../src/mode/nftables/observed.ts';
import { type Shape, shapeChain } from '../../../src/mode/nftables/shape.ts';
import { ShapeIds } from '../../../src/mode/nftables/shape-ids.ts';

const shape = (slotCount: number, side: 'all' | 'inside' = 'all'): Shape => ({
  keyedBy: 'vip',
  side,
  slotCount,
  masquerade: 'never',
  hasInside: false,
  isRestricted: false,
  whenEmpty: 'refuse',
  balancing: { scheduler: 'sh', stickySeconds: undefined, instance: undefined },
});
const id = (number: number): string => packHostU32((0x80000000 | number) >>> 0);

function table(set: SetName, entries: Iterable<readonly [id: string, chain: string]>): ObservedTable {
  const elements = noElements();
  elements.set(set, new Map(entries));
  return {
    isDormant: false,
    isPersistent: false,
    owner: undefined,
    sets: new Map(),
    chains: new Map(),
    elements,
    counters: new Map(),
  };
}

describe('ShapeIds', () => {
  test('gives each chain an id of its own, and always the same', () => {
    const ids = new ShapeIds();
    const given = Array.from({ length: 100 }, (_, n) => ids.idOf(4, shape(n + 1)));
    expect(new Set(given).size).toBe(100);
    expect(given.every((one) => unpackHostU32(one) >= 2 ** 31)).toBe(true);
    expect(given).toEqual(Array.from({ length: 100 }, (_, n) => ids.idOf(4, shape(n + 1))));
  });

  test('learns what is in the kernel, of its own map only', () => {
    const ids = new ShapeIds();
    ids.learn(
      4,
      table('shapes', [
        [id(7), 'sh-3'],
        [id(9), 'inside-sh-4'],
      ]),
      [],
    );
    expect(ids.idOf(4, shape(3))).toBe(id(7));
    expect(ids.idOf(6, shape(3))).not.toBe(id(7));
    expect(ids.idOf(4, shape(4, 'inside'))).not.toBe(id(9));
  });

  test('an id that was taken back is not given out again at once', () => {
    const ids = new ShapeIds();
    const first = ids.idOf(4, shape(1));
    ids.forget(4, shape(1));
    expect(ids.hasId(4, shape(1), first)).toBe(false);
    expect(ids.idOf(4, shape(2))).not.toBe(first);
    expect(ids.idOf(4, shape(1))).not.toBe(first);
  });

  test('behind the last id comes the first that is free', () => {
    const ids = new ShapeIds();
    ids.learn(
      4,
      table('shapes', [
        [id(0x7fffffff), 'mine'],
        [id(0), 'mine'],
        [id(1), 'sh-9'],
      ]),
      [],
    );
    expect(ids.idOf(4, shape(3))).toBe(id(2));
  });

  test('whatever the kernel holds: no id for two chains, none that is somebody else’s, and what is in use stays', () => {
    const chain = fc.constantFrom('sh-1', 'sh-2', 'sh-3', 'inside-sh-1', 'pick-3', 'refuse', 'mine', 'jump');
    const entries = fc.uniqueArray(
      fc.tuple(fc.oneof(fc.nat(5).map(id), fc.constantFrom(id(0x7fffffff), packHostU32(7))), chain),
      { maxLength: 8, selector: ([key]) => key },
    );
    fc.assert(
      fc.property(entries, fc.subarray([1, 2, 3, 4]), (seen, inUse) => {
        const ids = new ShapeIds();
        const kept = inUse.map((n) => [shape(n), ids.idOf(4, shape(n))] as const);
        ids.learn(
          4,
          table('shapes', seen),
          inUse.map((n) => shape(n)),
        );
        for (const [one, given] of kept) expect(ids.idOf(4, one)).toBe(given);
        const all = [1, 2, 3, 4, 5].map((n) => shape(n));
        const given = all.map((one) => ids.idOf(4, one));
        expect(new Set(given).size).toBe(all.length);
        for (const [i, one] of all.entries()) {
          const present = seen.find(([key]) => key === given[i])?.[1];
          if (!inUse.includes(i + 1)) expect(present ?? shapeChain(one)).toBe(shapeChain(one));
        }
      }),
    );
  });
});
