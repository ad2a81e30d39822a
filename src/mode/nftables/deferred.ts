// Endpoint slots, chains and stray sets that nothing covers any more, waiting for the transaction after next.
// A packet that read a frontend's element before a commit may read the slot after it; by the next round it has passed.

import type { IpFamily } from '../../model/ip.ts';
import { type ElementChange, elementId, sideOf } from './element-change.ts';
import { PICKED_SETS } from './names.ts';

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
  /** Ids of the elements of `picked` sets among these, per side of a frontend. */
  readonly #pickedBySide = new Map<string, Set<string>>();
  #round = 0;

  get size(): number {
    return this.#elements.size + this.#objects.size;
  }

  /** Puts off the deletion of a slot. */
  addElement(change: ElementChange): void {
    const id = elementId(change);
    this.#elements.set(id, { item: change, round: this.#round });
    if (!PICKED_SETS.has(change.set)) return;
    const side = sideOf(change);
    const ids = this.#pickedBySide.get(side);
    if (ids === undefined) this.#pickedBySide.set(side, new Set([id]));
    else ids.add(id);
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
    this.#removeElement(id, pending.item);
    const before = pending.item.before;
    return before === change.after ? undefined : { ...change, before };
  }

  /**
   * Backends that wait to be forgotten by the sides of frontends that `changes` give backends with ids again: who sticks to
   * one of them must miss it from now on.
   */
  revokePicked(changes: readonly ElementChange[]): ElementChange[] {
    if (this.#pickedBySide.size === 0) return [];
    const revoked: ElementChange[] = [];
    for (const change of changes) {
      if (change.after === undefined || !PICKED_SETS.has(change.set)) continue;
      const side = sideOf(change);
      for (const id of this.#pickedBySide.get(side) ?? []) {
        revoked.push({ ...this.#elements.get(id)!.item, isRevocation: true });
        this.#elements.delete(id);
      }
      this.#pickedBySide.delete(side);
    }
    return revoked;
  }

  /** What was put off before the previous call of `take`; younger deletions stay for the next one. */
  take(): { elements: ElementChange[]; objects: DeferredObject[] } {
    const elements = ripe(this.#elements, this.#round);
    for (const change of elements) this.#removeElement(elementId(change), change);
    const objects = ripe(this.#objects, this.#round);
    for (const object of objects) this.#objects.delete(objectKey(object));
    this.#round++;
    return { elements, objects };
  }

  #removeElement(id: string, change: ElementChange): void {
    this.#elements.delete(id);
    if (!PICKED_SETS.has(change.set)) return;
    const side = sideOf(change);
    const ids = this.#pickedBySide.get(side);
    ids?.delete(id);
    if (ids?.size === 0) this.#pickedBySide.delete(side);
  }

  clear(): void {
    this.#elements.clear();
    this.#pickedBySide.clear();
    this.#objects.clear();
  }
}

function objectKey({ kind, family, name }: DeferredObject): string {
  return `${kind} ${family} ${name}`;
}

function ripe<T>(pending: ReadonlyMap<string, Pending<T>>, round: number): T[] {
  return [...pending.values()].filter(({ round: since }) => since < round).map(({ item }) => item);
}
