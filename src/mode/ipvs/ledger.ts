// Which virtual servers are ours, told from the gate's table: a daemon that starts finds there what the last one had.

import type { Ip, IpFamily } from '../../model/ip.ts';
import { unpackIp } from '../../model/ip.ts';
import { protocolOf, unpackPort } from '../nftables/names.ts';
import type { Observed } from '../nftables/observed.ts';
import { serverId } from './planned-server.ts';

/** `serverId` of every virtual server that the gate lets in to; those of node ports at each of `addresses`. */
export function ledgerOf(observed: Observed, addresses: Iterable<Ip>): Set<string> {
  const ids = new Set<string>();
  const hostAddresses = [...addresses];
  for (const [family, table] of observed) {
    const addressLength = family === 4 ? 4 : 16;
    for (const key of table.elements.get('services')?.keys() ?? []) {
      add(ids, family, unpackIp(key.slice(0, addressLength)), key.slice(addressLength));
    }
    // Where inside clients are sent need not be a frontend.
    for (const data of table.elements.get('inside-endpoints')?.values() ?? []) addInside(ids, family, data);
    for (const data of table.elements.get('inside-nodeport-endpoints')?.values() ?? [])
      addInside(ids, family, data);
    for (const key of table.elements.get('nodeports')?.keys() ?? []) {
      for (const address of hostAddresses) {
        if (address.includes(':') === (family === 6)) add(ids, family, address, key);
      }
    }
  }
  return ids;

  function addInside(into: Set<string>, family: IpFamily, data: string): void {
    const length = family === 4 ? 4 : 16;
    const port = unpackPort(data.slice(length));
    for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) {
      into.add(serverId({ family, address: unpackIp(data.slice(0, length)), port, protocol }));
    }
  }
}

function add(ids: Set<string>, family: IpFamily, address: Ip, rest: string): void {
  const protocol = protocolOf(rest.charCodeAt(0));
  if (protocol !== undefined)
    ids.add(serverId({ family, address, protocol, port: unpackPort(rest.slice(4)) }));
}
