// What is there to be taken away, and whose it is: our chains have kube-proxy's names.

import type { IptablesTable } from '../../netlink/iptables/tables.ts';
import { BASE_CHAINS } from '../../netlink/iptables/tables.ts';
import { isOwnJump } from './fixed-chains.ts';
import type { Extent, FullSync } from './full-sync.ts';
import {
  CANARY,
  CLUSTER_IPS,
  EXTERNAL_NODEPORTS,
  EXTERNAL_SERVICES,
  FIREWALL,
  REFUSE,
  SIGNATURE,
} from './names.ts';
import { type ChainPlace, chainId } from './planned-chain.ts';
import { isEntrance } from './rows.ts';
import { SHARED_CHAINS } from './shared-chains.ts';

/**
 * Who keeps the chains of a family; undefined where nobody does. It is this program while its signature is there, which the
 * first sync of a kube-proxy deletes: then chains of ours alone are only what it left of us.
 */
export function keeperOf(chains: Iterable<ChainPlace>): 'kproxy-ts' | 'kube-proxy' | undefined {
  let [hasEntrance, hasOurs, hasCanary] = [false, false, false];
  for (const chain of chains) {
    if (isSignature(chain)) return 'kproxy-ts';
    hasEntrance ||= isEntrance(chain);
    hasOurs ||= isOursAlone(chain);
    hasCanary ||= chain.name === CANARY;
  }
  // A kube-proxy has an entrance. Where somebody took nat away, what is in filter still tells.
  if (hasOurs && !hasEntrance) return 'kproxy-ts';
  return hasEntrance || hasCanary ? 'kube-proxy' : undefined;
}

/** What no kube-proxy makes, or knows. */
export const OURS_ALONE: Extent = {
  hasChain: isOursAlone,
  hasJump: ({ table, name }, rule) =>
    isOwnJump(rule, (chain) => isOursAlone({ table, name: chain })) ||
    (name === 'OUTPUT' && isOwnJump(rule, (chain) => table === 'filter' && chain === EXTERNAL_SERVICES)),
};

function isOursAlone(place: ChainPlace): boolean {
  const { table, name } = place;
  return (
    isSignature(place) ||
    (table === 'filter' && (FILTER_NAMES.has(name) || name.startsWith('KUBE-FW-'))) ||
    Object.values(SHARED_CHAINS).some((one) => one.table === table && name.startsWith(one.branch))
  );
}

function isSignature({ table, name }: ChainPlace): boolean {
  return table === 'nat' && name === SIGNATURE;
}

/** The plan with what tells that the chains are ours deleted last: whatever interrupts it, the rest is still ours. */
export function signsLast(plan: FullSync): FullSync {
  const rank = (place: ChainPlace): number => Number(isOursAlone(place)) + Number(isSignature(place));
  return { ...plan, removed: plan.removed.toSorted((a, b) => rank(a) - rank(b)) };
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

const FILTER_NAMES: ReadonlySet<string> = new Set([CLUSTER_IPS, EXTERNAL_NODEPORTS, REFUSE]);
const TABLES = Object.keys(BASE_CHAINS) as readonly IptablesTable[];

function count(number: number, noun: string, where = ''): string[] {
  return number === 0 ? [] : [`${number} ${noun}${number === 1 ? '' : 's'}${where}`];
}
