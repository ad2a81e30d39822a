// Where portals lead for a plan that is only shown: ports are the choice of the process that listens, so a Frontend keeps what the
// kernel has, and a new one gets port 0.

import { type Ip, type IpFamily, packIp, unpackIp } from '../../model/ip.ts';
import { packPort, packProtocol, unpackPort } from '../nftables/names.ts';
import { type Observed, observedSlots } from '../nftables/observed.ts';
import { endpointSet } from '../nftables/planned-frontend.ts';
import type { Portal, PortalOf } from './portals.ts';

/** `addresses`: where proxies would listen. */
export function shownPortals(observed: Observed, addresses: ReadonlyMap<IpFamily, Ip>): PortalOf {
  return ({ family, address, protocol, port }, side) => {
    const ip = addresses.get(family);
    if (ip === undefined) return undefined;
    const keying = {
      keyedBy: address === undefined ? 'nodeport' : 'vip',
      side: side === 'inside' ? side : 'all',
    } as const;
    const key = `${address === undefined ? '' : packIp(address)}${packProtocol(protocol)}${packPort(port)}`;
    const [slot] = observedSlots(observed.get(family), endpointSet(keying), key);
    const present = slot === undefined ? undefined : unpackPortal(slot);
    return present?.ip === ip ? present : { ip, port: 0 };
  };
}

function unpackPortal(slot: string): Portal {
  return { ip: unpackIp(slot.slice(0, -4)) as Ip, port: unpackPort(slot.slice(-4)) };
}
