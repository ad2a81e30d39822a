// CIDRs as interval-set elements, against a naive membership test.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { intervalElements } from '../../../src/mode/nftables/intervals.ts';
import { intervalEndAddress } from '../../../src/mode/nftables/names.ts';
import { type Cidr, cidrContains, packIp, parseCidr, unpackIp } from '../../../src/model/ip.ts';

const cidrs = (...texts: string[]): Cidr[] => texts.map((text) => parseCidr(text)!);
const readable = (elements: ReadonlyMap<string, string>): string[] =>
  [...elements.keys()].map((key) => {
    const end = intervalEndAddress(key);
    return end === undefined ? unpackIp(key) : `${unpackIp(end)} end`;
  });

describe('intervalElements', () => {
  test.each([
    [['10.0.0.0/8'], ['0.0.0.0 end', '10.0.0.0', '11.0.0.0 end']],
    [['0.0.0.0/0'], ['0.0.0.0']],
    [['255.255.255.255/32'], ['0.0.0.0 end', '255.255.255.255']],
    [
      ['10.0.0.1/32', '10.0.0.0/24'],
      ['0.0.0.0 end', '10.0.0.0', '10.0.1.0 end'],
    ],
    [
      ['10.0.1.0/24', '10.0.0.0/24'],
      ['0.0.0.0 end', '10.0.0.0', '10.0.2.0 end'],
    ],
    [
      ['192.168.1.1/32', '10.0.0.0/24'],
      ['0.0.0.0 end', '10.0.0.0', '10.0.1.0 end', '192.168.1.1', '192.168.1.2 end'],
    ],
    [['fd00::/64'], [':: end', 'fd00::', 'fd00:0:0:1:: end']],
    [['::/0'], ['::']],
    // Its bytes spell the end of a key that closes a range.
    [['10.101.110.100/32'], ['0.0.0.0 end', '10.101.110.100', '10.101.110.101 end']],
    [[], []],
  ])('%j', (texts, expected) => {
    expect(readable(intervalElements(cidrs(...texts)))).toEqual(expected);
  });

  test('an address is inside exactly when a CIDR contains it', () => {
    const address = fc
      .integer({ min: 0, max: 0xffffffff })
      .map((n) => unpackIp(String.fromCharCode(n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255)));
    const cidr = fc
      .tuple(address, fc.integer({ min: 0, max: 32 }))
      .map(([ip, prefix]) => parseCidr(`${ip}/${prefix}`)!);
    fc.assert(
      fc.property(fc.array(cidr, { maxLength: 6 }), fc.array(address, { maxLength: 6 }), (list, probes) => {
        const elements = [...intervalElements(list).keys()].sort();
        for (const probe of [...probes, ...list.map(({ ip }) => ip)]) {
          const last = elements.filter((key) => key.slice(0, 4) <= packIp(probe)).at(-1);
          expect(last !== undefined && intervalEndAddress(last) === undefined).toBe(
            list.some((one) => cidrContains(one, probe)),
          );
        }
      }),
    );
  });
});
