// A comparison of everything, some chains at a time: what is to be changed meanwhile does not wait for its end. Knows only what
// was handed out; what to do about it is up to the backend.

import type { Delta, Desired } from '../../mode/iptables/desired.ts';
import { isOwnChain } from '../../mode/iptables/names.ts';
import { type ChainPlace, chainId, type PlannedChain } from '../../mode/iptables/planned-chain.ts';
import type { IpFamily } from '../../model/ip.ts';
import type { ChainsByFamily } from './tables.ts';

export class Comparison {
  /** By family, in the order in which they can be written. */
  readonly #left: [IpFamily, Iterator<PlannedChain>][];
  readonly #seen: ReadonlyMap<IpFamily, Set<string>>;
  readonly #written: ReadonlyMap<IpFamily, Set<string>>;

  constructor(desired: ReadonlyMap<IpFamily, Desired>) {
    this.#left = [...desired].map(([family, one]) => [family, one.chains()]);
    this.#seen = new Map([...desired.keys()].map((family) => [family, new Set()]));
    this.#written = new Map([...desired.keys()].map((family) => [family, new Set()]));
  }

  /** Chains that were written, or deleted, while this goes on: what was planned of them before is no longer true. */
  note(family: IpFamily, { added, edited, removed }: Delta): void {
    const written = this.#written.get(family)!;
    for (const places of [added, edited, removed]) for (const place of places) written.add(chainId(place));
  }

  /** Up to `count` chains of one family to compare next; undefined when it was all of them. */
  take(count: number): { family: IpFamily; wanted: readonly PlannedChain[] } | undefined {
    for (let first = this.#left[0]; first !== undefined; first = this.#left[0]) {
      const [family, chains] = first;
      const wanted: PlannedChain[] = [];
      while (wanted.length < count) {
        const { done, value } = chains.next();
        if (done) break;
        this.#seen.get(family)!.add(chainId(value));
        if (!this.#written.get(family)!.has(chainId(value))) wanted.push(value);
      }
      if (wanted.length > 0) return { family, wanted };
      this.#left.shift();
    }
    return undefined;
  }

  /** Those to compare last: then nobody else is concerned. */
  get written(): ChainsByFamily {
    return this.#written;
  }

  /** Of the chains there are, those with names of ours that nobody wants. */
  strays(family: IpFamily, places: readonly ChainPlace[]): ChainPlace[] {
    return places.filter((place) => {
      const id = chainId(place);
      const isKnown = this.#seen.get(family)!.has(id) || this.#written.get(family)!.has(id);
      return !isKnown && isOwnChain(place.table, place.name);
    });
  }
}
