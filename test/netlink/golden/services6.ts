// What services6.nft says, as requests in the order in which nft sends them. Comments show the text of nft.

import type { NftRequest } from '../../../src/netlink/nftables/batch.ts';
import { concatType, DATATYPE } from '../../../src/netlink/nftables/datatypes.ts';
import type { Expression } from '../../../src/netlink/nftables/expression.ts';
import { type TypeofPart, typeofUserdata, typeUserdata } from '../../../src/netlink/nftables/set-userdata.ts';
import {
  anonymousProtocols,
  dport,
  hex,
  host32,
  isTcp,
  l4proto,
  protocols,
  random,
  requestsIn,
} from './build.ts';

const { at, chain, rule, set, elements } = requestsIn('ip6', 'kproxy-ts');

const { ipv6_addr, inet_proto, inet_service, integer } = DATATYPE;
const ip6Daddr: TypeofPart = { kind: 'payload', protocol: 'ip6', field: 'daddr' };
const ip6Saddr: TypeofPart = { kind: 'payload', protocol: 'ip6', field: 'saddr' };
const thDport: TypeofPart = { kind: 'payload', protocol: 'th', field: 'dport' };
const metaL4proto: TypeofPart = { kind: 'meta', key: 'l4proto' };
const numgen: TypeofPart = { kind: 'numgen', type: 'random', modulus: 2 };

const endpointValue = { isMap: true, dataType: concatType(ipv6_addr, inet_service), dataLength: 20 } as const;

/** `ip6 daddr` */
const daddr: Expression = { kind: 'payload', base: 'network', offset: 24, length: 16, register: 1 };

export const services6: readonly NftRequest[] = [
  { op: 'addTable', ...at, flags: 0 },
  chain('refuse'),
  chain('pick-2'),
  { op: 'addChain', ...at, chain: 'services', comment: 'what is dialled' },
  // set nodeport-addresses { type ipv6_addr; flags interval; elements = { fd00::/64 } }
  set('nodeport-addresses', 1, {
    keyType: ipv6_addr,
    keyLength: 16,
    isMap: false,
    flags: { interval: true },
    userdata: typeUserdata({ parts: 1 }),
  }),
  elements('nodeport-addresses', 1, [
    { key: hex('00'.repeat(16)), isIntervalEnd: true },
    { key: hex(`fd000000 00000000 ${'00'.repeat(8)}`) },
    { key: hex(`fd000000 00000001 ${'00'.repeat(8)}`), isIntervalEnd: true },
  ]),
  // set hairpin { type ipv6_addr . ipv6_addr; elements = { fd01::2 . fd01::2 } }
  set('hairpin', 2, {
    keyType: concatType(ipv6_addr, ipv6_addr),
    keyLength: 32,
    isMap: false,
    flags: {},
    userdata: typeUserdata({ parts: 2 }),
  }),
  elements('hairpin', 2, [{ key: hex(`fd010000 ${'00'.repeat(8)} 00000002`.repeat(2)) }]),
  // map endpoints { typeof ip6 daddr . meta l4proto . th dport . numgen random mod 2 : ip6 daddr . th dport; … }
  set('endpoints', 3, {
    keyType: concatType(ipv6_addr, inet_proto, inet_service, integer),
    keyLength: 28,
    ...endpointValue,
    flags: {},
    userdata: typeofUserdata({ key: [ip6Daddr, metaL4proto, thDport, numgen], data: [ip6Daddr, thDport] }),
  }),
  elements('endpoints', 3, [
    {
      key: hex(`fd000000 ${'00'.repeat(8)} 00000005 06000000 1f900000`) + host32(0),
      data: hex(`fd010000 ${'00'.repeat(8)} 00000002 00500000`),
    },
  ]),
  set('nodeport-endpoints', 4, {
    keyType: concatType(inet_proto, inet_service, integer),
    keyLength: 12,
    ...endpointValue,
    flags: {},
    userdata: typeofUserdata({ key: [metaL4proto, thDport, numgen], data: [ip6Daddr, thDport] }),
  }),
  set('affinity', 5, {
    keyType: concatType(ipv6_addr, ipv6_addr, inet_proto, inet_service),
    keyLength: 40,
    ...endpointValue,
    flags: { dynamic: true, timeout: true },
    size: 65535,
    timeoutMs: 3 * 60 * 60 * 1000,
    userdata: typeofUserdata({ key: [ip6Saddr, ip6Daddr, metaL4proto, thDport], data: [ip6Daddr, thDport] }),
  }),
  // map services { type ipv6_addr . inet_proto . inet_service : verdict; counter; comment "virtual IPs"; … }
  set('services', 6, {
    keyType: concatType(ipv6_addr, inet_proto, inet_service),
    keyLength: 24,
    isMap: true,
    dataType: DATATYPE.verdict,
    flags: {},
    expressions: [{ kind: 'counter' }],
    comment: 'virtual IPs',
    userdata: typeUserdata({ parts: 3, map: 'verdict' }),
  }),
  elements('services', 6, [
    {
      key: hex(`fd000000 ${'00'.repeat(8)} 00000005 06000000 1f900000`),
      verdict: { kind: 'goto', chain: 'refuse' },
      comment: 'default/web:http',
    },
  ]),
  rule('refuse', ...isTcp, { kind: 'reject', type: 'tcp-rst', code: 0 }),
  rule('refuse', { kind: 'reject', type: 'icmp-unreach', code: 4 }),
  set('__set%d', 7, { ...anonymousProtocols }),
  elements('__set%d', 7, protocols),
  // meta l4proto { tcp, udp, sctp } dnat ip6 to ip6 daddr . meta l4proto . th dport . numgen random mod 2 map @endpoints
  rule(
    'pick-2',
    l4proto(),
    { kind: 'lookup', register: 1, set: '__set%d', setId: 7 },
    daddr,
    l4proto(2),
    dport(13),
    random(2, 14),
    { kind: 'lookup', register: 1, destRegister: 1, set: 'endpoints', setId: 3 },
    { kind: 'nat', type: 'dnat', family: 'ip6', addressMin: 1, protoMin: 2 },
  ),
  // vmap { tcp . 80 : drop }
  set('__map%d', 8, {
    keyType: concatType(inet_proto, inet_service),
    keyLength: 8,
    isMap: true,
    dataType: DATATYPE.verdict,
    flags: { anonymous: true, constant: true },
    size: 1,
    // As `typeof meta l4proto . th dport : verdict`, which cannot be typed.
    userdata: typeofUserdata({ key: [metaL4proto, thDport], data: [{ kind: 'verdict' }] }),
  }),
  elements('__map%d', 8, [{ key: hex('06000000 00500000'), verdict: { kind: 'drop' } }]),
  // ip6 daddr @nodeport-addresses ip6 daddr != ::1 fib daddr type local meta l4proto . th dport vmap …
  {
    ...rule(
      'services',
      daddr,
      { kind: 'lookup', register: 1, set: 'nodeport-addresses', setId: 1 },
      daddr,
      { kind: 'cmp', register: 1, op: 'neq', data: hex(`${'00'.repeat(15)} 01`) },
      { kind: 'fib', flags: 2, result: 'type', register: 1 },
      { kind: 'cmp', register: 1, op: 'eq', data: host32(2) },
      l4proto(1),
      dport(9),
      { kind: 'lookup', register: 1, destRegister: 0, set: '__map%d', setId: 8 },
    ),
    comment: 'one port',
  } as NftRequest,
];
