// What iptables-nft sends for the rules of fixtures/*.txt is what the codec sends, byte by byte, and reads; and what
// iptables-save prints of them is what the formatter prints.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { IpFamily } from '../../../src/model/ip.ts';
import { decodeIptablesRule, encodeIptablesRule } from '../../../src/netlink/iptables/codec.ts';
import { formatIptablesRule } from '../../../src/netlink/iptables/format.ts';
import type { IptablesRule } from '../../../src/netlink/iptables/rule.ts';
import { splitMessages } from '../../../src/netlink/message.ts';
import { encodeBatch } from '../../../src/netlink/nftables/batch.ts';
import type { Expression } from '../../../src/netlink/nftables/expression.ts';
import { decodeRule } from '../../../src/netlink/nftables/rule.ts';
import { differenceOf } from '../support/compare.ts';
import { cutMessages } from '../support/hex.ts';
import { rules4, rules6 } from './golden.ts';

interface Captured {
  /** What iptables-save prints. */
  readonly line: string;
  readonly message: Buffer;
}

function readCaptured(name: string): Captured[] {
  const text = readFileSync(new URL(`fixtures/${name}.hex`, import.meta.url), 'utf8');
  const [, ...parts] = text.split(/^# (?=-A)/m);
  return parts.map((part) => {
    const [line = '', ...hex] = part.split('\n');
    return { line, message: Buffer.from(hex.join(''), 'hex') };
  });
}

/** iptables says what goes without saying: that a counter starts at zero. */
const spelledOut = (one: Expression): Expression =>
  one.kind === 'counter' ? { ...one, bytes: 0n, packets: 0n } : one;

/** iptables leaves a copy of the probability in a field of xt_statistic_info that is of the other mode's, nth. */
function withoutGarbage(message: Buffer, rule: IptablesRule): Buffer {
  const statistic = rule.matches.find((match) => match.kind === 'statistic');
  if (statistic === undefined) return message;
  const copy = Buffer.from(message);
  const probability = Buffer.from(Uint32Array.of(statistic.probability).buffer);
  copy.fill(0, copy.lastIndexOf(probability), copy.lastIndexOf(probability) + 4);
  return copy;
}

type Case = readonly [name: string, family: IpFamily, rules: readonly IptablesRule[]];

/** The version that the codec writes as. */
const WRITTEN: readonly Case[] = [
  ['rules4-1.8.9', 4, rules4],
  ['rules6-1.8.9', 6, rules6],
];
const READ: readonly Case[] = [...WRITTEN, ['rules4-1.8.11', 4, rules4], ['rules6-1.8.11', 6, rules6]];

function casesOf(name: string, rules: readonly IptablesRule[]) {
  return readCaptured(name).map(({ line, message }, index) => [line, message, rules[index]!] as const);
}

describe.each(READ)('%s', (name, family, rules) => {
  const cases = casesOf(name, rules);

  it('has a plain rule for each', () => {
    expect(rules).toHaveLength(cases.length);
  });

  it.each(cases)('%s decodes', (_, message, rule) => {
    expect(decodeIptablesRule(decodeRule(splitMessages(message)[0]!), family)).toEqual(rule);
  });

  it.each(cases)('%s is formatted', (line, message, rule) => {
    const { chain } = decodeRule(splitMessages(message)[0]!);
    expect(formatIptablesRule(chain, rule, family)).toBe(line);
  });
});

describe.each(WRITTEN)('%s', (name, family, rules) => {
  it.each(casesOf(name, rules))('%s encodes to the bytes of iptables', (_, message, rule) => {
    const { table, chain } = decodeRule(splitMessages(message)[0]!);
    const { expressions, compat } = encodeIptablesRule(rule, family);
    // Without a protocol iptables says that it is 0, which is what the kernel takes it for.
    const request = {
      op: 'addRule',
      family: family === 4 ? 'ip' : 'ip6',
      table,
      chain,
      expressions: expressions.map(spelledOut),
      compat: compat ?? { protocol: 0, isInverted: false },
    } as const;
    const batch = encodeBatch([request], { firstSeq: message.readUInt32LE(8) - 1 });
    const ours = Buffer.from(cutMessages(batch.bytes)[1]!);
    ours.writeUInt16LE(message.readUInt16LE(6), 6);
    expect(differenceOf(ours, withoutGarbage(message, rule))).toBeUndefined();
  });
});
