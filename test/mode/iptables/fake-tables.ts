// The tables of one family as a kernel holds them, with rules of others in them. Refuses what nf_tables refuses: jumps to
// what is not there, deletion of what is jumped to, a transaction that leaves the hooks pointing nowhere.

import type { Delta } from '../../../src/mode/iptables/desired.ts';
import {
  cleanupPlan,
  cleanupPlanner,
  type Extent,
  type FullSync,
  type ObservedChain,
} from '../../../src/mode/iptables/full-sync.ts';
import { isOwnChain } from '../../../src/mode/iptables/names.ts';
import { type ChainPlace, chainId, type PlannedChain } from '../../../src/mode/iptables/planned-chain.ts';
import type { IpFamily } from '../../../src/model/ip.ts';
import { formatIptablesRule } from '../../../src/netlink/iptables/format.ts';
import type { IptablesRule } from '../../../src/netlink/iptables/rule.ts';
import { BASE_CHAINS, type IptablesTable } from '../../../src/netlink/iptables/tables.ts';

interface Held {
  readonly rule: IptablesRule;
  /** What the backend takes for ours. */
  isOwn: boolean;
}

interface Chain extends ChainPlace {
  readonly rules: Held[];
}

export class FakeTables {
  readonly #family: IpFamily;
  readonly #chains = new Map<string, Chain>();

  constructor(family: IpFamily) {
    this.#family = family;
  }

  /** The tables as `wanted` has them, and nothing else. */
  static holding(family: IpFamily, wanted: Iterable<PlannedChain>): FakeTables {
    const tables = new FakeTables(family);
    for (const chain of wanted) tables.add(chain, chain.rules(), true);
    return tables;
  }

  add({ table, name }: ChainPlace, rules: readonly IptablesRule[], isOwn = false): void {
    const id = chainId({ table, name });
    const chain = this.#chains.get(id) ?? { table, name, rules: [] };
    this.#chains.set(id, chain);
    for (const rule of rules) {
      this.#checkTarget(table, rule);
      chain.rules.push({ rule, isOwn });
    }
  }

  /** Somebody else's rule, at an index. */
  disturb({ table, name }: ChainPlace, index: number, rule: IptablesRule): void {
    this.#chain({ table, name }).rules.splice(index, 0, { rule, isOwn: false });
  }

  remove(place: ChainPlace, index: number): void {
    this.#chain(place).rules.splice(index, 1);
  }

  *observe(): Generator<ObservedChain> {
    for (const { table, name, rules } of this.#chains.values())
      yield { table, name, rules: rules.map(({ rule }) => rule) };
  }

  rules(table: IptablesTable, name: string): IptablesRule[] {
    return this.#chain({ table, name }).rules.map(({ rule }) => rule);
  }

  get chainNames(): string[] {
    return [...this.#chains.keys()];
  }

  applyFullSync(sync: FullSync): void {
    for (const chain of this.#chains.values()) {
      const places = sync.shared.find((one) => chainId(one) === chainId(chain));
      const isOurs = isOwnChain(chain.table, chain.name);
      for (const [i, held] of chain.rules.entries()) held.isOwn = isOurs || places?.own.includes(i) === true;
    }
    this.apply(sync);
  }

  apply({ added, edited, removed }: Delta): void {
    for (const chain of added) {
      if (this.#chains.has(chainId(chain))) throw new Error(`${chain.name} is there already`);
      this.add(chain, chain.rules(), true);
    }
    for (const { table, name, edits } of edited) {
      const { rules } = this.#chain({ table, name });
      if (edits.length === 0) throw new Error(`${name} is edited for nothing`);
      // Whatever is in a chain of ours is ours.
      const isShared = rules.some(({ isOwn }) => !isOwn);
      const placeOf = (index: number): number | undefined =>
        isShared ? rules.flatMap(({ isOwn }, i) => (isOwn ? [i] : []))[index] : rules[index] && index;
      for (const edit of edits) {
        if (edit.kind === 'delete') {
          const at = placeOf(edit.index);
          if (at === undefined) throw new Error(`${name} has no rule ${edit.index}`);
          rules.splice(at, 1);
        } else {
          const before = edit.index === 0 ? -1 : placeOf(edit.index - 1);
          if (before === undefined) throw new Error(`${name} has no rule before ${edit.index}`);
          this.#checkTarget(table, edit.item);
          rules.splice(before + 1, 0, { rule: edit.item, isOwn: true });
        }
      }
    }
    for (const place of removed) this.#chain(place).rules.length = 0;
    const used = new Set<string>();
    for (const { table, rules } of removed.length === 0 ? [] : this.#chains.values()) {
      for (const { rule } of rules) used.add(chainId({ table, name: targetChain(rule) ?? '' }));
    }
    for (const place of removed) {
      if (used.has(chainId(place))) throw new Error(`something leads to ${place.name}`);
      this.#chains.delete(chainId(place));
    }
  }

  /** As `iptables-save` prints it, chains sorted; those without rules too. */
  text(): string[] {
    return [...this.#chains.values()]
      .sort((a, b) => (chainId(a) < chainId(b) ? -1 : 1))
      .flatMap(({ table, name, rules }) => [
        `*${table} :${name}`,
        ...rules.map(({ rule }) => formatIptablesRule(name, rule, this.#family)),
      ]);
  }

  /** Lines of one chain, without `-A NAME`. */
  lines(table: IptablesTable, name: string): string[] {
    const prefix = `-A ${name} `;
    return this.rules(table, name).map((rule) =>
      formatIptablesRule(name, rule, this.#family).slice(prefix.length),
    );
  }

  has(table: IptablesTable, name: string): boolean {
    return this.#chains.has(chainId({ table, name }));
  }

  #chain(place: ChainPlace): Chain {
    const chain = this.#chains.get(chainId(place));
    if (chain === undefined) throw new Error(`no chain ${chainId(place)}`);
    return chain;
  }

  #checkTarget(table: IptablesTable, rule: IptablesRule): void {
    const target = targetChain(rule);
    if (target === undefined) return;
    if (target in BASE_CHAINS[table]) throw new Error(`a jump to the hook ${target}`);
    if (!this.#chains.has(chainId({ table, name: target }))) throw new Error(`no ${target} to jump to`);
  }
}

function targetChain({ target }: IptablesRule): string | undefined {
  return target?.kind === 'jump' || target?.kind === 'goto' ? target.chain : undefined;
}

/** What a cleanup of these chains does. */
export function planCleanup(observed: Iterable<ObservedChain>, extent?: Extent): FullSync {
  const planner = cleanupPlanner(extent);
  for (const chain of observed) planner.see(chain);
  return cleanupPlan(planner);
}
