// The tables of iptables as a kernel holds them in which nobody else writes: takes the plans that the daemon carries out.
// What nf_tables would refuse (net/netfilter/nf_tables_api.c, nft_compat.c) is an error of the test. Rules are held as they
// come out of their encoding, so that what is traced is what went through the codec.

import type { Applied, IptablesTables } from '../../src/daemon/iptables/tables.ts';
import type { Delta } from '../../src/mode/iptables/desired.ts';
import type { ObservedChain, SharedPlaces } from '../../src/mode/iptables/full-sync.ts';
import { type ChainPlace, chainId } from '../../src/mode/iptables/planned-chain.ts';
import { isDeepEqual } from '../../src/model/deep-equal.ts';
import type { IpFamily } from '../../src/model/ip.ts';
import { decodeIptablesRule, encodeIptablesRule } from '../../src/netlink/iptables/codec.ts';
import { formatIptablesRule } from '../../src/netlink/iptables/format.ts';
import type { IptablesRule } from '../../src/netlink/iptables/rule.ts';
import { BASE_CHAINS, type IptablesTable } from '../../src/netlink/iptables/tables.ts';
import { FAMILIES } from './objects.ts';

/** The longest name that iptables reads back: XT_EXTENSION_MAXNAMELEN less the final zero (linux/netfilter/x_tables.h). */
const MAX_CHAIN_NAME = 28;
/** NFT_JUMP_STACK_SIZE (net/netfilter/nf_tables.h): how often chains may lead on, by jump or goto. */
const MAX_NESTING = 16;

type Chains = Map<string, IptablesRule[]>;

/** Tables of one family. */
export class IptablesRuleset {
  readonly #family: IpFamily;
  /** By table; a table that nobody has made is missing. */
  readonly #tables = new Map<IptablesTable, Chains>();

  constructor(family: IpFamily) {
    this.#family = family;
  }

  /** None while the table is not there. */
  rules({ table, name }: ChainPlace): readonly IptablesRule[] {
    return this.#tables.has(table) ? this.#chain({ table, name }) : [];
  }

