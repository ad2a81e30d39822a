// What packets leave behind in the rules that they pass, for those that come later: elements that rules add to sets, and
// the counters of `numgen inc`. Follows nft_dynset.c, nft_set_hash.c and nft_numgen.c.

import type { Element } from '../../src/netlink/nftables/element.ts';
import type { Dynset } from '../../src/netlink/nftables/expression/dynset.ts';
import type { Expression } from '../../src/netlink/nftables/expression.ts';
import type { TracedSet } from './nft-ruleset.ts';

interface Learned {
  readonly data: string | undefined;
  /** Infinity without a timeout. */
  readonly expiresAtMs: number;
}

export class PacketState {
  #nowMs = 0;
  /** Shared with others until it is written. */
  readonly #learned = new Map<TracedSet, Map<string, Learned>>();
  readonly #owned = new Set<TracedSet>();
  /** By the expression in its rule: a rule that is written anew begins anew. */
  readonly #counters = new Map<Expression, number>();

  /** One that may go its own way. */
  fork(): PacketState {
    const other = new PacketState();
    other.#nowMs = this.#nowMs;
    for (const [set, learned] of this.#learned) other.#learned.set(set, learned);
    this.#owned.clear();
    for (const [expression, value] of this.#counters) other.#counters.set(expression, value);
    return other;
  }

  /** Time passes: what expires meanwhile is gone. */
  wait(seconds: number): void {
    this.#nowMs += seconds * 1000;
  }

  find(set: TracedSet, key: string): Element | undefined {
    const learned = this.#live(set, key);
    return learned === undefined
      ? undefined
      : { key, ...(learned.data !== undefined && { data: learned.data }) };
  }

  *elements(set: TracedSet): Generator<Element> {
    for (const key of this.#learned.get(set)?.keys() ?? []) {
      const element = this.find(set, key);
      if (element !== undefined) yield element;
    }
  }

  /** False when there is none. */
  delete(set: TracedSet, key: string): boolean {
    return this.#live(set, key) !== undefined && this.#own(set).delete(key);
  }

  forget(set: TracedSet): void {
    this.#learned.delete(set);
  }

  /**
   * Adds an element; one that is there stays as it is, but an update gives it its whole time again. False when the set
   * is full.
   */
  add(set: TracedSet, key: string, data: string | undefined, { op, timeoutMs }: Dynset): boolean {
    const { declaration } = set;
    const { flags, isMap, size } = declaration;
    if (!flags.dynamic) throw new Error('the set is not dynamic');
    if ((timeoutMs !== undefined || op === 'update') && !flags.timeout)
      throw new Error('the set has no timeouts');
    if (isMap !== (data !== undefined)) throw new Error('a map takes a value, a set none');
    const lifetimeMs = timeoutMs ?? declaration.timeoutMs ?? Number.POSITIVE_INFINITY;
    const present = this.#live(set, key);
    const elements = this.#own(set);
    if (present !== undefined) {
      if (op === 'update') elements.set(key, { ...present, expiresAtMs: this.#nowMs + lifetimeMs });
      return true;
    }
    if (size !== undefined && elements.size >= size) return false;
    elements.set(key, { data, expiresAtMs: this.#nowMs + lifetimeMs });
    return true;
  }

  /** The first is 0. */
  count(expression: Expression, modulus: number): number {
    const value = this.#counters.get(expression) ?? 0;
    this.#counters.set(expression, (value + 1) % modulus);
    return value;
  }

  /** Equal for states that are. */
  get fingerprint(): string {
    return JSON.stringify([
      [...this.#learned.values()].map((learned) => [...learned].sort()),
      [...this.#counters.values()],
    ]);
  }

  #own(set: TracedSet): Map<string, Learned> {
    const present = this.#learned.get(set);
    if (present !== undefined && this.#owned.has(set)) return present;
    const own = new Map(present);
    this.#learned.set(set, own);
    this.#owned.add(set);
    return own;
  }

  #live(set: TracedSet, key: string): Learned | undefined {
    const learned = this.#learned.get(set)?.get(key);
    return learned === undefined || learned.expiresAtMs <= this.#nowMs ? undefined : learned;
  }
}
