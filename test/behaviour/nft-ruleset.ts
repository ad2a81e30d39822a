// A ruleset as the kernel would hold it after a list of requests on an empty table: what the tracer walks.

import type { ChainBase } from '../../src/netlink/nftables/chain.ts';
import type { Element } from '../../src/netlink/nftables/element.ts';
import type { Expression } from '../../src/netlink/nftables/expression.ts';
import type { NftRequest } from '../../src/netlink/nftables/request.ts';
import type { SetDeclaration } from '../../src/netlink/nftables/set.ts';
import type { Verdict } from '../../src/netlink/nftables/verdict.ts';

export interface TracedChain {
  readonly base: ChainBase | undefined;
  readonly rules: (readonly Expression[])[];
}

export class TracedSet {
  readonly declaration: SetDeclaration;
  readonly #elements = new Map<string, Element>();

  constructor(declaration: SetDeclaration) {
    const { timeout: _, dynamic: __, interval, concat: ___, ...foreign } = declaration.flags;
    if (Object.keys(foreign).length > 0) throw new Error(`set flags ${Object.keys(foreign)} are not traced`);
    if (interval && declaration.isMap) throw new Error('interval maps are not traced');
    this.declaration = declaration;
  }

  add(element: Element): void {
    const { key, keyEnd } = element;
    if (key === '') throw new Error('elements for everything else are not traced');
    if (keyEnd !== undefined && (this.find(key) ?? this.find(keyEnd)) !== undefined)
      throw new Error('ranges overlap');
    if (key.length !== this.declaration.keyLength) throw new Error(`key of ${key.length} bytes`);
    this.#elements.set(key, element);
  }

  *verdicts(): Generator<Verdict> {
    for (const { verdict } of this.#elements.values()) if (verdict !== undefined) yield verdict;
  }

  /** The element that holds `key`. In an interval set that is the nearest below, unless it ends an interval. */
  find(key: string): Element | undefined {
    if (this.declaration.flags.concat) return this.#findRange(key);
    if (!this.declaration.flags.interval) return this.#elements.get(key);
    let nearest: Element | undefined;
    for (const element of this.#elements.values()) {
      if (element.key <= key && (nearest === undefined || element.key > nearest.key)) nearest = element;
    }
    return nearest?.isIntervalEnd ? undefined : nearest;
  }

  /** The element each of whose fields holds that of the key. */
  #findRange(key: string): Element | undefined {
    const within = ({ key: first, keyEnd: last = first }: Element): boolean => {
      let offset = 0;
      return (this.declaration.fieldLengths ?? []).every((length) => {
        const of = (text: string): string => text.slice(offset, offset + length);
        const isIn = of(first) <= of(key) && of(key) <= of(last);
        offset += Math.ceil(length / 4) * 4;
        return isIn;
      });
    };
    return [...this.#elements.values()].find(within);
  }
}

export interface Ruleset {
  readonly chains: ReadonlyMap<string, TracedChain>;
  readonly sets: ReadonlyMap<string, TracedSet>;
}

/** The tables of one family that the requests make, as one; there must be no more than one. */
export function rulesetOf(requests: readonly NftRequest[], family: NftRequest['family']): Ruleset {
  const chains = new Map<string, TracedChain>();
  const sets = new Map<string, TracedSet>();
  const found = <T>(map: ReadonlyMap<string, T>, name: string): T => {
    const value = map.get(name);
    if (value === undefined) throw new Error(`${name} is used before it is added`);
    return value;
  };
  const mine = requests.filter((request) => request.family === family);
  if (new Set(mine.map(({ table }) => table)).size > 1) throw new Error('several tables are not traced');
  for (const request of mine) {
    switch (request.op) {
      case 'addTable':
        break;
      case 'addChain':
        chains.set(request.chain, { base: request.base, rules: [] });
        break;
      case 'flushChain':
        found(chains, request.chain).rules.length = 0;
        break;
      case 'addRule':
        if (request.position !== undefined || request.handle !== undefined)
          throw new Error('rule is not appended');
        found(chains, request.chain).rules.push(request.expressions);
        break;
      case 'addSet':
        sets.set(request.set, new TracedSet(request));
        break;
      case 'addElements':
        for (const element of request.elements) found(sets, request.set).add(element);
        break;
      default:
        throw new Error(`${request.op} has no place on an empty kernel`);
    }
  }
  const ruleset = { chains, sets };
  for (const [name, { base }] of chains) if (base !== undefined) checkLoops(ruleset, name, []);
  return ruleset;
}

/**
 * The kernel refuses a ruleset with a way back to where a packet was, be it by an element that this packet would never
 * find (EMLINK; nf_tables_api.c, nft_chain_validate).
 */
function checkLoops(ruleset: Ruleset, name: string, path: readonly string[]): void {
  if (path.includes(name)) throw new Error(`loop: ${[...path, name].join(' -> ')}`);
  const { rules } = ruleset.chains.get(name) ?? { rules: [] };
  for (const expression of rules.flat()) {
    const verdicts =
      expression.kind === 'immediate' && expression.verdict !== undefined
        ? [expression.verdict]
        : expression.kind === 'lookup'
          ? [...(ruleset.sets.get(expression.set)?.verdicts() ?? [])]
          : [];
    for (const verdict of verdicts) {
      if (!('chain' in verdict)) continue;
      checkLoops(ruleset, verdict.chain, [...path, name]);
    }
  }
}
