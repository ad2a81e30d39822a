// The statements our rules are made of, each named after its nft text, in the form nft itself sends.
// A statement is a list of expressions; a rule is the concatenation of its statements.

import { type Cidr, type Ip, type IpFamily, packIp } from '../../model/ip.ts';
import { IPS_DST_NAT } from '../../netlink/conntrack/uapi.ts';
import { FIB_FLAGS } from '../../netlink/nftables/expression/fib.ts';
import { NAT_FLAGS } from '../../netlink/nftables/expression/nat-options.ts';
import type { Expression } from '../../netlink/nftables/expression.ts';
import { registerAt, VERDICT_REGISTER } from '../../netlink/nftables/register.ts';
import { nftFamily, packHostU32, type SetName } from './names.ts';

export type Statement = readonly Expression[];

const FIRST = registerAt(0);

/** Where the addresses are in an IPv4 or IPv6 header, in bytes. */
const ADDRESSES = { 4: { length: 4, saddr: 12, daddr: 16 }, 6: { length: 16, saddr: 8, daddr: 24 } } as const;

/** Field of a concatenation: what it loads, and how many 4-byte words it takes. */
export interface Field {
  readonly words: number;
  load(register: number): Expression;
}

const address = (family: IpFamily, which: 'saddr' | 'daddr'): Field => {
  const { length, [which]: offset } = ADDRESSES[family];
  return {
    words: length / 4,
    load: (register) => ({ kind: 'payload', base: 'network', offset, length, register }),
  };
};

/** `ip saddr` / `ip6 saddr` */
export const saddr = (family: IpFamily): Field => address(family, 'saddr');

/** `ip daddr` / `ip6 daddr` */
export const daddr = (family: IpFamily): Field => address(family, 'daddr');

/** `meta l4proto` */
export const l4proto: Field = { words: 1, load: (register) => ({ kind: 'meta', key: 'l4proto', register }) };

/** `th dport` */
export const dport: Field = {
  words: 1,
  load: (register) => ({ kind: 'payload', base: 'transport', offset: 2, length: 2, register }),
};

/** `meta priority` */
export const priority: Field = {
  words: 1,
  load: (register) => ({ kind: 'meta', key: 'priority', register }),
};

/** `numgen random mod N` */
export const randomBelow = (modulus: number): Field => ({
  words: 1,
  load: (register) => ({ kind: 'numgen', type: 'random', modulus, register }),
});

/** `numgen inc mod N`: each rule counts on its own. */
export const countBelow = (modulus: number): Field => ({
  words: 1,
  load: (register) => ({ kind: 'numgen', type: 'inc', modulus, register }),
});

/** `a . b . c` into the first registers. */
function loadConcat(fields: readonly Field[]): Expression[] {
  let word = 0;
  return fields.map((field) => {
    const expression = field.load(registerAt(word));
    word += field.words;
    return expression;
  });
}

const savePriority: Expression = { kind: 'meta', key: 'priority', sourceRegister: FIRST };

/** `meta priority set …` */
export function setPriority(field: Field): Statement {
  return [field.load(FIRST), savePriority];
}

/** The fixed seed of `setPriorityToHashOfSaddr`: the same on every node. */
const HASH_SEED = 1;

/** `meta priority set jhash ip saddr mod N seed 0x1` */
export function setPriorityToHashOfSaddr(family: IpFamily, modulus: number): Statement {
  const sourceRegister = registerAt(BEHIND_KEY_WORDS);
  const { length } = ADDRESSES[family];
  return [
    saddr(family).load(sourceRegister),
    { kind: 'hash', sourceRegister, register: FIRST, length, modulus, seed: HASH_SEED },
    savePriority,
  ];
}

/** `meta priority set … map @set` */
export function setPriorityFrom(fields: readonly Field[], set: SetName): Statement {
  return [...loadConcat(fields), { kind: 'lookup', register: FIRST, destRegister: FIRST, set }, savePriority];
}

/** `meta priority != none` */
export const hasPriority: Statement = [
  priority.load(FIRST),
  { kind: 'cmp', register: FIRST, op: 'neq', data: packHostU32(0) },
];

/** Where nft puts what comes with a key that is no longer: at the second of the 16-byte registers. */
const BEHIND_KEY_WORDS = 4;

/** `update @set { … timeout T : meta priority }`: remembers a priority, or how long what is remembered still counts. */
export function remember(fields: readonly Field[], set: SetName, timeoutMs: number): Statement {
  return keepInMap(fields, { op: 'update', set, timeoutMs });
}

/** `delete @set { … : meta priority }`: forgets what is remembered, whatever it is. */
export function forget(fields: readonly Field[], set: SetName): Statement {
  return keepInMap(fields, { op: 'delete', set });
}

