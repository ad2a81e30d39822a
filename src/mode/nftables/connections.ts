// Connections by Service, from the counters of the elements that lead to it: each counts the first packets that found it, which in
// a NAT chain are connections. Endpoints have no counters: one more per slot would be paid by every connection.

import type { IpFamily } from '../../model/ip.ts';
import type { Protocol } from '../../model/types.ts';
import type { Element } from '../../netlink/nftables/element.ts';
import type { ConnectionCounts } from '../../vip/connection-counts.ts';
import { protocolOf, type SetName } from './names.ts';

/** Sets whose elements count, and the bytes of an address that their keys begin with. */
export const COUNTED_SETS: readonly { readonly set: SetName; addressBytes(family: IpFamily): number }[] = [
  { set: 'services', addressBytes: (family) => (family === 4 ? 4 : 16) },
  { set: 'nodeports', addressBytes: () => 0 },
];

/** Adds what elements of a counted set say. Elements that no daemon of ours wrote say nothing. */
export function countConnections(
  counts: ConnectionCounts,
  addressBytes: number,
  elements: readonly Element[],
): void {
  for (const { key, comment, counter } of elements) {
    const protocol = protocolOf(key.charCodeAt(addressBytes));
    if (protocol === undefined || comment === undefined || counter === undefined) continue;
    counts.add({
      service: comment,
      protocol: protocol as Protocol,
      endpoint: undefined,
      connections: counter.packets,
    });
  }
}
