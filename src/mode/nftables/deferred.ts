// Endpoint slots and chains that nothing covers any more, waiting for the transaction after next.
// A packet that read a verdict before a commit may read the slot after it; by the next round it has long passed.

import { type ElementChange, elementId } from './element-change.ts';

export interface DeferredChain {
  readonly family: ElementChange['family'];
  readonly name: string;
}

interface Pending<T> {
  readonly item: T;
  /** The round in which it was put here. */
  readonly round: number;
}

export class Deferred {
  readonly #elements = new Map<string, Pending<ElementChange>>();
  readonly #chains = new Map<string, Pending<DeferredChain>>();
  #round = 0;

  get size(): number {
    return this.#elements.size + this.#chains.size;
  }

  /** Puts off the deletion of a slot. */
  addElement(change: ElementChange): void {
    this.#elements.set(elementId(change), { item: change, round: this.#round });
  }

  /** Puts off the deletion of a chain. */
  addChain(chain: DeferredChain): void {
    this.#chains.set(chainKey(chain), { item: chain, round: this.#round });
  }

  /** Takes back the deletion of a chain that is wanted again; true when it was pending, so it still exists. */
  reviveChain(chain: DeferredChain): boolean {
    return this.#chains.delete(chainKey(chain));
  }

  /**
   * What writing `change` means while its slot still waits to be deleted: a replacement, or nothing at all when the
   * slot already holds the wanted value.
   */
  revive(change: ElementChange): ElementChange | undefined {
    const id = elementId(change);
    const pending = this.#elements.get(id);
    if (pending === undefined || change.before !== undefined) return change;
    this.#elements.delete(id);
    const before = pending.item.before;
    return before === change.after ? undefined : { ...change, before };
  }

  /** What was put off before the previous call of `take`; younger deletions stay for the next one. */
  take(): { elements: ElementChange[]; chains: DeferredChain[] } {
    const ripe = { elements: takeRipe(this.#elements, this.#round), chains: takeRipe(this.#chains, this.#round) };
    this.#round++;
    return ripe;
  }

  clear(): void {
    this.#elements.clear();
    this.#chains.clear();
  }
}

function chainKey(chain: DeferredChain): string {
  return `${chain.family} ${chain.name}`;
}

function takeRipe<T>(pending: Map<string, Pending<T>>, round: number): T[] {
  const ripe: T[] = [];
  for (const [id, { item, round: since }] of pending) {
    if (since >= round) continue;
    ripe.push(item);
    pending.delete(id);
  }
  return ripe;
}
