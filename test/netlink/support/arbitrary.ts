// Random objects for every request and every kind of expression, in the form in which they decode: nothing said that
// goes without saying.

import fc from 'fast-check';
import type { NftRequest } from '../../../src/netlink/nftables/batch.ts';
import type { Element } from '../../../src/netlink/nftables/element.ts';
import { META_KEYS } from '../../../src/netlink/nftables/expression/meta.ts';
import type { Expression } from '../../../src/netlink/nftables/expression.ts';
import type { SetDeclaration } from '../../../src/netlink/nftables/set.ts';
import type { StatefulExpression } from '../../../src/netlink/nftables/stateful-expression.ts';
import type { Verdict } from '../../../src/netlink/nftables/verdict.ts';

const name = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 40 });
const u8 = fc.nat(0xff);
const u16 = fc.nat(0xffff);
const u32 = fc.nat(0xffffffff);
const positive = fc.integer({ min: 1, max: 0xffffffff });
const u64 = fc.bigInt(0n, 2n ** 64n - 1n);
const positive64 = fc.bigInt(1n, 2n ** 64n - 1n);
const milliseconds = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const packed = fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
const packedKey = packed.filter((key) => key !== '');
const register = fc.constantFrom(1, 2, 3, 4, 9, 10, 11, 13, 14, 15, 17, 18, 19, 21, 22, 23);
const isTrue = fc.constant(true as const);
const natFlags = fc.constantFrom(4, 8, 16, 64, 28);
const comment = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
  .filter((text) => !text.includes('\0') && Buffer.byteLength(text) <= 200);

const verdict: fc.Arbitrary<Verdict> = fc.oneof(
  fc.record({ kind: fc.constantFrom('accept', 'drop', 'continue', 'break', 'return') }),
  fc.record({ kind: fc.constantFrom('jump', 'goto'), chain: name }),
);

/** A record whose fields beyond `required` may be missing, and that has its `kind`. */
function expression<Kind extends Expression['kind'], T extends Record<string, fc.Arbitrary<unknown>>>(
  kind: Kind,
  fields: T,
  optional: Record<string, fc.Arbitrary<unknown>> = {},
): fc.Arbitrary<Extract<Expression, { kind: Kind }>> {
  return fc.record(
    { kind: fc.constant(kind), ...fields, ...optional },
    { requiredKeys: ['kind', ...Object.keys(fields)] },
  ) as fc.Arbitrary<never>;
}

const xtExtension = { name, revision: fc.nat(255), info: packed } as const;

const counter = expression('counter', {}, { packets: positive64, bytes: positive64 });
const limit = expression(
  'limit',
  { rate: u64, unit: u64 },
  { burst: positive, type: fc.constant('bytes'), isInverted: isTrue },
);
const stateful = fc.oneof(counter, limit) as fc.Arbitrary<StatefulExpression>;

export const EXPRESSIONS: { readonly [Kind in Expression['kind']]: fc.Arbitrary<Expression> } = {
  bitwise: expression(
    'bitwise',
    { sourceRegister: register, register, length: u32 },
    { op: fc.constantFrom('lshift', 'rshift'), mask: packed, xor: packed, data: packed },
  ),
  byteorder: expression('byteorder', {
    sourceRegister: register,
    register,
    op: fc.constantFrom('ntoh', 'hton'),
    length: u32,
    size: u32,
  }),
  cmp: expression('cmp', {
    register,
    op: fc.constantFrom('eq', 'neq', 'lt', 'lte', 'gt', 'gte'),
    data: packed,
  }),
  counter,
  ct: expression(
    'ct',
    {
      key: fc.constantFrom(
        'state',
        'direction',
        'status',
        'mark',
        'proto-dst',
        'ip-daddr',
        'ip6-saddr',
        'id',
      ),
    },
    { register, sourceRegister: register, direction: fc.constantFrom('original', 'reply') },
  ),
  dynset: expression(
    'dynset',
    { op: fc.constantFrom('add', 'update', 'delete'), set: name, keyRegister: register },
    {
      setId: u32,
      dataRegister: register,
      timeoutMs: milliseconds,
      expressions: fc.array(stateful, { minLength: 1, maxLength: 3 }),
      isInverted: isTrue,
    },
  ),
  fib: expression('fib', { flags: u32, result: fc.constantFrom('oif', 'oifname', 'type'), register }),
  hash: expression(
    'hash',
    { register, modulus: u32 },
    {
      sourceRegister: register,
      length: u32,
      seed: u32,
      offset: positive,
      type: fc.constant('symhash'),
    },
  ),
  immediate: fc.oneof(
    expression('immediate', { register, data: packed }),
    expression('immediate', { register: fc.constant(0), verdict }),
  ),
  limit,
  log: expression(
    'log',
    {},
    {
      prefix: name,
      group: u16,
      snaplen: positive,
      queueThreshold: fc.integer({ min: 1, max: 0xffff }),
      level: fc.constantFrom(0, 3, 7),
      flags: positive,
    },
  ),
  lookup: expression(
    'lookup',
    { register, set: name },
    { destRegister: fc.oneof(register, fc.constant(0)), setId: u32, isInverted: isTrue },
  ),
  match: expression('match', xtExtension),
  masquerade: fc.oneof(
    expression('masquerade', {}, { flags: natFlags, protoMin: register }),
    expression('masquerade', { protoMin: fc.constant(1), protoMax: fc.constant(2) }, { flags: natFlags }),
  ),
  meta: expression(
    'meta',
    { key: fc.constantFrom(...(Object.keys(META_KEYS) as (keyof typeof META_KEYS)[])) },
    { register, sourceRegister: register },
  ),
  nat: fc.oneof(
    expression(
      'nat',
      { type: fc.constantFrom('dnat', 'snat'), family: fc.constantFrom('ip', 'ip6') },
      { addressMin: register, protoMin: register, flags: natFlags },
    ),
    expression('nat', {
      type: fc.constantFrom('dnat', 'snat'),
      family: fc.constantFrom('ip', 'ip6'),
      addressMin: fc.constant(1),
      addressMax: fc.constant(2),
      protoMin: fc.constant(3),
      protoMax: fc.constant(4),
    }),
  ),
  numgen: expression(
    'numgen',
    { register, modulus: u32, type: fc.constantFrom('inc', 'random') },
    { offset: positive },
  ),
  payload: expression(
    'payload',
    { base: fc.constantFrom('link', 'network', 'transport', 'inner', 'tunnel'), offset: u32, length: u32 },
    {
      register,
      sourceRegister: register,
      checksumType: positive,
      checksumOffset: positive,
      checksumFlags: positive,
    },
  ),
  range: expression('range', { register, op: fc.constantFrom('eq', 'neq'), from: packed, to: packed }),
  redirect: expression('redirect', {}, { protoMin: register, flags: natFlags }),
  reject: fc.oneof(
    expression('reject', { type: fc.constantFrom('icmp-unreach', 'icmpx-unreach'), code: u8 }),
    expression('reject', { type: fc.constant('tcp-rst') }),
  ),
  target: expression('target', xtExtension),
  unknown: expression('unknown', { name: name.map((text) => `x-${text}`) }, { data: packed }),
};

