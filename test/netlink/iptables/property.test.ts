// Every rule in normal form decodes to itself and is printed in its own way; bytes that are cut, changed or random decode
// or are a DecodeError; expressions that iptables never writes are kept.

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DecodeError, InternalError } from '../../../src/errors.ts';
import type { IpFamily } from '../../../src/model/ip.ts';
import { decodeIptablesRule, encodeIptablesRule } from '../../../src/netlink/iptables/codec.ts';
import { formatIptablesRule } from '../../../src/netlink/iptables/format.ts';
import { formatProbability, probabilityOfOneIn } from '../../../src/netlink/iptables/probability.ts';
import type { IptablesRule } from '../../../src/netlink/iptables/rule.ts';
import { type NetlinkMessage, splitMessages } from '../../../src/netlink/message.ts';
import { encodeBatch } from '../../../src/netlink/nftables/batch.ts';
import type { Expression } from '../../../src/netlink/nftables/expression.ts';
import { decodeRule } from '../../../src/netlink/nftables/rule.ts';
import { anyExpression } from '../support/arbitrary.ts';
import { anyRule, neverMatching } from './arbitrary.ts';
import { rules4, rules6 } from './golden.ts';

const FAMILIES = [4, 6] as const;
const golden = { 4: rules4, 6: rules6 } as const;

/** The message that the kernel would get. */
function messageOf(rule: IptablesRule, family: IpFamily): NetlinkMessage {
  const request = {
    op: 'addRule',
    family: family === 4 ? 'ip' : 'ip6',
    table: 'filter',
    chain: 'A',
    ...encodeIptablesRule(rule, family),
  } as const;
  return splitMessages(encodeBatch([request], { firstSeq: 1 }).bytes)[1]!;
}

