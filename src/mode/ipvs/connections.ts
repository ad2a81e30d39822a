// Connections by Service and endpoint, from what IPVS counts at each virtual server and real server. Which Service that is
// the gate says.

import { unpackIp } from '../../model/ip.ts';
import type { Protocol } from '../../model/types.ts';
import { formatRealServer } from '../../netlink/ipvs/format.ts';
import { isMarked, type TableEntry } from '../../netlink/ipvs/table.ts';
import type { ConnectionCount } from '../../vip/connection-counts.ts';
import { ConnectionCounts } from '../../vip/connection-counts.ts';
import { protocolOf, serviceValueParts, unpackPort } from '../nftables/names.ts';
import type { Observed } from '../nftables/observed.ts';
import { vipTableRows as gateRows } from '../nftables/rows.ts';
import { nodePortId, serverId } from './planned-server.ts';
import { rowId } from './rows.ts';

/** Connections that IPVS gave to each Service of the gate's, and of these to each endpoint that there is. */
export function connectionCounts(gate: Observed, table: readonly TableEntry[]): ConnectionCount[] {
  const services = servicesOf(gate);
  const counts = new ConnectionCounts();
  for (const { server, realServers } of table) {
    if (isMarked(server)) continue;
    const service = services.get(serverId(server)) ?? services.get(nodePortId(server));
    if (service === undefined) continue;
    const { protocol } = server;
    const add = (endpoint: string | undefined, connections: number): void =>
      counts.add({ service, protocol, endpoint, connections: BigInt(connections) });
    add(undefined, server.stats.connections);
    for (const one of realServers) add(formatRealServer(one), one.stats.connections);
  }
  return counts.values();
}

/** Display names by `serverId` or `nodePortId`. */
function servicesOf(gate: Observed): ReadonlyMap<string, string> {
  const services = new Map<string, string>();
  for (const [family, observed] of gate) {
    const addressLength = family === 4 ? 4 : 16;
    // Where this node and its pods are sent need not be a frontend itself.
    for (const { frontends, targets, protocolAt } of insideSets(addressLength)) {
      for (const [slot, target] of observed.elements.get(targets) ?? []) {
        const value = observed.elements.get(frontends)?.get(slot.slice(0, protocolAt + 8));
        const protocol = protocolOf(slot.charCodeAt(protocolAt)) as Protocol | undefined;
        if (value === undefined || protocol === undefined) continue;
        const address = unpackIp(target.slice(0, addressLength));
        const port = unpackPort(target.slice(addressLength));
        services.set(serverId({ family, address, port, protocol }), serviceValueParts(value).comment);
      }
    }
    // Last: what is a frontend has its own name.
    for (const row of gateRows(new Map([[family, observed]]))) services.set(rowId(row, family), row.service);
  }
  return services;
}

/** Maps of targets, the maps of the frontends whose they are, and where keys of both have the protocol. */
function insideSets(addressLength: number) {
  return [
    { frontends: 'services', targets: 'inside-endpoints', protocolAt: addressLength },
    { frontends: 'nodeports', targets: 'inside-nodeport-endpoints', protocolAt: 0 },
  ] as const;
}
