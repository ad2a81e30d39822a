// The rules of fixtures/rules4.txt and fixtures/rules6.txt as plain values, in the order of the fixtures.

import { parseCidr, parseIp } from '../../../src/model/ip.ts';
import type {
  AddressMatch,
  ConntrackState,
  InterfaceMatch,
  IptablesRule,
  Match,
  PortRange,
  Target,
} from '../../../src/netlink/iptables/rule.ts';

const address = (text: string): AddressMatch => {
  const isInverted = text.startsWith('!');
  return { cidr: parseCidr(isInverted ? text.slice(1) : text)!, isInverted };
};
const named = (name: string): InterfaceMatch => ({ name, isInverted: false });
const notNamed = (name: string): InterfaceMatch => ({ name, isInverted: true });
const protocol = (name: string) => ({ protocol: { name, isInverted: false } });
const ports = (first: number, last = first): PortRange => ({ first, last, isInverted: false });
const notPorts = (first: number, last = first): PortRange => ({ first, last, isInverted: true });
const dport = (port: number): Match => ({ kind: 'ports', destinationPorts: ports(port) });
const comment = (text: string): Match => ({ kind: 'comment', text });
const ctstate = (isInverted: boolean, ...states: readonly ConntrackState[]): Match => ({
  kind: 'conntrack',
  states,
  isInverted,
});
const masqueradeMark = (isInverted: boolean): Match => ({
  kind: 'mark',
  value: 0x4000,
  mask: 0x4000,
  isInverted,
});
const toLocal: Match = { kind: 'addrtype', destination: { types: ['LOCAL'], isInverted: false } };
const recent = (operation: 'set' | 'rcheck', name: string): Match => ({
  kind: 'recent',
  operation,
  name,
  seconds: operation === 'set' ? 0 : 10800,
  isReaping: operation === 'rcheck',
  side: 'source',
});
const random = (probability: number): Match => ({ kind: 'statistic', probability, isInverted: false });
const jump = (chain: string): Target => ({ kind: 'jump', chain });
const dnat = (ip: string, port: number): Target => ({ kind: 'DNAT', address: parseIp(ip)!, port });
const masquerade = (isFullyRandom: boolean): Target => ({ kind: 'MASQUERADE', isFullyRandom });
const [accept, drop, leave] = [{ kind: 'ACCEPT' }, { kind: 'DROP' }, { kind: 'RETURN' }] as const;
const xorMark: Target = { kind: 'MARK', value: 0x4000, mask: 0 };

