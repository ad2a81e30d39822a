// Plans as lines for humans: what `kproxy-ts diff` prints. Behind the sign, `+` or `-`, a line is one of `iptables -S`.

import type { IpFamily } from '../../model/ip.ts';
import { formatIptablesRule } from '../../netlink/iptables/format.ts';
import type { IptablesRule } from '../../netlink/iptables/rule.ts';
import type { FullSync, ObservedChain } from './full-sync.ts';
import { type ChainPlace, chainId } from './planned-chain.ts';

/**
 * `+ iptables -t nat -A KUBE-SVC-… -m comment … -j KUBE-SEP-…`, one line per chain and rule that the plan writes or
 * deletes; `observed` is what the plan was made from. Within a chain the order of rules counts, so one that moves is told
 * twice.
 */
export function* formatPlan(
  { added, edited, removed, shared }: FullSync,
  observed: readonly ObservedChain[],
  family: IpFamily,
): Generator<string> {
  const program = family === 4 ? 'iptables' : 'ip6tables';
  const held = new Map(observed.map((chain) => [chainId(chain), chain.rules]));
  const own = new Map(shared.map((places) => [chainId(places), places.own]));
  const chainLine = (sign: Sign, { table, name }: ChainPlace) => `${sign} ${program} -t ${table} -N ${name}`;
  const ruleLine = (sign: Sign, { table, name }: ChainPlace, rule: IptablesRule) =>
    `${sign} ${program} -t ${table} ${formatIptablesRule(name, rule, family)}`;

  for (const chain of added) {
    if (chain.ownership !== 'base') yield chainLine('+', chain);
    for (const rule of chain.rules()) yield ruleLine('+', chain, rule);
  }
  for (const { edits, ...place } of edited) {
    const all = held.get(chainId(place)) ?? [];
    const rules = own.get(chainId(place))?.map((index) => all[index]!) ?? [...all];
    for (const edit of edits) {
      if (edit.kind === 'insert') {
        rules.splice(edit.index, 0, edit.item);
        yield ruleLine('+', place, edit.item);
      } else for (const rule of rules.splice(edit.index, 1)) yield ruleLine('-', place, rule);
    }
  }
  for (const place of removed) {
    for (const rule of held.get(chainId(place)) ?? []) yield ruleLine('-', place, rule);
    yield chainLine('-', place);
  }
}

type Sign = '+' | '-';
