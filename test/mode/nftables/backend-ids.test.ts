// Ids of backends: one each, for life, and the same after it.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assignBackendIds, type BackendIds, isBackendId } from '../../../src/mode/nftables/backend-ids.ts';
import { packEndpoint, packHostU32 } from '../../../src/mode/nftables/names.ts';
import type { Ip } from '../../../src/model/ip.ts';

const NONE: BackendIds = new Map();
const endpoint = (n: number): string => packEndpoint(`10.1.${n >> 8}.${n & 255}` as Ip, 80);
const endpoints = fc.uniqueArray(fc.nat(40).map(endpoint), { maxLength: 20 });

describe('assignBackendIds', () => {
  test('whoever lives keeps its id, nobody gets one that somebody had, and no id leads to two backends', () => {
    fc.assert(
      fc.property(fc.array(endpoints, { maxLength: 10 }), (history) => {
        let previous = NONE;
        for (const wanted of history) {
          const ids = assignBackendIds(previous, wanted);
          expect([...ids.keys()]).toEqual(wanted);
          expect(new Set(ids.values()).size).toBe(wanted.length);
          expect([...ids.values()].every(isBackendId)).toBe(true);
          const before = new Map([...previous].map(([one, id]) => [id, one]));
          for (const [one, id] of ids) expect(before.get(id) ?? one).toBe(one);
          for (const [one, id] of previous) if (ids.has(one)) expect(ids.get(one)).toBe(id);
          previous = ids;
        }
      }),
    );
  });

  test('whoever comes back is who it was, whatever happened meanwhile', () => {
    const first = assignBackendIds(NONE, [1, 2, 3].map(endpoint));
    const other = assignBackendIds(first, [4, 5].map(endpoint));
    expect([...assignBackendIds(other, [3, 2, 1].map(endpoint))].sort()).toEqual([...first].sort());
  });

  test('two backends of one hash get along', () => {
    const [a, b] = [endpoint(1), endpoint(2)];
    const id = assignBackendIds(NONE, [a]).get(a)!;
    // Somebody had the id of `a` before it came, and goes when it comes: not even then.
    const taken = assignBackendIds(new Map([[b, id]]), [a]);
    expect(taken.get(a)).not.toBe(id);
    const both = assignBackendIds(new Map([[b, id]]), [a, b]);
    expect(both.get(b)).toBe(id);
    expect(both.get(a)).not.toBe(id);
    // And it stays so when the other one has gone.
    expect(assignBackendIds(both, [a]).get(a)).toBe(both.get(a));
  });

  test('ids are no slots, and not none', () => {
    const numbers = [0, 1, 65_535, 2 ** 31, 2 ** 32 - 1];
    expect(numbers.map((number) => isBackendId(packHostU32(number)))).toEqual(numbers.map(() => false));
    expect(isBackendId('')).toBe(false);
    expect([65_536, 2 ** 31 - 1].map((number) => isBackendId(packHostU32(number)))).toEqual([true, true]);
  });
});
