// Counts of connections outlive the element that they are in.

import { KernelError } from '../errors.ts';
import { type ElementChange, groupBySet, isCounted } from '../mode/nftables/element-change.ts';
import type { Counter } from '../netlink/nftables/element.ts';
import type { NftSession } from './nft-session.ts';

/** A replaced element starts with the count of the one it replaces, as of now. */
export async function withCounters(
  session: Pick<NftSession, 'counters'>,
  changes: readonly ElementChange[],
): Promise<readonly ElementChange[]> {
  const counters = new Map<ElementChange, Counter>();
  for (const group of groupBySet(changes.filter(isCounted))) {
    const { family, set } = group[0]!;
    const keys = group.map(({ key }) => key);
    try {
      const counted = await session.counters(family, set, keys);
      for (const change of group) {
        const counter = counted.get(change.key);
        if (counter !== undefined) counters.set(change, counter);
      }
    } catch (error) {
      // Somebody took an element away: the commit will say so and lead to a full comparison.
      if (!(error instanceof KernelError)) throw error;
    }
  }
  if (counters.size === 0) return changes;
  return changes.map((change) => {
    const counter = counters.get(change);
    return counter === undefined ? change : { ...change, counter };
  });
}
