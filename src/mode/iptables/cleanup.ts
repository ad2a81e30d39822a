// What is there to be taken away, and whose it is: our chains have kube-proxy's names.

import type { IptablesTable } from '../../netlink/iptables/tables.ts';
import { BASE_CHAINS } from '../../netlink/iptables/tables.ts';
import type { FullSync } from './full-sync.ts';
import { CANARY, CLUSTER_IPS, EXTERNAL_NODEPORTS, FIREWALL, REFUSE } from './names.ts';
import { type ChainPlace, chainId } from './planned-chain.ts';
import { isEntrance } from './rows.ts';
import { SHARED_CHAINS } from './shared-chains.ts';

/**
 * Who keeps the chains of a family. `kproxy-ts` if there are any that kube-proxy does not make, for then all of them were
 * made or adopted by this program; undefined where nobody does.
 */
export function keeperOf(chains: Iterable<ChainPlace>): 'kproxy-ts' | 'kube-proxy' | undefined {
  let keeper: 'kube-proxy' | undefined;
  for (const chain of chains) {
    if (isOursAlone(chain)) return 'kproxy-ts';
    if (isEntrance(chain) || chain.name === CANARY) keeper = 'kube-proxy';
  }
  return keeper;
}

function isOursAlone({ table, name }: ChainPlace): boolean {
  if (table === 'filter' && OURS_ALONE.has(name)) return true;
  return Object.values(SHARED_CHAINS).some((one) => one.table === table && name.startsWith(one.branch));
}

/** The plan with what tells that the chains are ours deleted last: whatever interrupts it, the rest is still ours. */
export function signsLast(plan: FullSync): FullSync {
  const signs = plan.removed.filter(isOursAlone);
  return { ...plan, removed: [...plan.removed.filter((place) => !isOursAlone(place)), ...signs] };
}

/** `iptables -t nat: 14 chains, 3 rules in chains of others`, one line per table; `program` as the plan's family has it. */
export function summarizeCleanup({ removed, edited, shared }: FullSync, program: string): string[] {
  const sharedIds = new Set(shared.map(chainId));
  return TABLES.flatMap((table) => {
    const chains = removed.filter((place) => place.table === table).length;
    const jumps = edited
      .filter((edit) => edit.table === table && sharedIds.has(chainId(edit)))
      .reduce((sum, { edits }) => sum + edits.length, 0);
    const parts = [...count(chains, 'chain'), ...count(jumps, 'rule', ' in chains of others')];
    return parts.length === 0 ? [] : [`${program} -t ${table}: ${parts.join(', ')}`];
  });
}

/** What stays behind of the chains of a family although this program or a kube-proxy may have made it, and why. */
export function explainKept(
  { edited, shared }: FullSync,
  places: readonly ChainPlace[],
  program: string,
): string[] {
  const sharedIds = new Set(shared.map(chainId));
  const used = edited
    .filter((edit) => !sharedIds.has(chainId(edit)))
    .map(({ table, name }) => `${program} -t ${table} ${name}, now empty: rules of others lead there`);
  const hasKubelet = places.some(({ name }) => name.startsWith('KUBE-KUBELET-'));
  const isGuarded = places.some(({ table, name }) => table === 'filter' && name === FIREWALL);
  return isGuarded && !hasKubelet
    ? [...used, `${program} -t filter ${FIREWALL}: it may be kubelet's, and guards 127.0.0.1 from outside`]
    : used;
}

const OURS_ALONE: ReadonlySet<string> = new Set([CLUSTER_IPS, EXTERNAL_NODEPORTS, REFUSE]);
const TABLES = Object.keys(BASE_CHAINS) as readonly IptablesTable[];

function count(number: number, noun: string, where = ''): string[] {
  return number === 0 ? [] : [`${number} ${noun}${number === 1 ? '' : 's'}${where}`];
}
