// Endpoint slots, chains and stray sets that nothing covers any more, waiting for the transaction after next.
// A packet that read a frontend's element before a commit may read the slot after it; by the next round it has passed.

import type { IpFamily } from '../../model/ip.ts';
import { type ElementChange, elementId } from './element-change.ts';

/** A chain, or a set of somebody else, that is to go. */
export interface DeferredObject {
  readonly kind: 'chain' | 'set';
  readonly family: IpFamily;
  readonly name: string;
}

interface Pending<T> {
  readonly item: T;
  /** The round in which it was put here. */
  readonly round: number;
}

export class Deferred {
  readonly #elements = new Map<string, Pending<ElementChange>>();
  readonly #objects = new Map<string, Pending<DeferredObject>>();
  #round = 0;

  get size(): number {
    return this.#elements.size + this.#objects.size;
  }

  /** Puts off the deletion of a slot. */
  addElement(change: ElementChange): void {
    this.#elements.set(elementId(change), { item: change, round: this.#round });
  }

  /** Puts off the deletion of a chain or set. */
  addObject(object: DeferredObject): void {
    this.#objects.set(objectKey(object), { item: object, round: this.#round });
  }

  /** Takes back the deletion of what is wanted again; true when it was pending, so it still exists. */
  reviveObject(object: DeferredObject): boolean {
    return this.#objects.delete(objectKey(object));
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
  take(): { elements: ElementChange[]; objects: DeferredObject[] } {
    const ripe = {
      elements: takeRipe(this.#elements, this.#round),
      objects: takeRipe(this.#objects, this.#round),
    };
    this.#round++;
    return ripe;
  }

  clear(): void {
    this.#elements.clear();
    this.#objects.clear();
  }
}

function objectKey({ kind, family, name }: DeferredObject): string {
  return `${kind} ${family} ${name}`;
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
