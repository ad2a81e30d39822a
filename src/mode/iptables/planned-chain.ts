// A chain as it shall be. Its rules are made when they are asked for: a large cluster has 200,000 of them.

import type { ServiceKey } from '../../model/types.ts';
import type { IptablesRule } from '../../netlink/iptables/rule.ts';
import type { IptablesTable } from '../../netlink/iptables/tables.ts';

export interface ChainPlace {
  readonly table: IptablesTable;
  readonly name: string;
}

/** Where a chain is within a family, as text: what maps are keyed by. */
export function chainId({ table, name }: ChainPlace): string {
  return `${table} ${name}`;
}

/** The place that `chainId` made the text of. */
export function chainPlace(id: string): ChainPlace {
  const [table, name] = id.split(' ') as [IptablesTable, string];
  return { table, name };
}

/**
 * Who else may have rules in a chain: nobody (`own`); everybody, in the chains of the hooks (`base`), which exist with
 * their table, and in those that are shared with kubelet (`shared`).
 */
export type Ownership = 'own' | 'base' | 'shared';

export interface PlannedChain extends ChainPlace {
  readonly ownership: Ownership;
  /** The Service it exists for, where there is one. */
  readonly service: ServiceKey | undefined;
  /** In order; of a chain that is not our own, only our rules. Equal at each call. */
  rules(): readonly IptablesRule[];
}
