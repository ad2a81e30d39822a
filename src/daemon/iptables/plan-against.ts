// A plan made while the tables are read: chains that are as they shall be are forgotten at once, which are nearly all of the
// 250,000 of a large cluster.

import { editChain } from '../../mode/iptables/desired.ts';
import { type FullSync, type ObservedChain, planFullSync } from '../../mode/iptables/full-sync.ts';
import { chainId, type PlannedChain } from '../../mode/iptables/planned-chain.ts';
import type { IpFamily } from '../../model/ip.ts';
import type { IptablesTables } from './tables.ts';

export interface PlanAgainstOptions {
  /** Ids of the chains to look at; all unless given. */
  readonly only?: ReadonlySet<string>;
  /** Is given every chain that is not as it shall be, or not wanted. */
  readonly see?: (chain: ObservedChain) => void;
}

/** What brings a family to `wanted`, for `IptablesTables.apply`. Throws KproxyError. */
export async function planAgainst(
  tables: IptablesTables,
  family: IpFamily,
  wanted: Iterable<PlannedChain>,
  { only, see = () => undefined }: PlanAgainstOptions = {},
): Promise<FullSync> {
  const missing = new Map<string, PlannedChain>();
  for (const chain of wanted) missing.set(chainId(chain), chain);
  const isInPlace = (chain: ObservedChain): boolean => {
    const one = missing.get(chainId(chain));
    if (one?.ownership !== 'own' || editChain(one, chain.rules, one.rules()) !== undefined) return false;
    return missing.delete(chainId(chain));
  };
  const observed = await tables.observe(family, { isInPlace, ...(only && { only }) });
  return planFullSync(missing.values(), seen(observed, see));
}

/** The chains as they are, told of one by one. */
export function* seen(
  chains: Iterable<ObservedChain>,
  see: (chain: ObservedChain) => void,
): Generator<ObservedChain> {
  for (const chain of chains) {
    see(chain);
    yield chain;
  }
}
