// The table as the kernel holds it → the lines a human reads. Needs nothing but the kernel.

import { type IpFamily, unpackIp } from '../../model/ip.ts';
import type { Protocol } from '../../model/types.ts';
import type { VipTableRow } from '../../vip/table-row.ts';
import { protocolOf, REFUSE_CHAIN, type SetName, serviceValueParts, unpackPort } from './names.ts';
import { type Observed, type ObservedTable, observedSlots } from './observed.ts';
import { shapeOfId } from './shape.ts';

/** One row per element of `services` and `nodeports`. Elements no daemon of ours writes have no row. */
export function vipTableRows(observed: Observed): VipTableRow[] {
  return [...observed].flatMap(([family, table]) => [
    ...rowsOf(family, table, 'services', 'endpoints'),
    ...rowsOf(family, table, 'nodeports', 'nodeport-endpoints'),
  ]);
}

function rowsOf(family: IpFamily, table: ObservedTable, set: SetName, endpoints: SetName): VipTableRow[] {
  const addressLength = set === 'nodeports' ? 0 : family === 4 ? 4 : 16;
  const rows: VipTableRow[] = [];
  for (const [key, value] of table.elements.get(set) ?? []) {
    const protocol = protocolOf(key.charCodeAt(addressLength));
    if (protocol === undefined) continue;
    const { shapeId, comment } = serviceValueParts(value);
    const packedAddress = key.slice(0, addressLength);
    // Slots beyond those wait for their deletion.
    const slots = observedSlots(table, endpoints, key).slice(0, shapeOfId(shapeId)?.slotCount ?? 0);
    rows.push({
      service: comment,
      kind: kindOf(table, packedAddress),
      address: packedAddress === '' ? '*' : unpackIp(packedAddress),
      port: unpackPort(key.slice(addressLength + 4)),
      protocol: protocol as Protocol,
      action: table.elements.get('shapes')?.get(shapeId) === REFUSE_CHAIN ? 'refuse' : 'balance',
      backends: slots.map((slot) => unpackEndpoint(family, slot)),
      connections: table.counters.get(set)?.get(key)?.packets,
    });
  }
  return rows;
}

/** Only cluster IPs are told apart in the kernel. */
function kindOf(table: ObservedTable, packedAddress: string): string {
  if (packedAddress === '') return 'NodePort';
  return table.elements.get('cluster-ips')?.has(packedAddress) === true ? 'ClusterIP' : 'VIP';
}

function unpackEndpoint(family: IpFamily, packed: string): { address: string; port: number } {
  const length = family === 4 ? 4 : 16;
  return { address: unpackIp(packed.slice(0, length)), port: unpackPort(packed.slice(length)) };
}
