// Where node ports are served, and that localhost is not among it unless it is asked for.

import { expect, test } from 'vitest';
import { formatCidr, type Ip, parseCidr } from '../../src/model/ip.ts';
import type { Node } from '../../src/model/types.ts';
import { type NodePortAddresses, nodePortCidrs } from '../../src/vip/node-port-addresses.ts';
import { HERE, ip } from './objects.ts';

const primary: NodePortAddresses = { kind: 'primary' };
const host: readonly Ip[] = [ip('10.9.9.9'), ip('fd09::9')];
const node = (...addresses: string[]): Node => ({
  name: HERE,
  zone: undefined,
  addresses: addresses.map(ip),
  podCidrs: [],
  isEligible: true,
});
const served = (setting: NodePortAddresses, one: Node | undefined) =>
  nodePortCidrs(setting, one, host).map(formatCidr);

test.each<[string, Node | undefined, string[]]>([
  [
    'the first address of each family',
    node('192.0.2.1', '192.0.2.2', 'fd00::1', 'fd00::2'),
    ['192.0.2.1/32', 'fd00::1/128'],
  ],
  ['nothing of a family that the Node has no address of', node('192.0.2.1'), ['192.0.2.1/32']],
  ['never a loopback address', node('127.0.0.1', '::1'), []],
  [
    'the first address that is none',
    node('127.1.2.3', '192.0.2.1', '::1', 'fd00::1'),
    ['192.0.2.1/32', 'fd00::1/128'],
  ],
  ["this host's own while the Node is not known", undefined, ['10.9.9.9/32', 'fd09::9/128']],
  ["this host's own while the Node has none", node(), ['10.9.9.9/32', 'fd09::9/128']],
])('primary is %s', (_, one, expected) => {
  expect(served(primary, one)).toEqual(expected);
});

test('CIDRs are what was asked for, localhost included; whether that is served is up to the mode', () => {
  const cidrs = ['127.0.0.0/8', '0.0.0.0/0', '::1/128'].map((text) => parseCidr(text)!);
  expect(served({ kind: 'cidrs', cidrs }, node('192.0.2.1'))).toEqual([
    '127.0.0.0/8',
    '0.0.0.0/0',
    '::1/128',
  ]);
});
