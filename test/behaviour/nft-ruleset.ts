// A table of nf_tables as the kernel holds it, in plain objects: what the tracer walks. Follows
// net/netfilter/nf_tables_api.c and nft_set_*.c; what the kernel would refuse, or what is not known here, is an error.

import type { ChainBase } from '../../src/netlink/nftables/chain.ts';
import type { Element } from '../../src/netlink/nftables/element.ts';
import type { Expression } from '../../src/netlink/nftables/expression.ts';
import type { SetDeclaration } from '../../src/netlink/nftables/set.ts';
import type { Verdict } from '../../src/netlink/nftables/verdict.ts';

export interface TracedRule {
  readonly handle: bigint;
  readonly expressions: readonly Expression[];
}

export interface TracedChain {
  readonly base: ChainBase | undefined;
  readonly rules: TracedRule[];
}

const KNOWN_FLAGS: ReadonlySet<string> = new Set(['interval', 'concat', 'timeout', 'dynamic']);

/** A set with what was put in from outside; what packets put in is a part of PacketState. */
export class TracedSet {
  readonly declaration: SetDeclaration;
  readonly #elements = new Map<string, Element>();

  constructor(declaration: SetDeclaration) {
    const foreign = Object.keys(declaration.flags).filter((flag) => !KNOWN_FLAGS.has(flag));
    if (foreign.length > 0) throw new Error(`set flags ${foreign} are not traced`);
    if (declaration.flags.interval && declaration.isMap) throw new Error('interval maps are not traced');
    this.declaration = declaration;
  }

  get elements(): Iterable<Element> {
    return this.#elements.values();
  }

  add(element: Element): void {
    const { key, keyEnd } = element;
    const { keyLength, flags } = this.declaration;
    const isRanged = flags.interval === true && flags.concat === true;
    if (keyEnd !== undefined && !isRanged) throw new Error('a range in a set that has none');
    for (const one of [key, keyEnd ?? key])
      if (one !== '' && one.length !== keyLength) throw new Error(`key of ${one.length} bytes`);
    // nft_pipapo_insert looks at both ends only: a range around another one is taken.
    if (isRanged && !this.#elements.has(idOf(element)) && (this.#search(key) ?? this.#search(keyEnd ?? key)))
      throw new Error('ranges overlap');
    this.#elements.set(idOf(element), element);
  }

  delete(element: Element): void {
    if (!this.#elements.delete(idOf(element))) throw new Error('deletes an element that is not there');
  }

  clear(): void {
    this.#elements.clear();
  }

  /** The element of exactly this key and kind. */
  get(element: Element): Element | undefined {
    return this.#elements.get(idOf(element));
  }

  *verdicts(): Generator<Verdict> {
    for (const { verdict } of this.#elements.values()) if (verdict !== undefined) yield verdict;
  }

  /** The element that a packet's key is found by; the catch-all where there is no other. */
  find(key: string): Element | undefined {
    return this.#search(key) ?? this.#elements.get(' ');
  }

  #search(key: string): Element | undefined {
    const { flags, fieldLengths = [] } = this.declaration;
    if (!flags.interval) return this.#elements.get(` ${key}`);
    if (flags.concat) {
      for (const element of this.#elements.values()) {
        if (element.key !== '' && isInRange(key, element.key, element.keyEnd ?? element.key, fieldLengths))
          return element;
      }
      return undefined;
    }
    // Intervals are pairs of elements: the nearest below counts, unless it ends an interval.
    let nearest: Element | undefined;
    for (const element of this.#elements.values()) {
      if (element.key <= key && (nearest === undefined || element.key > nearest.key)) nearest = element;
    }
    return nearest?.isIntervalEnd ? undefined : nearest;
  }
}

/** One interval may end where the next begins. */
function idOf({ key, isIntervalEnd }: Element): string {
  return `${isIntervalEnd ? 'end' : ''} ${key}`;
}

/** A concatenation is in a range when each of its fields is (nft_set_pipapo.c). */
function isInRange(key: string, from: string, to: string, fieldLengths: readonly number[]): boolean {
  let offset = 0;
  for (const length of fieldLengths) {
    const field = (text: string): string => text.slice(offset, offset + length);
    if (field(key) < field(from) || field(key) > field(to)) return false;
    offset += Math.ceil(length / 4) * 4;
  }
  return true;
}

/** One family's table. */
export class TracedTable {
  readonly name: string;
  readonly chains = new Map<string, TracedChain>();
  readonly sets = new Map<string, TracedSet>();
  #handles = 0n;

  constructor(name: string) {
    this.name = name;
  }

  chain(name: string): TracedChain {
    return found(this.chains, name);
  }

  set(name: string): TracedSet {
    return found(this.sets, name);
  }

  /** A chain that exists keeps its rules. */
  addChain(name: string, base: ChainBase | undefined): void {
    if (!this.chains.has(name)) this.chains.set(name, { base, rules: [] });
  }

  /** @throws while something leads to it, as the kernel's EBUSY. */
  deleteChain(name: string): void {
    const { rules } = this.chain(name);
    for (const [from, chain] of this.chains)
      for (const rule of chain.rules)
        for (const one of this.#verdictsOf(rule))
          if ('chain' in one && one.chain === name) throw new Error(`chain ${name} is in use by ${from}`);
    rules.length = 0;
    this.chains.delete(name);
  }

  appendRule(chain: string, expressions: readonly Expression[]): void {
    this.chain(chain).rules.push({ handle: ++this.#handles, expressions });
  }

  addSet(name: string, declaration: SetDeclaration): void {
    if (!this.sets.has(name)) this.sets.set(name, new TracedSet(declaration));
  }

  deleteSet(name: string): void {
    this.set(name);
    this.sets.delete(name);
  }

  /**
   * The kernel refuses a table with a way back to where a packet was, be it by an element that this packet would never
   * find (EMLINK; nft_chain_validate).
   */
  checkLoops(): void {
    for (const [name, { base }] of this.chains) if (base !== undefined) this.#checkLoops(name, []);
  }

  #checkLoops(name: string, path: readonly string[]): void {
    if (path.includes(name)) throw new Error(`loop: ${[...path, name].join(' -> ')}`);
    for (const rule of this.chain(name).rules)
      for (const one of this.#verdictsOf(rule))
        if ('chain' in one) this.#checkLoops(one.chain, [...path, name]);
  }

  /** Every verdict that a rule may come to. */
  *#verdictsOf({ expressions }: TracedRule): Generator<Verdict> {
    for (const expression of expressions) {
      if (expression.kind === 'immediate' && expression.verdict !== undefined) yield expression.verdict;
      if (expression.kind === 'lookup') yield* this.set(expression.set).verdicts();
    }
  }
}

function found<T>(map: ReadonlyMap<string, T>, name: string): T {
  const value = map.get(name);
  if (value === undefined) throw new Error(`${name} is not there`);
  return value;
}
