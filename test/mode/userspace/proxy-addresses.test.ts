import { expect, test } from 'vitest';
import { type ProxyAddressFacts, proxyAddresses } from '../../../src/mode/userspace/proxy-addresses.ts';
import type { Ip } from '../../../src/model/ip.ts';

const ip = (text: string): Ip => text as Ip;
const HOST = ['10.1.0.1', '192.168.50.10', '192.168.60.10', 'fd00:50::10', 'fd00:60::10'].map(ip);
const chosen = (facts: Partial<ProxyAddressFacts>): string[] => [
  ...proxyAddresses({ bindAddress: undefined, nodeAddresses: [], hostAddresses: HOST, ...facts }).values(),
];

test('the bind address comes first, for its family alone', () => {
  expect(chosen({ bindAddress: ip('192.168.60.10'), nodeAddresses: [ip('192.168.50.10')] })).toEqual([
    '192.168.60.10',
    'fd00:50::10',
  ]);
});

test("then the Node's first address that this host has", () => {
  const nodeAddresses = ['198.51.100.1', 'fd00:60::10', '192.168.50.10', '192.168.60.10'].map(ip);
  expect(chosen({ nodeAddresses })).toEqual(['192.168.50.10', 'fd00:60::10']);
});

test('what this host does not have is not listened on', () => {
  expect(chosen({ bindAddress: ip('198.51.100.1') })).toEqual(['10.1.0.1', 'fd00:50::10']);
});

test('a family without an address has none, and loopback is none', () => {
  expect(chosen({ hostAddresses: [ip('127.0.0.1'), ip('::1'), ip('192.168.50.10')] })).toEqual([
    '192.168.50.10',
  ]);
  expect(chosen({ bindAddress: ip('127.0.0.1'), hostAddresses: [ip('127.0.0.1')] })).toEqual([]);
});
