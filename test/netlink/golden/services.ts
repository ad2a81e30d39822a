// What services.nft says, as requests in the order in which nft sends them. Comments show the text of nft.

import type { NftRequest } from '../../../src/netlink/nftables/batch.ts';
import { concatType, DATATYPE } from '../../../src/netlink/nftables/datatypes.ts';
import type { Expression } from '../../../src/netlink/nftables/expression.ts';
import { type TypeofPart, typeofUserdata, typeUserdata } from '../../../src/netlink/nftables/set-userdata.ts';
import {
  anonymousProtocols,
  daddr,
  dport,
  hex,
  host32,
  isTcp,
  l4proto,
  mark,
  protocols,
  random,
  requestsIn,
  saddr,
  setMark,
} from './build.ts';

const { at, chain, rule, set, elements } = requestsIn('ip', 'kproxy-ts');

const { ipv4_addr, inet_proto, inet_service, integer } = DATATYPE;
const ipDaddr: TypeofPart = { kind: 'payload', protocol: 'ip', field: 'daddr' };
const ipSaddr: TypeofPart = { kind: 'payload', protocol: 'ip', field: 'saddr' };
const thDport: TypeofPart = { kind: 'payload', protocol: 'th', field: 'dport' };
const metaL4proto: TypeofPart = { kind: 'meta', key: 'l4proto' };
const numgen: TypeofPart = { kind: 'numgen', type: 'random', modulus: 2 };

const endpointValue = { isMap: true, dataType: concatType(ipv4_addr, inet_service), dataLength: 8 } as const;
const verdictMap = {
  isMap: true,
  dataType: DATATYPE.verdict,
  flags: {},
  expressions: [{ kind: 'counter' }],
} as const;

const goto = (chain: string): Expression => ({
  kind: 'immediate',
  register: 0,
  verdict: { kind: 'goto', chain },
});
const jump = (chain: string): Expression => ({
  kind: 'immediate',
  register: 0,
  verdict: { kind: 'jump', chain },
});
const masquerade: Expression = { kind: 'masquerade', flags: 16 };

/** `meta mark set meta mark | 0x4000` */
const markForMasquerade: Expression[] = [
  mark,
  {
    kind: 'bitwise',
    sourceRegister: 1,
    register: 1,
    op: 'boolean',
    length: 4,
    mask: host32(0xffffbfff),
    xor: host32(0x4000),
  },
  setMark,
];

/** `meta l4proto { tcp, udp, sctp }` */
const isProtocol = (setId: number): Expression[] => [
  l4proto(),
  { kind: 'lookup', register: 1, set: '__set%d', setId },
];

/** `dnat ip to … map @…`: the address arrives in register 1, the port in the word after it. */
const dnat: Expression = { kind: 'nat', type: 'dnat', family: 'ip', addressMin: 1, protoMin: 9 };

/** `dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @endpoints` */
const dnatToEndpoints: Expression[] = [
  daddr(1),
  l4proto(9),
  dport(10),
  random(2, 11),
  { kind: 'lookup', register: 1, destRegister: 1, set: 'endpoints', setId: 4 },
  dnat,
];

const protocolSet = (setId: number): NftRequest[] => [
  { op: 'addSet', ...at, set: '__set%d', setId, ...anonymousProtocols },
  { op: 'addElements', ...at, set: '__set%d', setId, elements: protocols },
];