  *chains(): Generator<ObservedChain> {
    for (const [table, chains] of this.#tables)
      for (const [name, rules] of chains) yield { table, name, rules: [...rules] };
  }

  /** With their base chains; those that are there stay. */
  addTables(): void {
    for (const table of Object.keys(BASE_CHAINS) as IptablesTable[]) {
      if (this.#tables.has(table)) continue;
      this.#tables.set(table, new Map(Object.keys(BASE_CHAINS[table]).map((name) => [name, []])));
    }
  }

  addChain({ table, name }: ChainPlace): void {
    if (name.length > MAX_CHAIN_NAME) throw new Error(`chain ${name} has a name that is too long`);
    const chains = this.#table(table);
    if (chains.has(name)) throw new Error(`chain ${table} ${name} is there already`);
    chains.set(name, []);
  }

  insertRule(place: ChainPlace, index: number, rule: IptablesRule): void {
    const { table, name } = place;
    const rules = this.#chain(place);
    if (index > rules.length) throw new Error(`chain ${table} ${name} has no rule before ${index}`);
    const next = chainAfter(rule);
    if (next !== undefined && next in BASE_CHAINS[table]) throw new Error(`a jump to base chain ${next}`);
    if (next !== undefined) this.#chain({ table, name: next });
    const held = decodeIptablesRule(encodeIptablesRule(rule, this.#family), this.#family);
    if (!isDeepEqual(held, rule)) {
      const [is, was] = [held, rule].map((one) => formatIptablesRule(name, one, this.#family));
      throw new Error(`not in normal form: ${was}, which is read as ${is}`);
    }
    rules.splice(index, 0, held);
  }

  deleteRule(place: ChainPlace, index: number): void {
    if (this.#chain(place).splice(index, 1).length === 0)
      throw new Error(`chain ${place.table} ${place.name} has no rule ${index}`);
  }

  /** Empties all of them, then deletes them. */
  deleteChains(places: readonly ChainPlace[]): void {
    for (const place of places) this.#chain(place).length = 0;
    for (const { table, name } of places) {
      for (const [from, rules] of this.#table(table)) {
        if (rules.some((rule) => chainAfter(rule) === name))
          throw new Error(`chain ${table} ${name} is in use by ${from}`);
      }
      this.#table(table).delete(name);
    }
  }

  /** At the end of a transaction: the kernel refuses ways that are too long or never end. */
  checkWays(): void {
    for (const [table, chains] of this.#tables) {
      const lengths = new Map<string, number>();
      const lengthFrom = (name: string, path: readonly string[]): number => {
        if (path.includes(name)) throw new Error(`loop: ${[...path, name].join(' -> ')}`);
        const known = lengths.get(name);
        if (known !== undefined) return known;
        const nexts = this.#chain({ table, name }).flatMap((rule) => chainAfter(rule) ?? []);
        const length = Math.max(0, ...nexts.map((next) => 1 + lengthFrom(next, [...path, name])));
        lengths.set(name, length);
        return length;
      };
      for (const name of chains.keys())
        if (lengthFrom(name, []) > MAX_NESTING) throw new Error(`chains lead on too often from ${name}`);
    }
  }

  #table(table: IptablesTable): Chains {
    const chains = this.#tables.get(table);
    if (chains === undefined) throw new Error(`no table ${table}`);
    return chains;
  }

  #chain({ table, name }: ChainPlace): IptablesRule[] {
    const rules = this.#table(table).get(name);
    if (rules === undefined) throw new Error(`no chain ${table} ${name}`);
    return rules;
  }
}

function chainAfter({ target }: IptablesRule): string | undefined {
  return target?.kind === 'jump' || target?.kind === 'goto' ? target.chain : undefined;
}

/** Both families, as the daemon's backend writes them. */
export class TracedTables implements IptablesTables {
  readonly #rulesets = new Map(FAMILIES.map((family) => [family, new IptablesRuleset(family)]));

  of(family: IpFamily): IptablesRuleset {
    return this.#rulesets.get(family)!;
  }

  async begin(): Promise<void> {}

  async list(family: IpFamily): Promise<readonly ChainPlace[]> {
    return [...this.of(family).chains()];
  }

  async observe(
    family: IpFamily,
    see: (chain: ObservedChain) => boolean,
    only?: readonly ChainPlace[],
  ): Promise<void> {
    const wanted = only && new Set(only.map(chainId));
    for (const chain of [...this.of(family).chains()])
      if (wanted === undefined || wanted.has(chainId(chain))) see(chain);
  }

  async apply(
    family: IpFamily,
    { added, edited, removed }: Delta,
    shared: readonly SharedPlaces[] = [],
  ): Promise<Applied> {
    const ruleset = this.of(family);
    for (const place of shared) {
      if (place.own.length !== ruleset.rules(place).length)
        throw new Error(`${place.name} has rules that are not ours`);
    }
    ruleset.addTables();
    let writes = 0;
    for (const chain of added) {
      if (chain.ownership !== 'base') ruleset.addChain(chain);
      const rules = chain.rules();
      for (const [i, rule] of rules.entries()) ruleset.insertRule(chain, i, rule);
      writes += 1 + rules.length;
    }
    ruleset.checkWays();
    for (const { edits, ...place } of edited) {
      for (const edit of edits) {
        if (edit.kind === 'delete') ruleset.deleteRule(place, edit.index);
        else ruleset.insertRule(place, edit.index, edit.item);
      }
      writes += edits.length;
    }
    ruleset.deleteChains(removed);
    ruleset.checkWays();
    return { refusals: [], writes: writes + removed.length, transactions: 1 };
  }

  async hasChanged(): Promise<boolean> {
    return false;
  }

  close(): void {}
}
