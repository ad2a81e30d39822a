// The gate's table and IPVS's as the kernel holds them → the lines a human reads. Names come from the gate, what answers
// from IPVS.

import { isMarked, type ListedRealServer, type TableEntry } from '../../netlink/ipvs/table.ts';
import type { VirtualServer } from '../../netlink/ipvs/virtual-server.ts';
import { balanceAction, type VipTableRow } from '../../vip/table-row.ts';
import type { Observed } from '../nftables/observed.ts';
import { vipTableRows as gateRows } from '../nftables/rows.ts';
import { nodePortId, serverId } from './planned-server.ts';

interface Listed {
  readonly server: VirtualServer & { readonly stats: { readonly connections: number } };
  readonly realServers: readonly ListedRealServer[];
}

/** One row per frontend of the gate; a node port has one row for all its virtual servers. */
export function vipTableRows(gate: Observed, table: readonly TableEntry[]): VipTableRow[] {
  const byId = new Map<string, Listed[]>();
  for (const { server, realServers } of table) {
    if (isMarked(server)) continue;
    for (const id of [serverId(server), nodePortId(server)]) {
      const listed = byId.get(id);
      if (listed === undefined) byId.set(id, [{ server, realServers }]);
      else listed.push({ server, realServers });
    }
  }
  return [...gate].flatMap(([family, observed]) =>
    gateRows(new Map([[family, observed]])).map((row) =>
      withServers(row, byId.get(rowId(row, family)) ?? []),
    ),
  );
}

/** `serverId` of the virtual server of a row, or `nodePortId`. */
export function rowId({ address, port, protocol }: VipTableRow, family: 4 | 6): string {
  const key = { family, port, protocol };
  return address === '*'
    ? nodePortId(key)
    : serverId({ ...key, address: address as VirtualServer['address'] });
}

/** The gate says what becomes of clients before IPVS sees them. */
function withServers(row: VipTableRow, listed: readonly Listed[]): VipTableRow {
  const [first] = listed;
  if (first === undefined || !row.action.startsWith('balance')) return { ...row, connections: total(listed) };
  const { scheduler, persistenceSeconds } = first.server;
  const how = balanceAction(scheduler, persistenceSeconds);
  return {
    ...row,
    action: row.action.replace('balance', how),
    backends: first.realServers
      .filter(({ weight }) => weight > 0)
      .map(({ address, port }) => ({ address, port }))
      .sort((a, b) => (a.address === b.address ? a.port - b.port : a.address < b.address ? -1 : 1)),
    connections: total(listed),
  };
}

function total(listed: readonly Listed[]): bigint {
  return BigInt(listed.reduce((sum, { server }) => sum + server.stats.connections, 0));
}