function keepInMap(
  fields: readonly Field[],
  change: { readonly op: 'update' | 'delete'; readonly set: SetName; readonly timeoutMs?: number },
): Statement {
  const keyWords = fields.reduce((sum, { words }) => sum + words, 0);
  const dataRegister = registerAt(Math.max(keyWords, BEHIND_KEY_WORDS));
  return [
    ...loadConcat(fields),
    priority.load(dataRegister),
    { kind: 'dynset', keyRegister: FIRST, dataRegister, ...change },
  ];
}

/** `meta priority set … map @set meta priority vmap @verdicts`: the priority carries the value from map to map. */
export function vmapByPriority(fields: readonly Field[], set: SetName, verdicts: SetName): Statement {
  return [
    ...loadConcat(fields),
    { kind: 'lookup', register: FIRST, destRegister: FIRST, set },
    savePriority,
    priority.load(FIRST),
    { kind: 'lookup', register: FIRST, destRegister: VERDICT_REGISTER, set: verdicts },
  ];
}

/** `meta priority set none` */
export const clearPriority: Statement = [
  { kind: 'immediate', register: FIRST, data: packHostU32(0) },
  savePriority,
];

/** `… @set`: the rule goes on when the key is in the set. */
export function isIn(fields: readonly Field[], set: SetName): Statement {
  return [...loadConcat(fields), { kind: 'lookup', register: FIRST, set }];
}

/**
 * `… != @set`, the set being one of ranges. For these nft turns into network order what the kernel loads in host order; of
 * the one byte of a protocol nothing comes of it, but without it a table that nft re-loads would not stay the same.
 */
export function isNotInRanges(fields: readonly Field[], set: SetName): Statement {
  const load = loadConcat(fields).flatMap((expression): Expression[] => {
    if (expression.kind !== 'meta' || expression.register === undefined) return [expression];
    const { register } = expression;
    return [
      expression,
      { kind: 'byteorder', register, sourceRegister: register, op: 'hton', size: 2, length: 1 },
    ];
  });
  return [...load, { kind: 'lookup', register: FIRST, set, isInverted: true }];
}

/** `dnat ip to … map @set`, the value of the map being `address . port`. */
export function dnatToMap(family: IpFamily, fields: readonly Field[], set: SetName): Statement {
  return [
    ...loadConcat(fields),
    { kind: 'lookup', register: FIRST, destRegister: FIRST, set },
    {
      kind: 'nat',
      type: 'dnat',
      family: nftFamily(family),
      addressMin: FIRST,
      protoMin: registerAt(ADDRESSES[family].length / 4),
    },
  ];
}

/** `th dport != 0`: always true here; nft's grammar wants a transport match in front of a port mapping. */
export const hasPort: Statement = [
  dport.load(FIRST),
  { kind: 'cmp', register: FIRST, op: 'neq', data: '\0\0' },
];

/** `meta l4proto tcp` */
export const isTcp: Statement = [
  l4proto.load(FIRST),
  { kind: 'cmp', register: FIRST, op: 'eq', data: '\x06' },
];

/** IPPROTO_ICMP and IPPROTO_ICMPV6, linux/in.h and in6.h */
const ICMP = { 4: '\x01', 6: '\x3a' } as const;

/** `meta l4proto icmp` / `meta l4proto ipv6-icmp` */
export function isIcmp(family: IpFamily): Statement {
  return [l4proto.load(FIRST), { kind: 'cmp', register: FIRST, op: 'eq', data: ICMP[family] }];
}

/** `ip saddr 10.1.0.0/16` */
export function saddrInside(cidr: Cidr): Statement {
  return compareSaddr('eq', cidr);
}

/** `ip saddr != 10.1.0.0/16` */
export function saddrOutside(cidr: Cidr): Statement {
  return compareSaddr('neq', cidr);
}

/** A prefix of whole bytes is compared as such, any other behind a mask, as nft does. */
function compareSaddr(op: 'eq' | 'neq', { ip, prefix, family }: Cidr): Statement {
  const { length: whole, saddr: offset } = ADDRESSES[family];
  const isWholeBytes = prefix % 8 === 0 && prefix > 0;
  const length = isWholeBytes ? prefix / 8 : whole;
  const mask: Expression = {
    kind: 'bitwise',
    register: FIRST,
    sourceRegister: FIRST,
    length,
    mask: prefixMask(prefix, length),
    xor: '\0'.repeat(length),
  };
  return [
    { kind: 'payload', base: 'network', offset, length, register: FIRST },
    ...(isWholeBytes ? [] : [mask]),
    { kind: 'cmp', register: FIRST, op, data: packIp(ip).slice(0, length) },
  ];
}

/** `prefix` ones, then zeros, in `length` bytes. */
function prefixMask(prefix: number, length: number): string {
  const bytes = Array.from({ length }, (_, i) => 0xff00 >> Math.min(Math.max(prefix - i * 8, 0), 8));
  return String.fromCharCode(...bytes.map((byte) => byte & 0xff));
}

/** IFNAMSIZ, linux/if.h: what a name takes in a register, zero padded. */
const INTERFACE_NAME_BYTES = 16;