export const anyExpression: fc.Arbitrary<Expression> = fc.oneof(...Object.values(EXPRESSIONS));

export const anyElement: fc.Arbitrary<Element> = fc.oneof(
  fc.record(
    {
      key: packedKey,
      keyEnd: packed,
      isIntervalEnd: isTrue,
      data: packed,
      comment,
      timeoutMs: milliseconds,
      expirationMs: milliseconds,
      counter: fc.record({ packets: u64, bytes: u64 }),
    },
    { requiredKeys: ['key'] },
  ),
  fc.record({ key: fc.oneof(packedKey, fc.constant('')), verdict, comment }, { requiredKeys: ['key'] }),
);

export const anyDeclaration: fc.Arbitrary<SetDeclaration> = fc.record(
  {
    keyType: u32,
    keyLength: u32,
    isMap: fc.boolean(),
    dataType: fc.nat(0xfffffeff),
    dataLength: u32,
    flags: fc.record(
      {
        anonymous: isTrue,
        constant: isTrue,
        interval: isTrue,
        timeout: isTrue,
        dynamic: isTrue,
        object: isTrue,
        concat: isTrue,
        expressions: isTrue,
      },
      { requiredKeys: [] },
    ),
    fieldLengths: fc.array(u32, { minLength: 1, maxLength: 5 }),
    size: u32,
    timeoutMs: milliseconds,
    expressions: fc.array(stateful, { minLength: 1, maxLength: 3 }),
    comment,
    userdata: fc.constantFrom('\x00\x04\x02\x00\x00\x00', '\x01\x00\x02\x01x'),
  },
  { requiredKeys: ['keyType', 'keyLength', 'isMap', 'flags'] },
);

const inTable = { family: fc.constantFrom('ip', 'ip6', 'inet'), table: name } as const;
const inChain = { ...inTable, chain: name } as const;
const inSet = { ...inTable, set: name } as const;
const base = fc.record(
  {
    type: fc.constantFrom('filter', 'nat', 'route'),
    hook: fc.constantFrom('prerouting', 'input', 'forward', 'output', 'postrouting', 'ingress'),
    priority: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    policy: fc.constant('drop'),
  },
  { requiredKeys: ['type', 'hook', 'priority'] },
);

export const anyRequest: fc.Arbitrary<NftRequest> = fc.oneof(
  fc.record(
    { op: fc.constant('addTable'), ...inTable, flags: positive, comment },
    { requiredKeys: ['op', 'family', 'table'] },
  ),
  fc.record({ op: fc.constant('deleteTable'), ...inTable }),
  fc.record(
    { op: fc.constant('addChain'), ...inChain, base, comment },
    { requiredKeys: ['op', 'family', 'table', 'chain'] },
  ),
  fc.record({ op: fc.constant('deleteChain'), ...inChain }),
  fc.record({ op: fc.constant('flushChain'), ...inChain }),
  fc.record(
    {
      op: fc.constant('addRule'),
      ...inChain,
      expressions: fc.array(anyExpression, { maxLength: 8 }),
      position: u64,
      handle: u64,
      comment,
      compat: fc.record({ protocol: u32, isInverted: fc.boolean() }),
    },
    { requiredKeys: ['op', 'family', 'table', 'chain', 'expressions'] },
  ),
  fc.record({ op: fc.constant('deleteRule'), ...inChain, handle: u64 }),
  fc
    .tuple(fc.record({ op: fc.constant('addSet'), ...inSet }), anyDeclaration)
    .map(([request, declaration]) => ({ ...request, ...declaration })),
  fc.record({ op: fc.constant('deleteSet'), ...inSet }),
  fc.record({ op: fc.constant('flushSet'), ...inSet }),
  fc.record({
    op: fc.constant('addElements'),
    ...inSet,
    elements: fc.array(anyElement, { minLength: 1, maxLength: 8 }),
  }),
  fc.record({
    op: fc.constant('deleteElements'),
    ...inSet,
    elements: fc.array(fc.record({ key: fc.oneof(packedKey, fc.constant('')) }), {
      minLength: 1,
      maxLength: 8,
    }),
  }),
);
