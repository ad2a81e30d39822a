// What keeps connections to proxies translated once their portals are gone: the kernel translates nothing any more, not even what is
// established, in a family without a single chain of type nat (nf_nat_unregister_fn() in net/netfilter/nf_nat_core.c), and
// tracks nothing without a rule that asks for it (nf_ct_netns_put() in nf_conntrack_proto.c).

import type { IpFamily } from '../../model/ip.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import { accept, statusHasDnat } from '../nftables/expressions.ts';
import { nftFamily } from '../nftables/names.ts';
import { PORTAL_TABLE } from './portals.ts';

/** Each process has its own: that of the next one has to come before this one's goes. */
export function translatingTable(pid: number): string {
  return `${PORTAL_TABLE}-${pid}`;
}

/** A table per family that does nothing. `flags` are from TABLE_FLAGS. */
export function addTranslatingTables(
  families: readonly IpFamily[],
  table: string,
  flags: number,
): NftRequest[] {
  return families.flatMap((one): NftRequest[] => {
    const at = { family: nftFamily(one), table };
    const base = { type: 'nat', hook: 'prerouting', priority: 0 } as const;
    return [
      { op: 'addTable', ...at, flags },
      { op: 'addChain', ...at, chain: 'translate-on', base },
      { op: 'addRule', ...at, chain: 'translate-on', expressions: [...statusHasDnat, ...accept] },
    ];
  });
}
