// A plan made while the tables are read: chains that are as they shall be are forgotten at once, which are nearly all of the
// 250,000 of a large cluster. Others get their turn in between.

import { type FullSync, FullSyncPlanner, type ObservedChain } from '../../mode/iptables/full-sync.ts';
import type { ChainPlace, PlannedChain } from '../../mode/iptables/planned-chain.ts';
import type { IpFamily } from '../../model/ip.ts';
import { Turn } from '../turn.ts';
import type { IptablesTables } from './tables.ts';

export interface PlanAgainstOptions {
  /** The chains to look at; all unless given. */
  readonly only?: readonly ChainPlace[];
  /** Is given every chain that is not as it shall be, or not wanted. */
  readonly see?: (chain: ObservedChain) => void;
}

/** What brings a family to `wanted`, for `IptablesTables.apply`. Throws KproxyError. */
export async function planAgainst(
  tables: IptablesTables,
  family: IpFamily,
  wanted: Iterable<PlannedChain>,
  { only, see }: PlanAgainstOptions = {},
): Promise<FullSync> {
  const planner = new FullSyncPlanner();
  const turn = new Turn();
  for (const chain of wanted) {
    planner.want(chain);
    if (turn.isOver) await turn.next();
  }
  const compare = (chain: ObservedChain): boolean => {
    const isOther = planner.see(chain);
    if (isOther) see?.(chain);
    return isOther;
  };
  await tables.observe(family, compare, only);
  return planner.plan();
}