export const rules4: readonly IptablesRule[] = [
  {
    matches: [ctstate(false, 'NEW'), comment('kubernetes externally-visible service portals')],
    target: jump('KUBE-FORWARD'),
  },
  { matches: [], target: jump('KUBE-FORWARD') },
  {
    matches: [comment('kubernetes forwarding rules')],
    target: { kind: 'goto', chain: 'KUBE-FORWARD' },
  },
  {
    source: address('!127.0.0.0/8'),
    destination: address('127.0.0.0/8'),
    matches: [
      comment('block incoming localnet connections'),
      ctstate(true, 'RELATED', 'ESTABLISHED', 'DNAT'),
    ],
    target: drop,
  },
  { matches: [ctstate(false, 'INVALID')], target: drop },
  { matches: [comment('kubernetes forwarding rules'), masqueradeMark(false)], target: accept },
  {
    destination: address('172.30.0.41/32'),
    ...protocol('tcp'),
    matches: [comment('ns1/svc1:p80 has no endpoints'), dport(80)],
    target: { kind: 'REJECT', reason: 'icmp-port-unreachable' },
  },
  {
    ...protocol('sctp'),
    matches: [comment('ns1/svc1:p80 has no local endpoints'), toLocal, dport(30001)],
    target: drop,
  },
  {
    destination: address('5.6.7.8/32'),
    ...protocol('udp'),
    matches: [comment('ns1/svc1:dns traffic not accepted by KUBE-FW-TCOU7JCQXEZGVUNU'), dport(53)],
    target: drop,
  },
  {
    ...protocol('tcp'),
    matches: [{ kind: 'ports', sourcePorts: ports(53), destinationPorts: ports(1024, 65535) }],
    target: { kind: 'REJECT', reason: 'tcp-reset' },
  },
  {
    ...protocol('udp'),
    matches: [{ kind: 'ports', sourcePorts: ports(0, 1023), destinationPorts: notPorts(53) }],
    target: { kind: 'REJECT', reason: 'icmp-admin-prohibited' },
  },
  {
    ...protocol('tcp'),
    matches: [{ kind: 'ports', sourcePorts: ports(22), destinationPorts: ports(2222) }],
    target: leave,
  },
  {
    ...protocol('sctp'),
    matches: [{ kind: 'ports', sourcePorts: notPorts(4, 5), destinationPorts: ports(6) }],
  },
  {
    source: address('10.0.0.0/9'),
    destination: address('!10.244.0.0/16'),
    inInterface: named('cali+'),
    outInterface: notNamed('eth0'),
    protocol: { name: 'tcp', isInverted: true },
    matches: [],
    target: leave,
  },
  {
    inInterface: notNamed('+'),
    ...protocol('200'),
    matches: [{ kind: 'mark', value: 5, mask: 0xffffffff, isInverted: true }],
    target: drop,
  },
  {
    matches: [
      { kind: 'physdev', inInterface: notNamed('vif1.0'), outInterface: named('tap+'), isBridged: true },
    ],
    target: accept,
  },
  { matches: [] },
  {
    matches: [comment('ns1/svc1:p80 -> 10.180.0.1:80'), recent('rcheck', 'KUBE-SEP-SXIVWICOYRO3J4NJ')],
    target: jump('KUBE-SEP-SXIVWICOYRO3J4NJ'),
  },
  {
    matches: [comment('ns1/svc1:p80 -> 10.180.0.1:80'), random(715827883)],
    target: jump('KUBE-SEP-SXIVWICOYRO3J4NJ'),
  },
  {
    source: address('10.180.0.1/32'),
    matches: [comment('ns1/svc1:p80')],
    target: jump('KUBE-MARK-MASQ'),
  },
  {
    ...protocol('tcp'),
    matches: [comment('ns1/svc1:p80'), recent('set', 'KUBE-SEP-SXIVWICOYRO3J4NJ'), { kind: 'ports' }],
    target: dnat('10.180.0.1', 80),
  },
  { ...protocol('udp'), matches: [{ kind: 'ports' }], target: dnat('10.180.0.1', 53) },
  { matches: [], target: dnat('10.180.0.1', 0) },
  {
    destination: address('!127.0.0.0/8'),
    matches: [
      comment('kubernetes service nodeports; NOTE: this must be the last rule in this chain'),
      toLocal,
    ],
    target: jump('KUBE-MARK-MASQ'),
  },
  {
    matches: [
      {
        kind: 'addrtype',
        source: { types: ['UNICAST', 'LOCAL'], isInverted: true },
        destination: { types: ['LOCAL'], isInverted: false },
      },
    ],
    target: jump('KUBE-MARK-MASQ'),
  },
  { matches: [comment('other traffic to ns1/svc1:p80 will be dropped by KUBE-PROXY-FIREWALL')] },
  { matches: [], target: { kind: 'MARK', value: 0x4000, mask: 0x4000 } },
  { matches: [masqueradeMark(true)], target: leave },
  { matches: [], target: xorMark },
  { matches: [comment('kubernetes service traffic requiring SNAT')], target: masquerade(true) },
  {
    source: address('172.17.0.0/16'),
    outInterface: notNamed('docker0'),
    matches: [],
    target: masquerade(false),
  },
];

export const rules6: readonly IptablesRule[] = [
  {
    destination: address('fd00:1::41/128'),
    ...protocol('tcp'),
    matches: [comment('ns1/svc1:p80 has no endpoints'), dport(80)],
    target: { kind: 'REJECT', reason: 'icmp6-port-unreachable' },
  },
  {
    source: address('!fd00::/9'),
    destination: address('fd00:1::/64'),
    inInterface: named('eth0'),
    outInterface: named('cali+'),
    ...protocol('udp'),
    matches: [dport(53)],
    target: { kind: 'REJECT', reason: 'icmp6-adm-prohibited' },
  },
  {
    // A mapped address is one of IPv4 to parseCidr, as in Go.
    source: {
      cidr: { ip: '::ffff:102:304' as AddressMatch['cidr']['ip'], prefix: 128, family: 6 },
      isInverted: false,
    },
    ...protocol('ipv6-icmp'),
    matches: [],
    target: accept,
  },
  { ...protocol('tcp'), matches: [], target: { kind: 'REJECT', reason: 'tcp-reset' } },
  {
    matches: [comment('ns1/svc1:p80 -> [fd00:10:180::1]:80'), recent('rcheck', 'KUBE-SEP-OGYCNMB4EMRUSJ6N')],
    target: jump('KUBE-SEP-OGYCNMB4EMRUSJ6N'),
  },
  { matches: [random(2 ** 30)], target: jump('KUBE-SEP-OGYCNMB4EMRUSJ6N') },
  {
    ...protocol('tcp'),
    matches: [recent('set', 'KUBE-SEP-OGYCNMB4EMRUSJ6N'), { kind: 'ports' }],
    target: dnat('fd00:10:180::1', 80),
  },
  { ...protocol('sctp'), matches: [{ kind: 'ports' }], target: dnat('fd00:10:180::1', 0) },
  {
    destination: address('!::1/128'),
    matches: [toLocal],
    target: jump('KUBE-SEP-OGYCNMB4EMRUSJ6N'),
  },
  { matches: [masqueradeMark(true)], target: leave },
  { matches: [], target: xorMark },
  { matches: [], target: masquerade(true) },
  { matches: [], target: masquerade(false) },
];
