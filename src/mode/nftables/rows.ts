// The table as the kernel holds it → the lines a human reads. Needs nothing but the kernel.

import { type IpFamily, unpackIp } from '../../model/ip.ts';
import type { Protocol } from '../../model/types.ts';
import { balanceAction, restricted, type VipTableRow } from '../../vip/table-row.ts';
import { DROP_CHAIN, protocolOf, REFUSE_CHAIN, serviceValueParts, unpackPort } from './names.ts';
import { type Observed, type ObservedTable, observedShape, observedSlots } from './observed.ts';
import { endpointSet, pickedSet, pickSet, serviceSet } from './planned-frontend.ts';
import type { Shape } from './shape.ts';

/** One row per element of `services` and `nodeports`. Elements no daemon of ours writes have no row. */
export function vipTableRows(observed: Observed): VipTableRow[] {
  return [...observed].flatMap(([family, table]) => [
    ...rowsOf(family, table, 'vip'),
    ...rowsOf(family, table, 'nodeport'),
  ]);
}

function rowsOf(family: IpFamily, table: ObservedTable, keyedBy: Shape['keyedBy']): VipTableRow[] {
  const addressLength = keyedBy === 'nodeport' ? 0 : family === 4 ? 4 : 16;
  const set = serviceSet({ keyedBy, side: 'all' });
  const rows: VipTableRow[] = [];
  for (const [key, value] of table.elements.get(set) ?? []) {
    const protocol = protocolOf(key.charCodeAt(addressLength));
    if (protocol === undefined) continue;
    const { shapeId, comment } = serviceValueParts(value);
    const packedAddress = key.slice(0, addressLength);
    rows.push({
      service: comment,
      kind: kindOf(table, packedAddress),
      address: packedAddress === '' ? '*' : unpackIp(packedAddress),
      port: unpackPort(key.slice(addressLength + 4)),
      protocol: protocol as Protocol,
      action: actionOf(table, shapeId),
      backends: backendsOf(family, table, { keyedBy, side: 'all' }, key, shapeId),
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

/** `balance`, `refuse` or `drop`; with `, restricted` when that goes for clients in the source ranges only. */
function actionOf(table: ObservedTable, shapeId: string): string {
  const action = unrestrictedActionOf(table, shapeId);
  return observedShape(table, { side: 'all' }, shapeId)?.isRestricted === true ? restricted(action) : action;
}

function unrestrictedActionOf(table: ObservedTable, shapeId: string): string {
  const chain = table.elements.get('shapes')?.get(shapeId);
  const shape = observedShape(table, { side: 'all' }, shapeId);
  if (chain === REFUSE_CHAIN || (shape?.slotCount === 0 && shape.whenEmpty === 'refuse')) return 'refuse';
  if (chain === DROP_CHAIN || shape?.slotCount === 0) return 'drop';
  const { scheduler = 'random', stickySeconds } = shape?.balancing ?? {};
  return balanceAction(scheduler, stickySeconds);
}

/** What is in the slots that the shape covers, each once: those beyond wait for their deletion. */
function backendsOf(
  family: IpFamily,
  table: ObservedTable,
  keying: Pick<Shape, 'keyedBy' | 'side'>,
  key: string,
  shapeId: string,
): { address: string; port: number }[] {
  const shape = observedShape(table, keying, shapeId);
  const isPicked = shape?.balancing !== undefined;
  const slots = observedSlots(table, isPicked ? pickSet(keying) : endpointSet(keying), key);
  const distinct = [...new Set(slots.slice(0, shape?.slotCount ?? 0))];
  const picked = table.elements.get(pickedSet(keying));
  const endpoints = isPicked ? distinct.map((id) => picked?.get(key + id)) : distinct;
  return endpoints
    .filter((endpoint) => endpoint !== undefined)
    .map((endpoint) => unpackEndpoint(family, endpoint));
}

function unpackEndpoint(family: IpFamily, packed: string): { address: string; port: number } {
  const length = family === 4 ? 4 : 16;
  return { address: unpackIp(packed.slice(0, length)), port: unpackPort(packed.slice(length)) };
}
