// What an endpoint is told first where its Service asks for the PROXY protocol, version 2: who the client is, and what it
// dialled. Authority: haproxy's doc/proxy-protocol.txt, section 2.2.
//
//   0  signature (12)
//  12  version 2, command PROXY (0x21)
//  13  address family and transport: TCP over IPv4 (0x11), over IPv6 (0x21)
//  14  length of what follows (2)
//  16  address of the client, address dialled (4 or 16 each), port of the client, port dialled (2 each)

import { familyOf, type Ip, ipBytes } from '../../model/ip.ts';

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const VERSION_AND_COMMAND = 0x21;
const TRANSPORTS = { 4: 0x11, 6: 0x21 } as const;

/** An address and a port, 1 to 65535. */
export interface SocketAddress {
  readonly ip: Ip;
  readonly port: number;
}

/** Both of one family. */
export function proxyHeader(client: SocketAddress, dialled: SocketAddress): Uint8Array {
  const addresses = [...ipBytes(client.ip), ...ipBytes(dialled.ip)];
  const ports = [client.port, dialled.port].flatMap((port) => [port >> 8, port & 255]);
  const length = addresses.length + ports.length;
  return Uint8Array.from([
    ...SIGNATURE,
    VERSION_AND_COMMAND,
    TRANSPORTS[familyOf(client.ip)],
    length >> 8,
    length & 255,
    ...addresses,
    ...ports,
  ]);
}
