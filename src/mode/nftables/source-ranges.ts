// The set `source-ranges`: per restricted frontend, where its clients must come from. An element is a range of one
// frontend's key followed by the first address, to the same followed by the last one.
//
// The kernel (nft_set_pipapo.c) refuses a range whose first or last key lies in another one, but not one that encloses it;
// and it deletes whatever range the first key lies in. So what overlaps is deleted first, in the same transaction.

import { type Cidr, type IpFamily, ipBytes } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { ElementChange } from './element-change.ts';

/** First key → last key. */
export type RangeElements = ReadonlyMap<string, string>;

const NO_RANGES: RangeElements = new Map();

/** The ranges of a frontend. None of `cidrs` may lie in another. */
export function rangeElements(frontendKey: string, cidrs: readonly Cidr[]): RangeElements {
  return new Map(
    cidrs.map(({ ip, prefix }) => {
      const first = ipBytes(ip);
      const last = first.map((byte, i) => byte | (0xff >> Math.min(Math.max(prefix - i * 8, 0), 8)));
      return [frontendKey + String.fromCharCode(...first), frontendKey + String.fromCharCode(...last)];
    }),
  );
}

/** Whose ranges they are. */
export interface RangeOwner {
  readonly family: IpFamily;
  readonly service: ServiceKey;
  /** Mark of the frontend's other changes. */
  readonly together: string;
}

/**
 * Deletions, then replacements, then additions: in this order nothing overlaps, be it cut anywhere. Replacements go from
 * low addresses to high ones: a range that somebody else has put around others begins before them.
 */
export function rangeChanges(
  { family, service, together }: RangeOwner,
  before: RangeElements = NO_RANGES,
  after: RangeElements = NO_RANGES,
): ElementChange[] {
  const deletions: ElementChange[] = [];
  const replacements: ElementChange[] = [];
  const additions: ElementChange[] = [];
  const change = (key: string): ElementChange => ({
    family,
    set: 'source-ranges',
    key,
    before: before.get(key),
    after: after.get(key),
    service,
    together,
  });
  for (const key of before.keys()) if (!after.has(key)) deletions.push(change(key));
  for (const [key, last] of after) {
    if (before.get(key) === last) continue;
    (before.has(key) ? replacements : additions).push(change(key));
  }
  replacements.sort((a, b) => (a.key < b.key ? -1 : 1));
  return [...deletions, ...replacements, ...additions];
}

/** What the kernel was seen to hold of the set in one family, by frontend. */
export class SeenRanges {
  /** Ranges over more than one frontend, which only somebody else can have written. */
  readonly foreign: ReadonlyMap<string, string>;
  readonly #byFrontend = new Map<string, Map<string, string>>();
  readonly #elements: Map<string, string>;

  /** Takes elements out of `elements` as they are asked for; the foreign ones at once. */
  constructor(family: IpFamily, elements: Map<string, string>) {
    this.#elements = elements;
    const foreign = new Map<string, string>();
    const addressLength = family === 4 ? 4 : 16;
    for (const [key, last] of elements) {
      const frontendKey = key.slice(0, -addressLength);
      if (frontendKey === '' || !last.startsWith(frontendKey)) {
        foreign.set(key, last);
        elements.delete(key);
        continue;
      }
      const ranges = this.#byFrontend.get(frontendKey);
      if (ranges === undefined) this.#byFrontend.set(frontendKey, new Map([[key, last]]));
      else ranges.set(key, last);
    }
    this.foreign = foreign;
  }

  /** The ranges of a frontend; none when it is asked for again. */
  take(frontendKey: string): RangeElements {
    const ranges = this.#byFrontend.get(frontendKey) ?? NO_RANGES;
    this.#byFrontend.delete(frontendKey);
    for (const key of ranges.keys()) this.#elements.delete(key);
    return ranges;
  }
}