export const services: readonly NftRequest[] = [
  { op: 'addTable', ...at, flags: 0, comment: 'kproxy-ts: rules for Services' },
  chain('refuse'),
  chain('pick-2'),
  chain('pick-2-masq'),
  chain('nodeport-2-masq'),
  chain('services'),
  {
    op: 'addChain',
    ...at,
    chain: 'nat-prerouting',
    base: { type: 'nat', hook: 'prerouting', priority: -100, policy: 'accept' },
  },
  {
    op: 'addChain',
    ...at,
    chain: 'nat-output',
    base: { type: 'nat', hook: 'output', priority: -100, policy: 'accept' },
  },
  {
    op: 'addChain',
    ...at,
    chain: 'nat-postrouting',
    base: { type: 'nat', hook: 'postrouting', priority: 100, policy: 'accept' },
  },
  // set cluster-ips { type ipv4_addr; elements = { 10.96.0.10, 10.107.48.55 } }
  set('cluster-ips', 1, {
    keyType: ipv4_addr,
    keyLength: 4,
    isMap: false,
    flags: {},
    userdata: typeUserdata({ parts: 1 }),
  }),
  elements('cluster-ips', 1, [{ key: hex('0a60000a') }, { key: hex('0a6b3037') }]),
  // set nodeport-addresses { type ipv4_addr; flags interval; elements = { 192.168.1.0/24 } }
  set('nodeport-addresses', 2, {
    keyType: ipv4_addr,
    keyLength: 4,
    isMap: false,
    flags: { interval: true },
    userdata: typeUserdata({ parts: 1 }),
  }),
  elements('nodeport-addresses', 2, [
    { key: hex('00000000'), isIntervalEnd: true },
    { key: hex('c0a80100') },
    { key: hex('c0a80200'), isIntervalEnd: true },
  ]),
  // set hairpin { type ipv4_addr . ipv4_addr; elements = { 10.1.0.2 . 10.1.0.2 } }
  set('hairpin', 3, {
    keyType: concatType(ipv4_addr, ipv4_addr),
    keyLength: 8,
    isMap: false,
    flags: {},
    userdata: typeUserdata({ parts: 2 }),
  }),
  elements('hairpin', 3, [{ key: hex('0a010002 0a010002') }]),
  // map endpoints { typeof ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport; … }
  set('endpoints', 4, {
    keyType: concatType(ipv4_addr, inet_proto, inet_service, integer),
    keyLength: 16,
    ...endpointValue,
    flags: {},
    userdata: typeofUserdata({ key: [ipDaddr, metaL4proto, thDport, numgen], data: [ipDaddr, thDport] }),
  }),
  elements('endpoints', 4, [
    { key: hex('0a6b3037 06000000 1f900000') + host32(0), data: hex('0a010002 00500000') },
    { key: hex('0a6b3037 06000000 1f900000') + host32(1), data: hex('0a010003 00500000') },
  ]),
  // map nodeport-endpoints { typeof meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport; … }
  set('nodeport-endpoints', 5, {
    keyType: concatType(inet_proto, inet_service, integer),
    keyLength: 12,
    ...endpointValue,
    flags: {},
    userdata: typeofUserdata({ key: [metaL4proto, thDport, numgen], data: [ipDaddr, thDport] }),
  }),
  elements('nodeport-endpoints', 5, [
    { key: hex('06000000 7ca20000') + host32(0), data: hex('0a010002 00500000') },
    { key: hex('06000000 7ca20000') + host32(1), data: hex('0a010003 00500000') },
  ]),
  // map affinity { typeof ip saddr . ip daddr . meta l4proto . th dport : ip daddr . th dport; timeout 3h; size 65535; … }
  set('affinity', 6, {
    keyType: concatType(ipv4_addr, ipv4_addr, inet_proto, inet_service),
    keyLength: 16,
    ...endpointValue,
    flags: { dynamic: true, timeout: true },
    size: 65535,
    timeoutMs: 3 * 60 * 60 * 1000,
    userdata: typeofUserdata({ key: [ipSaddr, ipDaddr, metaL4proto, thDport], data: [ipDaddr, thDport] }),
  }),
  // map services { type ipv4_addr . inet_proto . inet_service : verdict; counter; … }
  set('services', 7, {
    keyType: concatType(ipv4_addr, inet_proto, inet_service),
    keyLength: 12,
    ...verdictMap,
    userdata: typeUserdata({ parts: 3, map: 'verdict' }),
  }),
  elements('services', 7, [
    {
      key: hex('0a6b3037 06000000 1f900000'),
      verdict: { kind: 'goto', chain: 'pick-2' },
      comment: 'default/web:http',
    },
    {
      key: hex('0a60000a 11000000 00350000'),
      verdict: { kind: 'goto', chain: 'refuse' },
      comment: 'default/none:http',
    },
  ]),
  // map nodeports { type inet_proto . inet_service : verdict; counter; … }
  set('nodeports', 8, {
    keyType: concatType(inet_proto, inet_service),
    keyLength: 8,
    ...verdictMap,
    userdata: typeUserdata({ parts: 2, map: 'verdict' }),
  }),
  elements('nodeports', 8, [
    {
      key: hex('06000000 7ca20000'),
      verdict: { kind: 'goto', chain: 'nodeport-2-masq' },
      comment: 'default/web:http',
    },
  ]),
  // meta l4proto tcp reject with tcp reset
  rule('refuse', ...isTcp, { kind: 'reject', type: 'tcp-rst', code: 0 }),
  // reject
  rule('refuse', { kind: 'reject', type: 'icmp-unreach', code: 3 }),
  ...protocolSet(9),
  rule('pick-2', ...isProtocol(9), ...dnatToEndpoints),
  rule('pick-2-masq', ...markForMasquerade),
  ...protocolSet(10),
  rule('pick-2-masq', ...isProtocol(10), ...dnatToEndpoints),
  rule('nodeport-2-masq', ...markForMasquerade),
  ...protocolSet(11),
  // … dnat ip to meta l4proto . th dport . numgen random mod 2 map @nodeport-endpoints
  rule(
    'nodeport-2-masq',
    ...isProtocol(11),
    l4proto(1),
    dport(9),
    random(2, 10),
    { kind: 'lookup', register: 1, destRegister: 1, set: 'nodeport-endpoints', setId: 5 },
    dnat,
  ),
  // ip daddr . meta l4proto . th dport vmap @services
  rule('services', daddr(1), l4proto(9), dport(10), {
    kind: 'lookup',
    register: 1,
    destRegister: 0,
    set: 'services',
    setId: 7,
  }),
  // ip daddr @cluster-ips goto refuse
  rule('services', daddr(), { kind: 'lookup', register: 1, set: 'cluster-ips', setId: 1 }, goto('refuse')),
  // ip daddr @nodeport-addresses ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @nodeports
  rule(
    'services',
    daddr(),
    { kind: 'lookup', register: 1, set: 'nodeport-addresses', setId: 2 },
    { kind: 'payload', base: 'network', offset: 16, length: 1, register: 1 },
    { kind: 'cmp', register: 1, op: 'neq', data: hex('7f') },
    { kind: 'fib', flags: 2, result: 'type', register: 1 },
    { kind: 'cmp', register: 1, op: 'eq', data: host32(2) },
    l4proto(1),
    dport(9),
    { kind: 'lookup', register: 1, destRegister: 0, set: 'nodeports', setId: 8 },
  ),
  rule('nat-prerouting', jump('services')),
  rule('nat-output', jump('services')),
  // meta mark & 0x4000 == 0x4000 meta mark set meta mark ^ 0x4000 masquerade fully-random
  rule(
    'nat-postrouting',
    mark,
    {
      kind: 'bitwise',
      sourceRegister: 1,
      register: 1,
      op: 'boolean',
      length: 4,
      mask: host32(0x4000),
      xor: host32(0),
    },
    { kind: 'cmp', register: 1, op: 'eq', data: host32(0x4000) },
    mark,
    {
      kind: 'bitwise',
      sourceRegister: 1,
      register: 1,
      op: 'boolean',
      length: 4,
      mask: host32(0xffffffff),
      xor: host32(0x4000),
    },
    setMark,
    masquerade,
  ),
  // ct status dnat ip saddr . ip daddr @hairpin masquerade fully-random
  rule(
    'nat-postrouting',
    { kind: 'ct', key: 'status', register: 1 },
    { kind: 'bitwise', sourceRegister: 1, register: 1, length: 4, mask: host32(0x20), xor: host32(0) },
    { kind: 'cmp', register: 1, op: 'neq', data: host32(0) },
    saddr(1),
    daddr(9),
    { kind: 'lookup', register: 1, set: 'hairpin', setId: 3 },
    masquerade,
  ),
];
