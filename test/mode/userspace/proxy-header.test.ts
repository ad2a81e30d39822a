// The PROXY protocol, version 2: bytes by haproxy's doc/proxy-protocol.txt, and those that HAProxy 2.6.12 sent (`send-proxy-v2`).

import { expect, test } from 'vitest';
import { proxyHeader } from '../../../src/mode/userspace/proxy-header.ts';
import type { Ip } from '../../../src/model/ip.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/\s+|#.*$/gm, ''), 'hex'));

test('TCP over IPv4', () => {
  expect(proxyHeader({ ip: '192.168.50.2' as Ip, port: 50000 }, { ip: '10.96.0.1' as Ip, port: 80 })).toEqual(
    hex(`
      0d0a0d0a 000d0a51 5549540a   # signature
      21 11 000c                   # version 2 PROXY, TCP over IPv4, 12 bytes
      c0a83202 0a600001            # 192.168.50.2, 10.96.0.1
      c350 0050                    # 50000, 80
    `),
  );
});

test('TCP over IPv6', () => {
  expect(
    proxyHeader({ ip: 'fd00:50::2' as Ip, port: 1 }, { ip: 'fd00:10:96::1' as Ip, port: 65535 }),
  ).toEqual(
    hex(`
      0d0a0d0a 000d0a51 5549540a
      21 21 0024                          # TCP over IPv6, 36 bytes
      fd000050 00000000 00000000 00000002
      fd000010 00960000 00000000 00000001
      0001 ffff
    `),
  );
});

test.each([
  ['127.0.0.1', 34766, '0d0a0d0a000d0a515549540a2111000c7f0000017f00000187ce232d'],
  [
    '::1',
    53956,
    '0d0a0d0a000d0a515549540a212100240000000000000000000000000000000100000000000000000000000000000001d2c4232d',
  ],
])('what HAProxy says of a client at %s port %i', (ip, port, bytes) => {
  expect(proxyHeader({ ip: ip as Ip, port }, { ip: ip as Ip, port: 9005 })).toEqual(hex(bytes));
});
