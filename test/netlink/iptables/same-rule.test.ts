// A rule of a dump is told from others by its bytes: never taken for one that it is not, whatever the bytes are; and known as
// its own in all that this program writes.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DecodeError } from '../../../src/errors.ts';
import { type IpFamily, parseCidr } from '../../../src/model/ip.ts';
import { decodeIptablesRule, encodeIptablesRule } from '../../../src/netlink/iptables/codec.ts';
import type { IptablesRule } from '../../../src/netlink/iptables/rule.ts';
import { isRuleOf } from '../../../src/netlink/iptables/same-rule.ts';
import { type NetlinkMessage, splitMessages } from '../../../src/netlink/message.ts';
import { encodeBatch } from '../../../src/netlink/nftables/batch.ts';
import type { Expression } from '../../../src/netlink/nftables/expression.ts';
import { decodeRule } from '../../../src/netlink/nftables/rule.ts';
import { anyRule } from './arbitrary.ts';
import { rules4, rules6 } from './golden.ts';

const golden = { 4: rules4, 6: rules6 } as const;

/** A rule as a dump tells it, with what it has counted. */
function messageOf(
  rule: IptablesRule,
  family: IpFamily,
  { comment, change = (one) => one }: { comment?: string; change?: (one: Expression) => Expression } = {},
): NetlinkMessage {
  const { expressions } = encodeIptablesRule(rule, family);
  const counted = expressions.map((one) =>
    change(one.kind === 'counter' ? { kind: 'counter', packets: 7n, bytes: 420n } : one),
  );
  const request = {
    op: 'addRule',
    family: family === 4 ? 'ip' : 'ip6',
    table: 'filter',
    chain: 'A',
    expressions: counted,
    ...(comment !== undefined && { comment }),
  } as const;
  return splitMessages(encodeBatch([request], { firstSeq: 1 }).bytes)[1]!;
}

describe.each([4, 6] as const)('rules of IPv%i', (family) => {
  const rules = fc.oneof(
    fc.constantFrom('filter', 'nat').chain((table) => anyRule(family, table)),
    fc.constantFrom(...golden[family]),
  );

  it('are known as their own, whatever they have counted', () => {
    fc.assert(
      fc.property(rules, (rule) => isRuleOf(messageOf(rule, family), rule, family)),
      {
        numRuns: 1000,
      },
    );
  });

  it('are not those of others', () => {
    fc.assert(
      fc.property(rules, rules, (rule, other) => {
        const [message, payload] = [messageOf(rule, family), messageOf(other, family).payload];
        expect(isRuleOf(message, other, family)).toBe(Buffer.compare(message.payload, payload) === 0);
      }),
      { numRuns: 500 },
    );
  });

  it('are not the same with one of their parts left out, added or changed', () => {
    fc.assert(
      fc.property(rules, fc.nat(), (rule, at) => {
        const matches = rule.matches.toSpliced(at % (rule.matches.length + 1), 0, {
          kind: 'comment',
          text: 'another',
        });
        const longer: IptablesRule = { ...rule, matches };
        expect(isRuleOf(messageOf(longer, family), rule, family)).toBe(false);
        expect(isRuleOf(messageOf(rule, family), longer, family)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it('with a byte changed are another rule, or not known, or the same after all', () => {
    const read = (message: NetlinkMessage) => {
      try {
        return decodeIptablesRule(decodeRule(message), family);
      } catch (error) {
        if (error instanceof DecodeError) return undefined;
        throw error;
      }
    };
    fc.assert(
      fc.property(rules, fc.nat(), fc.integer({ min: 1, max: 255 }), (rule, at, bits) => {
        const message = messageOf(rule, family);
        const payload = Buffer.from(message.payload);
        payload[at % payload.length]! ^= bits;
        const changed = { ...message, payload };
        const is = read(changed);
        if (is !== undefined && isRuleOf(changed, rule, family)) expect(is).toEqual(read(message));
      }),
      { numRuns: 3000 },
    );
  });

  it('cut anywhere are not known', () => {
    const message = messageOf(golden[family][0]!, family);
    const last = message.payload.length - 1;
    for (let length = 0; length < last; length++) {
      const cut = { ...message, payload: message.payload.subarray(0, length) };
      expect(isRuleOf(cut, golden[family][0]!, family), `${length} bytes`).toBe(false);
    }
  });

  it("with a comment of nft's are not known: iptables prints it", () => {
    const [rule] = golden[family];
    expect(isRuleOf(messageOf(rule!, family, { comment: "nft's" }), rule!, family)).toBe(false);
  });

  it('are not known by another bit operation on the same values', () => {
    const cidr = parseCidr(family === 4 ? '10.16.0.0/12' : 'fd00::/12')!;
    const rule: IptablesRule = { source: { cidr, isInverted: false }, matches: [] };
    const shift = (one: Expression): Expression => (one.kind === 'bitwise' ? { ...one, op: 'lshift' } : one);
    expect(isRuleOf(messageOf(rule, family), rule, family)).toBe(true);
    expect(isRuleOf(messageOf(rule, family, { change: shift }), rule, family)).toBe(false);
  });
});
