// How changes are cut into transactions: nothing lost, nothing too large, nothing torn apart that belongs together.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ElementChange } from '../../../src/mode/nftables/element-change.ts';
import { TABLE } from '../../../src/mode/nftables/names.ts';
import {
  chunkChanges,
  elementTransaction,
  estimateBytes,
  splitTransaction,
  structureTransaction,
} from '../../../src/mode/nftables/transaction.ts';
import { encodeBatch, type NftRequest } from '../../../src/netlink/nftables/batch.ts';

const change = fc
  .record({
    set: fc.constantFrom('services' as const, 'source-ranges' as const, 'service-cidrs' as const),
    key: fc.string({ minLength: 40, maxLength: 40, unit: 'binary-ascii' }),
    isDeleted: fc.boolean(),
    isAdded: fc.boolean(),
    mark: fc.constantFrom(undefined, 'a', 'b'),
  })
  .map(
    ({ set, key, isDeleted, isAdded, mark }): ElementChange => ({
      family: 6,
      set,
      key,
      before: isDeleted ? key : undefined,
      after: isAdded || !isDeleted ? key : undefined,
      service: undefined,
      ...(mark !== undefined && { together: mark }),
    }),
  );

/** Runs of changes that bear the same mark. */
function runs(changes: readonly ElementChange[]): ElementChange[][] {
  const list: ElementChange[][] = [];
  for (const one of changes) {
    const last = list.at(-1);
    if (last !== undefined && one.together !== undefined && one.together === last[0]!.together)
      last.push(one);
    else list.push([one]);
  }
  return list;
}

const bytesOf = (changes: readonly ElementChange[]): number =>
  changes.reduce((sum, one) => sum + estimateBytes(one), 0);

describe('chunkChanges', () => {
  test('loses nothing, keeps the order and the limit, and parts only runs that are larger than it', () => {
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 30 }),
        fc.integer({ min: 1, max: 2000 }),
        (changes, limit) => {
          const chunks = [...chunkChanges(changes, limit)];
          expect(chunks.flat()).toEqual(changes);
          for (const chunk of chunks)
            if (chunk.length !== 1) expect(bytesOf(chunk)).toBeLessThanOrEqual(limit);
          for (const run of runs(changes)) {
            if (bytesOf(run) > limit) continue;
            expect(chunks.filter((chunk) => run.some((one) => chunk.includes(one)))).toHaveLength(1);
          }
        },
      ),
    );
  });

  test('a change takes no more bytes than it is taken for', () => {
    fc.assert(
      fc.property(change, (one) => {
        const length = (list: readonly ElementChange[]) =>
          encodeBatch(elementTransaction(list, TABLE).requests, { firstSeq: 1 }).bytes.length;
        expect(length([one, one]) - length([one])).toBeLessThanOrEqual(estimateBytes(one));
      }),
    );
  });
});

describe('splitTransaction', () => {
  const at = { family: 'ip', table: 't' } as const;

  test('never parts a chain that is flushed from its rules', () => {
    const chain = fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd'), ruleCount: fc.nat(4) });
    fc.assert(
      fc.property(fc.array(chain, { maxLength: 6 }), (chains) => {
        const requests = chains.flatMap(({ name, ruleCount }, i): NftRequest[] => [
          { op: 'flushChain', ...at, chain: `${name}${i}` },
          ...Array.from(
            { length: ruleCount },
            (): NftRequest => ({ op: 'addRule', ...at, chain: `${name}${i}`, expressions: [] }),
          ),
        ]);
        const split = splitTransaction(structureTransaction(requests));
        expect(split === undefined).toBe(chains.length < 2);
        if (split === undefined) return;
        const [first, second] = split.map((part) => part.requests) as [NftRequest[], NftRequest[]];
        expect([...first, ...second]).toEqual(requests);
        expect(second[0]).toMatchObject({ op: 'flushChain' });
        expect(first.length).toBeGreaterThan(0);
      }),
    );
  });

  test('parts the rules of new chains, of which there may be many', () => {
    const chains = Array.from({ length: 50 }, (_, i) => `c${i}`);
    const requests = [
      ...chains.map((chain): NftRequest => ({ op: 'addChain', ...at, chain })),
      ...chains.map((chain): NftRequest => ({ op: 'addRule', ...at, chain, expressions: [] })),
    ];
    let parts = [structureTransaction(requests)];
    for (let i = 0; i < 7; i++) parts = parts.flatMap((part) => splitTransaction(part) ?? [part]);
    expect(Math.max(...parts.map((part) => part.requests.length))).toBeLessThanOrEqual(2);
  });
});
