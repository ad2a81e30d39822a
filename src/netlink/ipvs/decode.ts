// What IPVS answers, as plain values. Objects with a number that has no name here (a protocol, a forwarding method of a
// newer kernel) decode to undefined: they are somebody else's, and must not keep us from reading the rest.

import { type Ip, type IpFamily, unpackIp } from '../../model/ip.ts';
import { attr, required, struct } from '../attribute.ts';
import { type Codec, UnknownValueError, u32 } from '../codec.ts';
import { openGenetlink } from '../genetlink/message.ts';
import type { NetlinkMessage } from '../message.ts';
import type { Reader } from '../reader.ts';
import { listedDest, listedService } from './attributes.ts';
import { fromWireSettings } from './persistence.ts';
import type {
  IpvsInfo,
  IpvsTimeouts,
  ListedMarkedServer,
  ListedRealServer,
  ListedVirtualServer,
  Tunnel,
} from './table.ts';
import * as ipvs from './uapi.ts';

const service = struct({ service: required(ipvs.IPVS_CMD_ATTR_SERVICE, listedService) });
const dest = struct({ dest: required(ipvs.IPVS_CMD_ATTR_DEST, listedDest) });
const timeouts = struct({
  tcp: attr(ipvs.IPVS_CMD_ATTR_TIMEOUT_TCP, u32),
  tcpFin: attr(ipvs.IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, u32),
  udp: attr(ipvs.IPVS_CMD_ATTR_TIMEOUT_UDP, u32),
});
const info = struct({
  version: required(ipvs.IPVS_INFO_ATTR_VERSION, u32),
  connectionTableSize: required(ipvs.IPVS_INFO_ATTR_CONN_TAB_SIZE, u32),
});

/** A virtual server of a dump. Throws DecodeError. */
export function decodeVirtualServer(
  message: NetlinkMessage,
): ListedVirtualServer | ListedMarkedServer | undefined {
  const reader = open(message, 'virtual server', ipvs.IPVS_CMD_NEW_SERVICE);
  const wire = decodeKnown(service, reader)?.service;
  if (wire === undefined) return undefined;
  const { family, protocol, address, port, firewallMark, persistenceEngine, stats } = wire;
  const rest = {
    ...fromWireSettings(wire, family),
    ...(persistenceEngine === undefined ? {} : { persistenceEngine }),
    stats,
  };
  if (firewallMark !== undefined) return { family, firewallMark, ...rest };
  if (protocol === undefined || address === undefined || port === undefined) {
    throw reader.error('neither an address nor a mark', 0);
  }
  return { family, protocol, address: unpack(address, family), port, ...rest };
}

/** A real server of a dump. Throws DecodeError. */
export function decodeRealServer(message: NetlinkMessage): ListedRealServer | undefined {
  const wire = decodeKnown(dest, open(message, 'real server', ipvs.IPVS_CMD_NEW_DEST))?.dest;
  if (wire === undefined) return undefined;
  const { address, tunnelType, tunnelPort = 0, tunnelFlags = 0, ...rest } = wire;
  const server = { ...rest, address: unpack(address, wire.family) };
  if (wire.forwarding !== 'tunnel' || tunnelType === undefined || tunnelType === 'ipip') return server;
  const tunnel: Tunnel = { type: tunnelType, port: tunnelPort, flags: tunnelFlags };
  return { ...server, tunnel };
}

/** The answer to a query for timeouts: 0 for a protocol that the kernel has no support for. Throws DecodeError. */
export function decodeTimeouts(message: NetlinkMessage): IpvsTimeouts {
  const reader = open(message, 'IPVS timeouts', ipvs.IPVS_CMD_SET_CONFIG);
  const { tcp = 0, tcpFin = 0, udp = 0 } = timeouts.decode(reader);
  return { tcp, tcpFin, udp };
}

/** Throws DecodeError. */
export function decodeInfo(message: NetlinkMessage): IpvsInfo {
  const { version, connectionTableSize } = info.decode(open(message, 'IPVS info', ipvs.IPVS_CMD_SET_INFO));
  return {
    version: `${(version >>> 16) & 255}.${(version >>> 8) & 255}.${version & 255}`,
    connectionTableSize,
  };
}

function open(message: NetlinkMessage, what: string, expected: number): Reader {
  const { command, reader } = openGenetlink(message, what);
  if (command !== expected) throw reader.error(`unexpected command ${command}`, 0);
  return reader;
}

function decodeKnown<T>(codec: Codec<T>, reader: Reader): T | undefined {
  try {
    return codec.decode(reader);
  } catch (error) {
    if (error instanceof UnknownValueError) return undefined;
    throw error;
  }
}

/** Of the 16 bytes on the wire an IPv4 address has the first four. */
function unpack(packed: string, family: IpFamily): Ip {
  return unpackIp(family === 4 ? packed.slice(0, 4) : packed);
}