describe.each(FAMILIES)('rules of IPv%i', (family) => {
  const rules = fc.constantFrom('filter', 'nat').chain((table) => anyRule(family, table));

  it('decode to themselves', () => {
    fc.assert(
      fc.property(rules, (rule) => {
        expect(decodeIptablesRule(decodeRule(messageOf(rule, family)), family)).toEqual(rule);
      }),
      { numRuns: 1000 },
    );
    const never = neverMatching(family);
    expect(decodeIptablesRule(decodeRule(messageOf(never, family)), family)).toEqual(never);
  });

  it('are the same line only if they are the same', () => {
    fc.assert(
      fc.property(rules, rules, (one, other) => {
        const isSame = formatIptablesRule('A', one, family) === formatIptablesRule('A', other, family);
        expect(isSame).toBe(JSON.stringify(sorted(one)) === JSON.stringify(sorted(other)));
      }),
      { numRuns: 500 },
    );
  });

  it('cut anywhere are a DecodeError or a part of the rule', () => {
    for (const rule of golden[family]) {
      const message = messageOf(rule, family);
      for (let length = 0; length < message.payload.length; length++) {
        attempt(() => ({ ...message, payload: message.payload.subarray(0, length) }), family);
      }
    }
  });

  it('with bytes changed decode or are a DecodeError', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...golden[family]),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        (rule, changes) => {
          const message = messageOf(rule, family);
          const payload = Buffer.from(message.payload);
          for (const [position, value] of changes) payload[position % payload.length] = value;
          attempt(() => ({ ...message, payload }), family);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('with an info that is cut or random never fail', () => {
    const infos = golden[family]
      .flatMap((rule) => encodeIptablesRule(rule, family).expressions)
      .filter((one) => one.kind === 'match' || one.kind === 'target');
    fc.assert(
      fc.property(
        fc.constantFrom(...infos),
        fc.uint8Array({ maxLength: 300 }),
        fc.nat(300),
        (one, bytes, length) => {
          const random = Buffer.from(bytes).toString('latin1');
          const sameLength = random.padEnd(one.info.length, '\xff').slice(0, one.info.length);
          for (const info of [random, sameLength, one.info.slice(0, length)]) {
            decodeIptablesRule({ expressions: [{ ...one, info }] }, family);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('of expressions that iptables does not write keep them', () => {
    const noCounter = anyExpression.filter(({ kind }) => kind !== 'counter');
    fc.assert(
      fc.property(fc.array(noCounter, { maxLength: 6 }), (expressions) => {
        const { matches, target } = decodeIptablesRule({ expressions }, family);
        const kept = [...matches, ...(target ? [target] : [])].flatMap((one) =>
          one.kind === 'unknown' ? one.expressions : [],
        );
        expect(expressions.filter((one) => !isOfIptables(one))).toEqual(
          kept.filter((one) => !isOfIptables(one)),
        );
      }),
      { numRuns: 1000 },
    );
  });
});

/** Kinds that may be part of what iptables writes. */
const isOfIptables = ({ kind }: Expression): boolean =>
  ['meta', 'payload', 'bitwise', 'cmp', 'range', 'immediate', 'match', 'target'].includes(kind);

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, part]) => [name, sorted(part)]);
}

/** Anything but a rule or a DecodeError fails the test. */
function attempt(message: () => NetlinkMessage, family: IpFamily): void {
  try {
    formatIptablesRule('A', decodeIptablesRule(decodeRule(message()), family), family);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
}

describe('what other programs write', () => {
  const decode = (expressions: readonly Expression[], comment?: string) =>
    decodeIptablesRule({ expressions, ...(comment !== undefined && { comment }) }, 4);
  const load: Expression = { kind: 'payload', base: 'network', offset: 12, length: 4, register: 1 };
  const compare = (data: string): Expression => ({ kind: 'cmp', register: 1, op: 'eq', data });
  const mask = (bytes: string, xor = '\0\0\0\0'): Expression => ({
    kind: 'bitwise',
    sourceRegister: 1,
    register: 1,
    length: 4,
    mask: bytes,
    xor,
  });
  const counter: Expression = { kind: 'counter', packets: 5n, bytes: 300n };

  it('counts are no part of the rule', () => {
    expect(decode([counter])).toEqual({ matches: [] });
  });

  it('the comment of nft is a comment, after the other matches', () => {
    expect(decode([load, compare('\x0a\x00\x00\x01'), counter], 'of nft')).toMatchObject({
      source: { cidr: { ip: '10.0.0.1', prefix: 32 } },
      matches: [{ kind: 'comment', text: 'of nft' }],
    });
  });

  it.each<[string, readonly Expression[]]>([
    ['a mask with gaps', [load, mask('\xff\0\xff\0'), compare('\x0a\0\x01\0')]],
    ['bits beyond the mask', [load, mask('\xff\xff\0\0'), compare('\x0a\0\0\x01')]],
    ['bits turned over', [load, mask('\xff\xff\xff\xff', '\0\0\0\x01'), compare('\x0a\0\0\0')]],
    ['an order', [load, { ...compare('\x0a\0\0\0'), op: 'lt' } as Expression]],
    ['a value that is loaded and not used', [load]],
    ['a rate', [{ kind: 'limit', rate: 5n, unit: 60n }]],
  ])('%s is kept as it is', (_, expressions) => {
    const { matches, ...rest } = decode([...expressions, counter]);
    expect(rest).toEqual({});
    expect(matches[0]).toMatchObject({ kind: 'unknown', name: expressions[0]!.kind });
    expect(matches.flatMap((one) => (one.kind === 'unknown' ? one.expressions : []))).toEqual(expressions);
  });

  it('a second source address is kept beside the first', () => {
    const second = [load, compare('\x0a\0\0\x02')];
    expect(decode([load, compare('\x0a\0\0\x01'), ...second]).matches).toEqual([
      { kind: 'unknown', name: 'payload', expressions: second },
    ]);
  });

  const isTcp: readonly Expression[] = [{ kind: 'meta', key: 'l4proto', register: 1 }, compare('\x06')];
  const loadPorts = (offset: number, length: number): Expression => ({
    ...load,
    base: 'transport',
    offset,
    length,
  });
  const order = (op: 'neq' | 'lt' | 'lte' | 'gt' | 'gte', data: string): Expression => ({
    kind: 'cmp',
    register: 1,
    op,
    data,
  });
  const range = (first: number, last: number) => ({ first, last, isInverted: false });

  it.each([
    ['lt', range(0, 79)],
    ['lte', range(0, 80)],
    ['gt', range(81, 65535)],
    ['gte', range(80, 65535)],
  ] as const)('ports %s 80 are a range', (op, destinationPorts) => {
    expect(decode([...isTcp, loadPorts(2, 2), order(op, '\0\x50')]).matches).toEqual([
      { kind: 'ports', destinationPorts },
    ]);
  });

  it('a pair of ports that is not so is printed as two that are not so', () => {
    expect(decode([...isTcp, loadPorts(0, 4), order('neq', '\0\x50\0\x51')]).matches).toEqual([
      {
        kind: 'ports',
        sourcePorts: { ...range(80, 80), isInverted: true },
        destinationPorts: { ...range(81, 81), isInverted: true },
      },
    ]);
  });

  it('ports of both sides are one match, a third test is kept beside it', () => {
    const third = [loadPorts(2, 2), order('gt', '\0\x50')];
    const matches = [loadPorts(0, 2), compare('\0\x35'), loadPorts(2, 2), order('gte', '\0\x50'), ...third];
    expect(decode([...isTcp, ...matches]).matches).toEqual([
      { kind: 'ports', sourcePorts: range(53, 53), destinationPorts: range(80, 65535) },
      { kind: 'unknown', name: 'payload', expressions: third },
    ]);
  });

  it('an action after the counter is the target, whatever it is', () => {
    const action: readonly Expression[] = [
      { kind: 'log', group: 5 },
      { kind: 'immediate', register: 0, verdict: { kind: 'accept' } },
    ];
    expect(decode([counter, ...action])).toEqual({
      matches: [],
      target: { kind: 'unknown', name: 'log', expressions: action },
    });
  });

  it('older versions of iptables write ports and marks as matches', () => {
    const text = readFileSync(new URL('./fixtures/old-matches.txt', import.meta.url), 'utf8');
    const infos = [...text.matchAll(/^(\w+) (\d+) ([0-9a-f]+)$/gm)];
    const matches = infos.map(
      ([, name = '', revision, hex = '']): Expression => ({
        kind: 'match',
        name,
        revision: Number(revision),
        info: Buffer.from(hex, 'hex').toString('latin1'),
      }),
    );
    expect(decode([...isTcp, ...matches])).toEqual({
      protocol: { name: 'tcp', isInverted: false },
      matches: [
        {
          kind: 'ports',
          sourcePorts: { first: 1, last: 1000, isInverted: false },
          destinationPorts: { first: 22, last: 22, isInverted: true },
        },
        { kind: 'mark', value: 0x4000, mask: 0x4000, isInverted: true },
      ],
    });
  });
});

describe('what does not fit is an InternalError', () => {
  const rule = (part: Partial<IptablesRule>): IptablesRule => ({ matches: [], ...part });
  it.each<[string, IptablesRule]>([
    ['a comment of 256 bytes', rule({ matches: [{ kind: 'comment', text: 'ü'.repeat(128) }] })],
    ['ports without a protocol', rule({ matches: [{ kind: 'ports' }] })],
    ['an unknown protocol', rule({ protocol: { name: 'tpc', isInverted: false } })],
    ['an interface name of 16 bytes', rule({ inInterface: { name: 'a'.repeat(16), isInverted: false } })],
    ['all interfaces', rule({ inInterface: { name: '+', isInverted: false } })],
    ['a reason of IPv6', rule({ target: { kind: 'REJECT', reason: 'icmp6-no-route' } })],
    ['an address of IPv6', rule6Address()],
  ])('%s', (_, one) => {
    expect(() => encodeIptablesRule(one, 4)).toThrow(InternalError);
  });

  function rule6Address(): IptablesRule {
    return rule({ source: rules6[1]!.source! });
  }
});

it.each([
  ['word-1_x', 'word-1_x'],
  ['two words', '"two words"'],
  ['', '""'],
  ['a"b\'c\\d', '"a\\"b\\\'c\\\\d"'],
  ['ns1/svc1:p80 -> [fd00::1]:80', '"ns1/svc1:p80 -> [fd00::1]:80"'],
])('the comment %s is printed as %s', (text, printed) => {
  const line = formatIptablesRule('A', { matches: [{ kind: 'comment', text }] }, 4);
  expect(line).toBe(`-A A -m comment --comment ${printed}`);
});

describe('probabilities', () => {
  it.each([
    [2, '0.50000000000'],
    [3, '0.33333333349'],
    [5, '0.20000000019'],
    [7, '0.14285714272'],
    [1000, '0.00100000016'],
  ])('one in %i is %s', (n, text) => {
    expect(formatProbability(probabilityOfOneIn(n))).toBe(text);
  });

  it('are rounded to even where there is no nearer number', () => {
    expect(formatProbability(2 ** 19)).toBe('0.00024414062');
    expect(formatProbability(3 * 2 ** 19)).toBe('0.00073242188');
  });
});
