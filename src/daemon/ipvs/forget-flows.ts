// Connection tracking of what went through virtual servers. Only the first packet of a flow meets NAT rules: such a flow would never
// come to those of another mode.

import { packIp } from '../../model/ip.ts';
import { IPS_DST_NAT } from '../../netlink/conntrack/uapi.ts';
import type { VirtualServerKey } from '../../netlink/ipvs/virtual-server.ts';
import { IPPROTO } from '../../vip/conntrack/stale-flows.ts';
import { ConntrackSession } from '../conntrack-session.ts';

/**
 * Deletes the UDP flows that go through these, of a destination that no rule has translated: what rules have, connection tracking
 * leads to its endpoint or proxy without IPVS, and answers to it are under way. Throws KernelError, DecodeError.
 */
export async function forgetFlows(servers: readonly VirtualServerKey[]): Promise<void> {
  const keys = new Set(
    servers
      .filter(({ protocol }) => protocol === 'UDP')
      .map(({ address, port }) => `${packIp(address)} ${port}`),
  );
  if (keys.size === 0) return;
  const session = new ConntrackSession();
  try {
    for (const family of [4, 6] as const) {
      const { flows } = await session.find(
        family,
        { protocol: IPPROTO.UDP },
        ({ original, status = 0 }) =>
          (status & IPS_DST_NAT) === 0 && keys.has(`${original.destination} ${original.destinationPort}`),
      );
      const { refusal } = await session.delete(flows);
      if (refusal !== undefined) throw refusal;
    }
  } finally {
    session.close();
  }
}
