// The portals as the kernel holds them → the lines a human reads. What is behind a proxy, the kernel does not know.

import type { VipTableRow } from '../../vip/table-row.ts';
import type { Observed } from '../nftables/observed.ts';
import { vipTableRows } from '../nftables/rows.ts';
import { isProxied } from './portals.ts';

/** One row per element of `services` and `nodeports`. Elements no daemon of ours writes have no row. */
export function portalRows(observed: Observed): VipTableRow[] {
  return vipTableRows(observed).map((row) => {
    const [portal] = row.backends;
    if (portal === undefined || !isProxied(row)) return row;
    return { ...row, action: row.action.replace('balance', 'proxy'), backends: [], portal };
  });
}
