// loadBalancerSourceRanges: who is let in, per family, and that a typo lets nobody in.

import { describe, expect, it } from 'vitest';
import { Field } from '../../src/model/fields.ts';
import { formatCidr, type IpFamily } from '../../src/model/ip.ts';
import { readSourceRanges } from '../../src/model/source-ranges.ts';

function read(list: unknown, exposed: readonly IpFamily[] = [4, 6]) {
  const root = Field.root({ ranges: list });
  const built = root.built(readSourceRanges(root.at('ranges'), new Set(exposed)));
  if (built.kind !== 'built') throw new Error(built.reason);
  const { value, warnings } = built;
  return {
    4: value[4]?.map(formatCidr),
    6: value[6]?.map(formatCidr),
    told: warnings.map(({ code, reason }) => `${code} ${reason}`),
  };
}

const misread = (i: number, got: string) =>
  `SKIPPED_FIELD ranges[${i}]: must be a CIDR such as 192.0.2.0/24, got ${got}; nobody is let in by it`;
const open = (family: IpFamily) =>
  `UNRESTRICTED_FAMILY ranges: names no IPv${family} range, so everybody is let in over IPv${family}`;

describe('source ranges', () => {
  it.each<[string, unknown, string[] | undefined, string[] | undefined]>([
    ['none', undefined, undefined, undefined],
    ['an empty list', [], undefined, undefined],
    ['both families', ['192.0.2.0/24', 'fd00::/16'], ['192.0.2.0/24'], ['fd00::/16']],
    ['blanks around them', [' 192.0.2.0/24\n', '\tfd00::/16'], ['192.0.2.0/24'], ['fd00::/16']],
    ['leading zeros and host bits', ['192.000.002.001/24', 'FD00::1/16'], ['192.0.2.0/24'], ['fd00::/16']],
    [
      '/0 lets its family in, whatever is beside it',
      ['0.0.0.0/0', '192.0.2.0/24', 'fd00::/16'],
      undefined,
      ['fd00::/16'],
    ],
    ['::/0 likewise', ['192.0.2.0/24', '::/0'], ['192.0.2.0/24'], undefined],
    ['/0 with host bits', ['192.0.2.7/0', '::/0'], undefined, undefined],
    [
      'one within another, and one twice',
      ['10.1.0.0/16', '10.0.0.0/8', '192.0.2.7/32', '192.0.2.7/32', 'fd00::/16', 'fd00:1::/32'],
      ['10.0.0.0/8', '192.0.2.7/32'],
      ['fd00::/16'],
    ],
  ])('%s', (_, list, v4, v6) => {
    expect(read(list)).toEqual({ 4: v4, 6: v6, told: [] });
  });

  it('of one family leave the other open, as in kube-proxy, and that is told where it has an address', () => {
    expect(read(['192.0.2.0/24'])).toEqual({ 4: ['192.0.2.0/24'], 6: undefined, told: [open(6)] });
    expect(read(['fd00::/16'])).toEqual({ 4: undefined, 6: ['fd00::/16'], told: [open(4)] });
    expect(read(['192.0.2.0/24'], [4]).told).toEqual([]);
  });

  it.each<[string, unknown[], string[] | undefined, string[] | undefined, string[]]>([
    [
      'an address without a prefix lets not even that address in',
      ['192.0.2.1', '198.51.100.0/24', 'fd00::/16'],
      ['198.51.100.0/24'],
      ['fd00::/16'],
      [misread(0, '"192.0.2.1"')],
    ],
    [
      'the only one of its family closes it',
      ['192.0.2.0/33', 'fd00::/16'],
      [],
      ['fd00::/16'],
      [misread(0, '"192.0.2.0/33"')],
    ],
    [
      'and leaves the other as it is',
      ['fd00::/129', '192.0.2.0/24'],
      ['192.0.2.0/24'],
      [],
      [misread(0, '"fd00::/129"')],
    ],
    ['what could be of either closes both', ['office'], [], [], [misread(0, '"office"')]],
    ['so does what is no text', [10, null], [], [], [misread(0, '10'), misread(1, 'nothing')]],
    ['and an IPv4-mapped network', ['::ffff:192.0.2.0/120'], [], [], [misread(0, '"::ffff:192.0.2.0/120"')]],
    ['and an empty text', [''], [], [], [misread(0, '""')]],
    [
      '/0 beside it still lets everybody in',
      ['0.0.0.0/0', '192.0.2/24', '::/0'],
      undefined,
      undefined,
      [misread(1, '"192.0.2/24"')],
    ],
    [
      'one for IPv4 alone leaves IPv6 as open as ranges for IPv4 alone do',
      ['192.0.2.0/33'],
      [],
      undefined,
      [misread(0, '"192.0.2.0/33"'), open(6)],
    ],
  ])('what cannot be read: %s', (_, list, v4, v6, told) => {
    expect(read(list)).toEqual({ 4: v4, 6: v6, told });
  });

  it('make the Service invalid when they are no list', () => {
    expect(() => read('192.0.2.0/24')).toThrow('ranges: must be a list, got "192.0.2.0/24"');
  });
});
