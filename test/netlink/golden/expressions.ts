// What expressions.nft says, as requests in the order in which nft sends them. Comments show the text of nft.

import type { NftRequest } from '../../../src/netlink/nftables/batch.ts';
import { concatType, DATATYPE } from '../../../src/netlink/nftables/datatypes.ts';
import type { Expression } from '../../../src/netlink/nftables/expression.ts';
import type { SetDeclaration } from '../../../src/netlink/nftables/set.ts';
import { typeUserdata } from '../../../src/netlink/nftables/set-userdata.ts';
import type { Verdict } from '../../../src/netlink/nftables/verdict.ts';
import { daddr, dport, hex, host32, isTcp, mark, requestsIn, saddr, setMark } from './build.ts';

const { at, chain, rule, set, elements } = requestsIn('ip', 'x');
const { ipv4_addr, inet_service } = DATATYPE;

const addresses = {
  keyType: ipv4_addr,
  keyLength: 4,
  isMap: false,
  userdata: typeUserdata({ parts: 1 }),
} as const satisfies Partial<SetDeclaration>;

const load = (...expressions: readonly Expression[]) => rule('load', ...expressions);
const test = (...expressions: readonly Expression[]) => rule('test', ...expressions);
const translate = (...expressions: readonly Expression[]) => rule('translate', ...expressions);

const verdict = (value: Verdict): Expression => ({ kind: 'immediate', register: 0, verdict: value });
const equals = (data: string): Expression => ({ kind: 'cmp', register: 1, op: 'eq', data });
const constant = (register: number, data: string): Expression => ({ kind: 'immediate', register, data });
const setConnectionMark: Expression = { kind: 'ct', key: 'mark', sourceRegister: 1 };

