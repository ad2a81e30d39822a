// A virtual server's settings as its attributes have them: persistence is a flag, a number of seconds, and a mask of the
// client's address (IPv4) or the length of its prefix (IPv6) in one and the same attribute.

import type { IpFamily } from '../../model/ip.ts';
import { isHostLittleEndian } from '../writer.ts';
import { IP_VS_SVC_F_HASHED, IP_VS_SVC_F_PERSISTENT } from './uapi.ts';
import type { VirtualServerSettings } from './virtual-server.ts';

export interface WireSettings {
  readonly scheduler: string;
  readonly flags: number;
  readonly timeout: number;
  /** Read in network order, whichever it is in. */
  readonly netmask: number;
}

export function toWireSettings(settings: VirtualServerSettings, family: IpFamily): WireSettings {
  const { scheduler, flags, persistenceSeconds, persistencePrefix } = settings;
  return {
    scheduler,
    flags: persistenceSeconds === undefined ? flags : flags | IP_VS_SVC_F_PERSISTENT,
    timeout: persistenceSeconds ?? 0,
    netmask: family === 4 ? maskOf(persistencePrefix) : swapToNetwork(persistencePrefix),
  };
}

export function fromWireSettings(wire: WireSettings, family: IpFamily): VirtualServerSettings {
  const { scheduler, flags, timeout, netmask } = wire;
  return {
    scheduler,
    flags: flags & ~(IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_HASHED),
    persistenceSeconds: (flags & IP_VS_SVC_F_PERSISTENT) === 0 ? undefined : timeout,
    // A mask with holes, which ipvsadm lets pass, counts up to its first hole.
    persistencePrefix: family === 4 ? Math.clz32(~netmask) : swapToNetwork(netmask),
  };
}

function maskOf(prefix: number): number {
  return prefix === 0 ? 0 : (-1 << (32 - prefix)) >>> 0;
}

/** htonl() and ntohl(): each undoes itself. */
function swapToNetwork(number: number): number {
  if (!isHostLittleEndian) return number;
  const [high, low] = [number >>> 16, number & 0xffff];
  return (((((low & 255) << 8) | (low >> 8)) << 16) | ((high & 255) << 8) | (high >> 8)) >>> 0;
}