/** `iifname "cni0"` / `iifname "cali*"`. What this node sends itself came through none. */
export function cameThrough(
  op: 'eq' | 'neq',
  { name, isPrefix }: { readonly name: string; readonly isPrefix: boolean },
): Statement {
  return [
    { kind: 'meta', key: 'iifname', register: FIRST },
    { kind: 'cmp', register: FIRST, op, data: isPrefix ? name : name.padEnd(INTERFACE_NAME_BYTES, '\0') },
  ];
}

/** `ip daddr != 127.0.0.0/8` (written as a comparison of the first byte) / `ip6 daddr != ::1` */
export function daddrIsNotLoopback(family: IpFamily): Statement {
  const { daddr: offset, length: whole } = ADDRESSES[family];
  const length = family === 4 ? 1 : whole;
  const loopback = family === 4 ? '\x7f' : packIp('::1' as Ip);
  return [
    { kind: 'payload', base: 'network', offset, length, register: FIRST },
    { kind: 'cmp', register: FIRST, op: 'neq', data: loopback },
  ];
}

/** RTN_LOCAL, linux/rtnetlink.h */
const RTN_LOCAL = 2;

/** `fib daddr type local` */
export const daddrIsOfThisHost: Statement = compareToThisHost('eq', FIB_FLAGS.daddr);

/** `fib daddr type != local` */
export const daddrIsElsewhere: Statement = compareToThisHost('neq', FIB_FLAGS.daddr);

/** `fib saddr type local` */
export const saddrIsOfThisHost: Statement = compareToThisHost('eq', FIB_FLAGS.saddr);

/** `fib saddr type != local` */
export const saddrIsElsewhere: Statement = compareToThisHost('neq', FIB_FLAGS.saddr);

function compareToThisHost(op: 'eq' | 'neq', flags: number): Statement {
  return [
    { kind: 'fib', result: 'type', flags, register: FIRST },
    { kind: 'cmp', register: FIRST, op, data: packHostU32(RTN_LOCAL) },
  ];
}

/** `ct status dnat` */
export const statusHasDnat: Statement = [
  { kind: 'ct', key: 'status', register: FIRST },
  maskWord(IPS_DST_NAT, 0),
  { kind: 'cmp', register: FIRST, op: 'neq', data: packHostU32(0) },
];

/** NF_CT_STATE_BIT(IP_CT_RELATED), linux/netfilter/nf_conntrack_common.h */
const STATE_RELATED = 1 << 2;

/** `ct state related` */
export const isRelated: Statement = [
  { kind: 'ct', key: 'state', register: FIRST },
  maskWord(STATE_RELATED, 0),
  { kind: 'cmp', register: FIRST, op: 'neq', data: packHostU32(0) },
];

/** `meta mark & M == M` */
export function markIsSet(mark: number): Statement {
  return [
    { kind: 'meta', key: 'mark', register: FIRST },
    maskWord(mark, 0),
    { kind: 'cmp', register: FIRST, op: 'eq', data: packHostU32(mark) },
  ];
}

/** `meta mark set meta mark | M` */
export function setMark(mark: number): Statement {
  return changeMark(~mark, mark);
}

/** `meta mark set meta mark ^ M` */
export function toggleMark(mark: number): Statement {
  return changeMark(0xffffffff, mark);
}

function changeMark(mask: number, xor: number): Statement {
  return [
    { kind: 'meta', key: 'mark', register: FIRST },
    maskWord(mask, xor),
    { kind: 'meta', key: 'mark', sourceRegister: FIRST },
  ];
}

function maskWord(mask: number, xor: number): Expression {
  return {
    kind: 'bitwise',
    sourceRegister: FIRST,
    register: FIRST,
    length: 4,
    mask: packHostU32(mask >>> 0),
    xor: packHostU32(xor >>> 0),
  };
}

/** `masquerade fully-random` */
export const masqueradeFullyRandom: Statement = [{ kind: 'masquerade', flags: NAT_FLAGS.fullyRandom }];

/** `drop` */
export const drop: Statement = [{ kind: 'immediate', register: VERDICT_REGISTER, verdict: { kind: 'drop' } }];

/** `accept` */
export const accept: Statement = [
  { kind: 'immediate', register: VERDICT_REGISTER, verdict: { kind: 'accept' } },
];

/** `reject with tcp reset` */
export const rejectWithReset: Statement = [{ kind: 'reject', type: 'tcp-rst' }];

/** ICMP_PORT_UNREACH (RFC 792) and ICMPv6 port unreachable (RFC 4443). */
const PORT_UNREACHABLE = { 4: 3, 6: 4 } as const;

/** `reject`: ICMP or ICMPv6 port unreachable. */
export function rejectWithIcmp(family: IpFamily): Statement {
  return [{ kind: 'reject', type: 'icmp-unreach', code: PORT_UNREACHABLE[family] }];
}

/** `jump chain` / `goto chain` */
export function verdict(kind: 'jump' | 'goto', chain: string): Statement {
  return [{ kind: 'immediate', register: VERDICT_REGISTER, verdict: { kind, chain } }];
}
