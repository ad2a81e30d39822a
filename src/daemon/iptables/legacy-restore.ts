// A plan as input for `iptables-restore --noflush`. Pure.
//
// The kernel replaces one table at a time, so packets can come between two of them. The order is nat, filter, mangle: a
// packet that somebody shall answer needs the rule in nat; those in filter refuse or drop what nat leaves as it is (by
// its virtual address, which a packet that was translated no longer has). So with nat first a new Service works at
// once, one that is gone or has no more endpoints is refused by the rule that its cluster IP has in filter anyway, and
// nobody who would get an answer before and after gets none, or a refusal, in between. mangle holds the canary alone.

import { InternalError } from '../../errors.ts';
import type { Delta } from '../../mode/iptables/desired.ts';
import type { ChainEdit } from '../../mode/iptables/dispatch.ts';
import type { SharedPlaces } from '../../mode/iptables/full-sync.ts';
import { isOwnChain } from '../../mode/iptables/names.ts';
import { chainId } from '../../mode/iptables/planned-chain.ts';
import type { IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import { formatIptablesRule } from '../../netlink/iptables/format.ts';
import type { IptablesRule } from '../../netlink/iptables/rule.ts';
import type { IptablesTable } from '../../netlink/iptables/tables.ts';

export const RESTORE_ORDER: readonly IptablesTable[] = ['nat', 'filter', 'mangle'];

export interface RestoreLine {
  readonly kind: 'table' | 'chain' | 'rule' | 'delete' | 'commit';
  readonly table: IptablesTable;
  readonly text: string;
  readonly service: ServiceKey | undefined;
  /** Of a rule that is written. */
  readonly rule?: IptablesRule;
}

/** What an edit of a chain that others have rules in goes by. */
export interface SharedChains {
  /** The lines of iptables-save of such a chain, by chainId. */
  readonly lines: ReadonlyMap<string, readonly string[]>;
  readonly places: readonly SharedPlaces[];
}

/** Equal at each call: line N of the input is the N-th of these. None for a plan that changes nothing. */
export function* restoreLines(
  family: IpFamily,
  delta: Delta,
  shared: SharedChains | undefined,
): Generator<RestoreLine> {
  for (const table of RESTORE_ORDER) {
    let isBegun = false;
    for (const line of tableLines(family, table, delta, shared)) {
      if (!isBegun) yield { kind: 'table', table, text: `*${table}`, service: undefined };
      isBegun = true;
      // Whatever got as far as here with a line break in it would be a command of its own.
      if (/\p{Cc}/u.test(line.text)) throw new InternalError(`not one line: ${JSON.stringify(line.text)}`);
      yield line;
    }
    if (isBegun) yield { kind: 'commit', table, text: 'COMMIT', service: undefined };
  }
}

function* tableLines(
  family: IpFamily,
  table: IptablesTable,
  { added, edited, removed }: Delta,
  shared: SharedChains | undefined,
): Generator<RestoreLine> {
  for (const chain of added) {
    if (chain.table !== table) continue;
    const { name, ownership, service } = chain;
    // A declaration empties a chain that is there meanwhile, which is not for us to do with one that is not only ours.
    if (ownership === 'own') yield { kind: 'chain', table, text: `:${name} - [0:0]`, service };
    if (ownership === 'shared') yield { kind: 'chain', table, text: `-N ${name}`, service };
    for (const rule of chain.rules()) {
      yield { kind: 'rule', table, text: formatIptablesRule(name, rule, family), service, rule };
    }
  }
  for (const edit of edited) {
    if (edit.table !== table) continue;
    yield* isOwnChain(table, edit.name) ? ownEdits(family, edit) : sharedEdits(family, edit, shared);
  }
  const ofTable = removed.filter((place) => place.table === table);
  // All are emptied before the first goes: they may lead to one another. To declare them is to empty them.
  for (const { name } of ofTable)
    yield { kind: 'chain', table, text: `:${name} - [0:0]`, service: undefined };
  for (const { name } of ofTable) yield { kind: 'chain', table, text: `-X ${name}`, service: undefined };
}

/** In a chain of our own rules are known by their numbers, which count from 1. */
function* ownEdits(family: IpFamily, { table, name, edits }: ChainEdit): Generator<RestoreLine> {
  for (const edit of edits) {
    const number = edit.index + 1;
    yield edit.kind === 'delete'
      ? { kind: 'delete', table, text: `-D ${name} ${number}`, service: edit.service }
      : insertion(family, table, name, number, edit.item, edit.service);
  }
}

/**
 * Others may have written since the chain was read: so what goes is named by its words and not by its number, which might
 * be that of somebody else's rule by now. A rule that is inserted would only be a place off.
 */
function* sharedEdits(
  family: IpFamily,
  edit: ChainEdit,
  shared: SharedChains | undefined,
): Generator<RestoreLine> {
  const { table, name, edits } = edit;
  const places = shared?.places.find((one) => one.table === table && one.name === name);
  if (places === undefined) throw new InternalError(`edits of ${table} ${name} without an observation of it`);
  const own = new Set(places.own);
  const rules = (shared?.lines.get(chainId(edit)) ?? []).map((text, i) => ({ text, isOwn: own.has(i) }));
  const numberOf = (index: number): number => {
    const places = rules.flatMap(({ isOwn }, i) => (isOwn ? [i] : []));
    const place = places[index];
    if (place === undefined) throw new InternalError(`${table} ${name} has ${places.length} rules of ours`);
    return place;
  };
  for (const edit of edits) {
    if (edit.kind === 'delete') {
      const { text } = rules[numberOf(edit.index)]!;
      // The first of those that are alike is the one that goes.
      rules.splice(
        rules.findIndex((rule) => rule.text === text),
        1,
      );
      yield { kind: 'delete', table, text: text.replace('-A', '-D'), service: edit.service };
    } else {
      const at = edit.index === 0 ? 0 : numberOf(edit.index - 1) + 1;
      const line = insertion(family, table, name, at + 1, edit.item, edit.service);
      rules.splice(at, 0, { text: formatIptablesRule(name, edit.item, family), isOwn: true });
      yield line;
    }
  }
}

function insertion(
  family: IpFamily,
  table: IptablesTable,
  chain: string,
  number: number,
  rule: IptablesRule,
  service: ServiceKey | undefined,
): RestoreLine {
  const text = formatIptablesRule(chain, rule, family);
  const begin = `-A ${chain}`;
  return { kind: 'rule', table, text: `-I ${chain} ${number}${text.slice(begin.length)}`, service, rule };
}
