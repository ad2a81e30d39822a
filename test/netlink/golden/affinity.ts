// What affinity.nft says: maps that packets write, and a value that travels in the packet's priority.

import type { NftRequest } from '../../../src/netlink/nftables/batch.ts';
import { concatType, DATATYPE } from '../../../src/netlink/nftables/datatypes.ts';
import type { Expression } from '../../../src/netlink/nftables/expression.ts';
import { type TypeofPart, typeofUserdata } from '../../../src/netlink/nftables/set-userdata.ts';
import { daddr, dport, hex, host32, l4proto, requestsIn, saddr } from './build.ts';

const { at, chain, rule, set, elements } = requestsIn('ip', 'sticky');
const { ipv4_addr, inet_proto, inet_service, classid } = DATATYPE;

const ipSaddr: TypeofPart = { kind: 'payload', protocol: 'ip', field: 'saddr' };
const ipDaddr: TypeofPart = { kind: 'payload', protocol: 'ip', field: 'daddr' };
const metaL4proto: TypeofPart = { kind: 'meta', key: 'l4proto' };
const thDport: TypeofPart = { kind: 'payload', protocol: 'th', field: 'dport' };
const metaPriority: TypeofPart = { kind: 'meta', key: 'priority' };

const numbered = {
  keyType: concatType(ipv4_addr, inet_proto, inet_service, classid),
  keyLength: 16,
  isMap: true,
  flags: {},
} as const;
const priorityValue = { dataType: classid, dataLength: 4 } as const;

const load = (...expressions: readonly Expression[]) => rule('load', ...expressions);
const priority = (register = 1): Expression => ({ kind: 'meta', key: 'priority', register });
const setPriority: Expression = { kind: 'meta', key: 'priority', sourceRegister: 1 };
/** `ip daddr . meta l4proto . th dport . meta priority` */
const numberedKey = [daddr(1), l4proto(9), dport(10), priority(11)];
/** `ip saddr . ip daddr . meta l4proto . th dport` and the value behind it. */
const clientAndPriority = [saddr(1), daddr(9), l4proto(10), dport(11), priority(2)];
const isNot = (data: string): Expression => ({ kind: 'cmp', register: 1, op: 'neq', data });

export const affinity: readonly NftRequest[] = [
  { op: 'addTable', ...at, flags: 0 },
  chain('load'),
  set('picks', 1, {
    ...numbered,
    ...priorityValue,
    userdata: typeofUserdata({ key: [ipDaddr, metaL4proto, thDport, metaPriority], data: [metaPriority] }),
  }),
  set('picked', 2, {
    ...numbered,
    dataType: concatType(ipv4_addr, inet_service),
    dataLength: 8,
    userdata: typeofUserdata({
      key: [ipDaddr, metaL4proto, thDport, metaPriority],
      data: [ipDaddr, thDport],
    }),
  }),
  elements('picked', 2, [
    {
      key: hex('0a600001 06000000 00500000') + host32(0x3f2a91bc),
      data: hex('0a01000b 1f900000'),
    },
  ]),
  // size 1048576; flags dynamic, timeout; elements = { … timeout 3h expires 2h : 3f2a:91bc }
  set('affinity', 3, {
    keyType: concatType(ipv4_addr, ipv4_addr, inet_proto, inet_service),
    keyLength: 16,
    isMap: true,
    ...priorityValue,
    flags: { dynamic: true, timeout: true },
    size: 1_048_576,
    userdata: typeofUserdata({ key: [ipSaddr, ipDaddr, metaL4proto, thDport], data: [metaPriority] }),
  }),
  elements('affinity', 3, [
    {
      key: hex('c0000201 0a600001 06000000 00500000'),
      data: host32(0x3f2a91bc),
      timeoutMs: 3 * 60 * 60 * 1000,
      expirationMs: 2 * 60 * 60 * 1000,
    },
  ]),
  // meta priority set none
  load({ kind: 'immediate', register: 1, data: host32(0) }, setPriority),
  // meta priority set numgen inc mod 3
  load({ kind: 'numgen', type: 'inc', modulus: 3, register: 1, offset: 0 }, setPriority),
  // meta priority set jhash ip saddr mod 1021 seed 0x1
  load(
    saddr(2),
    {
      kind: 'hash',
      type: 'jhash',
      sourceRegister: 2,
      register: 1,
      length: 4,
      modulus: 1021,
      seed: 1,
      offset: 0,
    },
    setPriority,
  ),
  // meta priority set ip daddr . meta l4proto . th dport . meta priority map @picks
  load(...numberedKey, { kind: 'lookup', register: 1, destRegister: 1, set: 'picks', setId: 1 }, setPriority),
  // meta priority != none update @affinity { … timeout 3h : meta priority }
  load(priority(), isNot(host32(0)), ...clientAndPriority, {
    kind: 'dynset',
    op: 'update',
    set: 'affinity',
    setId: 3,
    keyRegister: 1,
    dataRegister: 2,
    timeoutMs: 3 * 60 * 60 * 1000,
  }),
  // th dport != 0 dnat ip to ip daddr . meta l4proto . th dport . meta priority map @picked
  load(
    dport(),
    isNot(hex('0000')),
    ...numberedKey,
    { kind: 'lookup', register: 1, destRegister: 1, set: 'picked', setId: 2 },
    { kind: 'nat', type: 'dnat', family: 'ip', addressMin: 1, protoMin: 9 },
  ),
  // delete @affinity { … : meta priority }
  load(...clientAndPriority, {
    kind: 'dynset',
    op: 'delete',
    set: 'affinity',
    setId: 3,
    keyRegister: 1,
    dataRegister: 2,
  }),
];