export const expressions: readonly NftRequest[] = [
  { op: 'addTable', ...at, flags: 0 },
  {
    op: 'addChain',
    ...at,
    chain: 'filter-input',
    base: { type: 'filter', hook: 'input', priority: 5, policy: 'drop' },
  },
  chain('load'),
  chain('test'),
  chain('translate'),
  chain('decide'),
  // elements = { 10.1.0.0/16, 10.3.0.0-10.3.0.7 }
  set('blocks', 1, { ...addresses, flags: { interval: true } }),
  elements('blocks', 1, [
    { key: hex('00000000'), isIntervalEnd: true },
    { key: hex('0a010000') },
    { key: hex('0a020000'), isIntervalEnd: true },
    { key: hex('0a030000') },
    { key: hex('0a030008'), isIntervalEnd: true },
  ]),
  // set sources { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 1-5 } }
  set('sources', 2, {
    keyType: concatType(ipv4_addr, inet_service),
    keyLength: 8,
    isMap: false,
    flags: { interval: true, concat: true },
    fieldLengths: [4, 2],
    userdata: typeUserdata({ parts: 2 }),
  }),
  elements('sources', 2, [{ key: hex('0a000000 00010000'), keyEnd: hex('0affffff 00050000') }]),
  // elements = { 1.2.3.4 counter packets 5 bytes 7 timeout 30s }
  set('recent', 3, {
    ...addresses,
    flags: { dynamic: true, timeout: true },
    size: 1000,
    timeoutMs: 60_000,
    expressions: [{ kind: 'counter' }],
  }),
  elements('recent', 3, [{ key: hex('01020304'), timeoutMs: 30_000, counter: { packets: 5n, bytes: 7n } }]),
  // elements = { 1.2.3.4 timeout 30s expires 20s }
  set('seen', 4, {
    ...addresses,
    flags: { dynamic: true, timeout: true },
    size: 1000,
    timeoutMs: 60_000,
  }),
  elements('seen', 4, [{ key: hex('01020304'), timeoutMs: 30_000, expirationMs: 20_000 }]),
  // set plenty { type ipv4_addr; flags dynamic; size 100; counter limit rate 5/second burst 5 packets; }
  set('plenty', 5, {
    ...addresses,
    flags: { dynamic: true, expressions: true },
    size: 100,
    expressions: [
      { kind: 'counter' },
      { kind: 'limit', rate: 5n, unit: 1n, burst: 5, type: 'packets', isInverted: false },
    ],
  }),
  // ct state established,related accept
  rule(
    'filter-input',
    { kind: 'ct', key: 'state', register: 1 },
    { kind: 'bitwise', sourceRegister: 1, register: 1, length: 4, mask: host32(6), xor: host32(0) },
    { kind: 'cmp', register: 1, op: 'neq', data: host32(0) },
    verdict({ kind: 'accept' }),
  ),
  // update @seen { ip saddr timeout 90s counter }
  load(saddr(), {
    kind: 'dynset',
    op: 'update',
    set: 'seen',
    setId: 4,
    keyRegister: 1,
    timeoutMs: 90_000,
    expressions: [{ kind: 'counter' }],
  }),
  // add @seen { ip saddr counter }
  load(saddr(), {
    kind: 'dynset',
    op: 'add',
    set: 'seen',
    setId: 4,
    keyRegister: 1,
    expressions: [{ kind: 'counter' }],
  }),
  // add @plenty { ip saddr }
  load(saddr(), { kind: 'dynset', op: 'add', set: 'plenty', setId: 5, keyRegister: 1 }),
  // delete @seen { ip saddr }
  load(saddr(), { kind: 'dynset', op: 'delete', set: 'seen', setId: 4, keyRegister: 1 }),
  // meta mark set jhash ip saddr mod 7 seed 3 offset 2
  load(
    saddr(2),
    {
      kind: 'hash',
      type: 'jhash',
      sourceRegister: 2,
      register: 1,
      length: 4,
      modulus: 7,
      seed: 3,
      offset: 2,
    },
    setMark,
  ),
  // meta mark set symhash mod 2
  load({ kind: 'hash', type: 'symhash', register: 1, modulus: 2, offset: 0 }, setMark),
  // meta mark set numgen inc mod 3 offset 5
  load({ kind: 'numgen', type: 'inc', register: 1, modulus: 3, offset: 5 }, setMark),
  // ct original ip daddr 1.2.3.4
  load({ kind: 'ct', key: 'ip-daddr', register: 1, direction: 'original' }, equals(hex('01020304'))),
  // ct mark set meta mark
  load(mark, setConnectionMark),
  // ct mark set meta mark << 3
  load(
    mark,
    { kind: 'bitwise', sourceRegister: 1, register: 1, op: 'lshift', length: 4, data: host32(3) },
    setConnectionMark,
  ),
  // ct mark set ct mark >> 1
  load(
    { kind: 'ct', key: 'mark', register: 1 },
    { kind: 'bitwise', sourceRegister: 1, register: 1, op: 'rshift', length: 4, data: host32(1) },
    setConnectionMark,
  ),
  // tcp dport set 80
  load(...isTcp, constant(1, hex('0050')), {
    kind: 'payload',
    sourceRegister: 1,
    base: 'transport',
    offset: 2,
    length: 2,
    checksumType: 1,
    checksumOffset: 16,
  }),
  // counter packets 1 bytes 2
  load({ kind: 'counter', packets: 1n, bytes: 2n }),
  load({ kind: 'counter' }),
  // limit rate over 10/second burst 7 packets
  load({ kind: 'limit', rate: 10n, unit: 1n, burst: 7, type: 'packets', isInverted: true }),
  // limit rate 1 mbytes/second
  load({ kind: 'limit', rate: 1048576n, unit: 1n, type: 'bytes', isInverted: false }),
  // log prefix "hi" group 3 snaplen 64 queue-threshold 5
  load({ kind: 'log', prefix: 'hi', group: 3, snaplen: 64, queueThreshold: 5 }),
  // log level debug flags all
  load({ kind: 'log', level: 7, flags: 0x2f }),
  // tcp option maxseg size set 1000
  load(constant(1, hex('03e8')), {
    kind: 'unknown',
    name: 'exthdr',
    data: hex('08000700 00000001 05000200 02000000 08000300 00000002 08000400 00000002 08000600 00000001'),
  }),
  load({ kind: 'unknown', name: 'notrack' }),
  // tcp dport != 10-20
  test(...isTcp, dport(), { kind: 'range', register: 1, op: 'neq', from: hex('000a'), to: hex('0014') }),
  // meta mark 1-5
  test(
    mark,
    { kind: 'byteorder', sourceRegister: 1, register: 1, op: 'hton', length: 4, size: 4 },
    { kind: 'cmp', register: 1, op: 'gte', data: hex('00000001') },
    { kind: 'cmp', register: 1, op: 'lte', data: hex('00000005') },
  ),
  // ip saddr & 255.0.0.255 < 9.0.0.0
  test(
    saddr(),
    {
      kind: 'bitwise',
      sourceRegister: 1,
      register: 1,
      op: 'boolean',
      length: 4,
      mask: hex('ff0000ff'),
      xor: hex('00000000'),
    },
    { kind: 'cmp', register: 1, op: 'lt', data: hex('09000000') },
  ),
  // ip saddr != @seen
  test(saddr(), { kind: 'lookup', register: 1, set: 'seen', setId: 4, isInverted: true }),
  // iifname "eth*" accept
  test(
    { kind: 'meta', key: 'iifname', register: 1 },
    { kind: 'cmp', register: 1, op: 'eq', data: 'eth' },
    verdict({ kind: 'accept' }),
  ),
  // reject with icmp net-unreachable
  test({ kind: 'reject', type: 'icmp-unreach', code: 0 }),
  // meta l4proto tcp snat ip to 1.2.3.4-1.2.3.9:100-200 random,persistent
  translate(
    ...isTcp,
    constant(1, hex('01020304')),
    constant(2, hex('01020309')),
    constant(3, hex('0064')),
    constant(4, hex('00c8')),
    {
      kind: 'nat',
      type: 'snat',
      family: 'ip',
      addressMin: 1,
      addressMax: 2,
      protoMin: 3,
      protoMax: 4,
      flags: 4 | 8 | 2,
    },
  ),
  // tcp dport 5 redirect to :80
  translate(...isTcp, dport(), equals(hex('0005')), constant(1, hex('0050')), {
    kind: 'redirect',
    protoMin: 1,
    flags: 2,
  }),
  // tcp dport 6 masquerade to :1-9 random
  translate(...isTcp, dport(), equals(hex('0006')), constant(1, hex('0001')), constant(2, hex('0009')), {
    kind: 'masquerade',
    protoMin: 1,
    protoMax: 2,
    flags: 4 | 2,
  }),
  translate({ kind: 'masquerade' }),
  // ip daddr vmap { 1.2.3.4 : jump load, 1.2.3.5 : continue, * : return }
  set('__map%d', 6, {
    keyType: ipv4_addr,
    keyLength: 4,
    isMap: true,
    dataType: DATATYPE.verdict,
    flags: { anonymous: true, constant: true },
    size: 3,
    // Byte order of the key, then the data as `typeof verdict`.
    userdata: `${typeUserdata({ parts: 1 })}${hex('01 04')}${host32(0)}${hex('04 08 00 04')}${host32(1)}${hex('01 00 06 04')}${host32(0)}`,
  }),
  elements('__map%d', 6, [
    { key: hex('01020304'), verdict: { kind: 'jump', chain: 'load' } },
    { key: hex('01020305'), verdict: { kind: 'continue' } },
    { key: '', verdict: { kind: 'return' } },
  ]),
  rule('decide', daddr(), { kind: 'lookup', register: 1, destRegister: 0, set: '__map%d', setId: 6 }),
  // tcp dport { 1, 2, 5-9 } return
  set('__set%d', 7, {
    keyType: inet_service,
    keyLength: 2,
    isMap: false,
    flags: { anonymous: true, constant: true, interval: true },
    size: 5,
    // Byte order, merged elements, and the key as `typeof tcp dport`.
    userdata: `${hex('00 04')}${host32(2)}${hex('02 04')}${host32(1)}${hex('03 14 00 04')}${host32(7)}${hex('01 0c 00 04')}${host32(8)}${hex('01 04')}${host32(2)}`,
  }),
  elements('__set%d', 7, [
    { key: hex('0000'), isIntervalEnd: true },
    { key: hex('0001') },
    { key: hex('0003'), isIntervalEnd: true },
    { key: hex('0005') },
    { key: hex('000a'), isIntervalEnd: true },
  ]),
  rule(
    'decide',
    ...isTcp,
    dport(),
    { kind: 'lookup', register: 1, set: '__set%d', setId: 7 },
    verdict({ kind: 'return' }),
  ),
  rule('decide', verdict({ kind: 'jump', chain: 'test' })),
  rule('decide', verdict({ kind: 'goto', chain: 'test' })),
  { op: 'addTable', family: 'inet', table: 'y', flags: 0 },
  {
    op: 'addChain',
    family: 'inet',
    table: 'y',
    chain: 'filter-forward',
    base: { type: 'filter', hook: 'forward', priority: 0 },
  },
  // meta nfproto ipv4 meta protocol ip drop
  {
    op: 'addRule',
    family: 'inet',
    table: 'y',
    chain: 'filter-forward',
    expressions: [
      { kind: 'meta', key: 'nfproto', register: 1 },
      equals(hex('02')),
      { kind: 'meta', key: 'protocol', register: 1 },
      equals(hex('0800')),
      verdict({ kind: 'drop' }),
    ],
  },
  {
    op: 'addRule',
    family: 'inet',
    table: 'y',
    chain: 'filter-forward',
    expressions: [{ kind: 'reject', type: 'icmpx-unreach', code: 3 }],
  },
];
