// The tables and built-in chains of iptables-nft (its xtables_ipv4, the same for IPv6): where its base chains hang.
// iptables-save takes a base chain of another type, hook or priority for somebody else's and does not show it.

import type { ChainBase } from '../nftables/chain.ts';

export type IptablesTable = 'filter' | 'nat' | 'mangle';

/** Chains by name, in the order in which iptables prints them. The policy is `accept` unless somebody changed it. */
export const BASE_CHAINS: Readonly<Record<IptablesTable, Readonly<Record<string, ChainBase>>>> = {
  filter: {
    INPUT: { type: 'filter', hook: 'input', priority: 0 },
    FORWARD: { type: 'filter', hook: 'forward', priority: 0 },
    OUTPUT: { type: 'filter', hook: 'output', priority: 0 },
  },
  nat: {
    PREROUTING: { type: 'nat', hook: 'prerouting', priority: -100 },
    INPUT: { type: 'nat', hook: 'input', priority: 100 },
    OUTPUT: { type: 'nat', hook: 'output', priority: -100 },
    POSTROUTING: { type: 'nat', hook: 'postrouting', priority: 100 },
  },
  mangle: {
    PREROUTING: { type: 'filter', hook: 'prerouting', priority: -150 },
    INPUT: { type: 'filter', hook: 'input', priority: -150 },
    FORWARD: { type: 'filter', hook: 'forward', priority: -150 },
    OUTPUT: { type: 'route', hook: 'output', priority: -150 },
    POSTROUTING: { type: 'filter', hook: 'postrouting', priority: -150 },
  },
};
