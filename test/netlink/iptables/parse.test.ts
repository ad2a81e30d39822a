// What the formatter prints is parsed to the same rule; what others have printed is kept, so that different rules differ;
// and whatever else is a DecodeError that names the line.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DecodeError, InternalError } from '../../../src/errors.ts';
import type { IpFamily } from '../../../src/model/ip.ts';
import { encodeIptablesRule } from '../../../src/netlink/iptables/codec.ts';
import { formatIptablesRule } from '../../../src/netlink/iptables/format.ts';
import { parseIptablesRule } from '../../../src/netlink/iptables/parse.ts';
import { parseIptablesSave, SaveReader } from '../../../src/netlink/iptables/parse-save.ts';
import type { IptablesRule } from '../../../src/netlink/iptables/rule.ts';
import { anyRule, neverMatching } from './arbitrary.ts';
import { rules4, rules6 } from './golden.ts';

const FAMILIES = [4, 6] as const;
const golden = { 4: rules4, 6: rules6 } as const;

const rulesOf = (family: IpFamily) =>
  fc.constantFrom('filter', 'nat').chain((table) => anyRule(family, table));

describe.each(FAMILIES)('rules of IPv%i', (family) => {
  const parsed = (line: string) => parseIptablesRule(line, family);
  const roundTrip = (rule: IptablesRule) => parsed(formatIptablesRule('A', rule, family));

  it('are parsed to what was formatted', () => {
    fc.assert(
      fc.property(rulesOf(family), (rule) => {
        expect(roundTrip(rule)).toEqual({ chain: 'A', rule });
      }),
      { numRuns: 3000 },
    );
  });

  it.each(
    [...golden[family], neverMatching(family)].map(
      (rule) => [formatIptablesRule('A', rule, family), rule] as const,
    ),
  )('%s', (line, rule) => {
    expect(parsed(line)).toEqual({ chain: 'A', rule });
    expect(parsed(`[12:3400] ${line}`)).toEqual({ chain: 'A', rule });
  });

  it('with words of comments that are options', () => {
    for (const text of ['-j', '-m', '--comment', '-s', '--dport', '-', '! -j', '"', 'it\'s \\ "so"', '']) {
      const rule: IptablesRule = {
        matches: [{ kind: 'comment', text }],
        target: { kind: 'jump', chain: 'B' },
      };
      expect(roundTrip(rule).rule).toEqual(rule);
    }
  });

  it('with a word changed, lost or added are other rules, or a DecodeError', () => {
    const words = fc.constantFrom(
      '!',
      '-s',
      '-m',
      '--dport',
      'conntrack',
      '"a b"',
      '-j',
      '99999',
      '--reap',
      '-f',
      'x',
    );
    fc.assert(
      fc.property(
        rulesOf(family),
        fc.nat(),
        fc.nat(1),
        fc.option(words, { nil: undefined }),
        (rule, at, cut, word) => {
          const line = formatIptablesRule('A', { ...rule, matches: rule.matches.filter(isPlain) }, family);
          const parts = line.split(' ');
          parts.splice(2 + (at % Math.max(1, parts.length - 2)), cut, ...(word === undefined ? [] : [word]));
          const changed = parts.join(' ');
          const [one, other] = [attempt(line, family), attempt(changed, family)];
          if (other !== undefined && JSON.stringify(one) === JSON.stringify(other))
            expect(sorted(changed)).toBe(sorted(line));
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('that are no rules are a DecodeError that names the line', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `-A A ${text}`),
        ),
        (line) => {
          attempt(line, family);
        },
      ),
      { numRuns: 5000 },
    );
    for (const line of ['', '-A', '-I A 1 -j B', ':A - [0:0]', '[1:2]', '-A A -m comment --comment "x']) {
      expect(() => parsed(line)).toThrow(new RegExp(line.replace(/[[\]]/g, '\\$&')));
      expect(() => parsed(line)).toThrow(DecodeError);
    }
  });
});

/** Texts with blanks are cut in the middle, which is another text. */
const isPlain = ({ kind }: { kind: string }): boolean => kind !== 'comment';

/** The same words, in whatever order. */
const sorted = (line: string): string => line.split(' ').sort().join(' ');

/** undefined for a DecodeError; anything else that is thrown fails the test. */
function attempt(line: string, family: IpFamily): IptablesRule | undefined {
  try {
    return parseIptablesRule(line, family).rule;
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    expect(error.message).toContain(line);
    return undefined;
  }
}

describe('what there are no words for', () => {
  const parsed = (options: string) => parseIptablesRule(`-A A ${options}`, 4).rule;
  const text = (name: string, of: string) => ({ kind: 'unknown', name, expressions: [], text: of });

  it.each([
    ['multiport', '-m multiport --dports 80,443'],
    ['conntrack', '-m conntrack --ctstate NEW --ctorigdst 10.0.0.1/32'],
    ['recent', '-m recent --rcheck --seconds 60 --hitcount 4 --name X --mask 255.255.255.255 --rsource'],
    ['recent', '-m recent ! --rcheck --name X --mask 255.255.255.255 --rsource'],
    ['recent', '-m recent --set --name X --mask 255.255.0.0 --rsource'],
    ['statistic', '-m statistic --mode nth --every 3 --packet 0'],
    ['string', '-m string --string "-j x" --algo bm'],
    ['addrtype', '-m addrtype --dst-type LOCAL --limit-iface-in'],
    ['comment', '-m comment ! --comment x'],
    ['tcp', '-m tcp --dport 80'],
    ['mark', '-m mark --mark 0x1/0x2/0x3'],
    ['set', '-m set ! --match-set X src,dst'],
    ['-f', '-f'],
    ['-s', '-s 10.0.0.1/255.0.255.0'],
    ['-p', '! -p gre'],
    ['-p', '-p 256'],
    ['-s', '-s fd00::1/128'],
  ])('%s: %s', (name, options) => {
    const rule = parsed(`${options} -j B`);
    expect(rule).toEqual({
      matches: [text(name, options)],
      target: { kind: 'jump', chain: 'B' },
    });
    expect(formatIptablesRule('A', rule, 4)).toBe(`-A A ${options} -j B`);
  });

  it.each([
    ['LOG', '-j LOG --log-prefix "-m mark " --log-level 7'],
    ['DNAT', '-j DNAT --to-destination 10.0.0.1-10.0.0.9'],
    ['DNAT', '-j DNAT --to-destination 10.0.0.1:80 --random'],
    ['DNAT', '-j DNAT --to-destination [10.0.0.1]:80'],
    ['MASQUERADE', '-j MASQUERADE --to-ports 1024-65535'],
    ['REJECT', '-j REJECT --reject-with icmp-echo'],
    ['CT', '-j CT --notrack'],
  ])('%s: %s', (name, options) => {
    const rule = parsed(`-p tcp ${options}`);
    expect(rule).toEqual({
      protocol: { name: 'tcp', isInverted: false },
      matches: [],
      target: text(name, options),
    });
    expect(formatIptablesRule('A', rule, 4)).toBe(`-A A -p tcp ${options}`);
  });

  it('is a target without options, when there is no such chain', () => {
    const isChain = (name: string) => name === 'B';
    expect(parseIptablesRule('-A A -j B', 4, isChain).rule.target).toEqual({ kind: 'jump', chain: 'B' });
    expect(parseIptablesRule('-A A -j TRACE', 4, isChain).rule.target).toEqual(text('TRACE', '-j TRACE'));
  });

  it('is never written as if it were not there', () => {
    for (const options of ['-m multiport --dports 80,443 -j ACCEPT', '-j LOG --log-prefix x']) {
      expect(() => encodeIptablesRule(parsed(options), 4)).toThrow(InternalError);
    }
  });
});

describe('what older versions print', () => {
  it.each<[string, string]>([
    ['-s 10.0.0.1 -j B', '-s 10.0.0.1/32 -j B'],
    ['-m recent --set --name X --rsource', '-m recent --set --name X --mask 255.255.255.255 --rsource'],
    ['-m physdev  --physdev-in eth0', '-m physdev --physdev-in eth0'],
    ['-m conntrack --ctstate ESTABLISHED,RELATED', '-m conntrack --ctstate RELATED,ESTABLISHED'],
    ['-p 6 -m tcp --dport 80:80', '-p tcp -m tcp --dport 80'],
    ['-m mark --mark 0x4000/0xffffffff', '-m mark --mark 0x4000'],
    ['-m comment --comment "word"', '-m comment --comment word'],
  ])('%s', (line, now) => {
    expect(formatIptablesRule('A', parseIptablesRule(`-A A ${line}`, 4).rule, 4)).toBe(`-A A ${now}`);
  });
});

describe('a file', () => {
  const lines = (text: string) => text.split('\n');
  const file = `# Generated by iptables-save v1.8.9
*filter
:INPUT DROP [7:400]
:KUBE-SERVICES - [0:0]
:EMPTY -
[0:0] -A INPUT -j KUBE-SERVICES
-A INPUT -j ACCEPT
-A KUBE-SERVICES -d 10.96.0.1/32 -j DROP
COMMIT
# Completed

*nat
:INPUT ACCEPT [0:0]
COMMIT
`;

  it('is chains with their rules in order', () => {
    expect(parseIptablesSave(lines(file))).toEqual([
      {
        table: 'filter',
        name: 'INPUT',
        policy: 'DROP',
        lines: ['[0:0] -A INPUT -j KUBE-SERVICES', '-A INPUT -j ACCEPT'],
      },
      {
        table: 'filter',
        name: 'KUBE-SERVICES',
        policy: undefined,
        lines: ['-A KUBE-SERVICES -d 10.96.0.1/32 -j DROP'],
      },
      { table: 'filter', name: 'EMPTY', policy: undefined, lines: [] },
      { table: 'nat', name: 'INPUT', policy: 'ACCEPT', lines: [] },
    ]);
  });

  it('says of every chain what chains its table has, also when that is asked later', () => {
    const asked: (() => boolean[])[] = [];
    const reader = new SaveReader((_, isChain) =>
      asked.push(() => ['INPUT', 'EMPTY', 'OUTPUT'].map((name) => isChain(name))),
    );
    for (const line of lines(file)) reader.take(line);
    reader.end();
    const inFilter = [true, true, false];
    expect(asked.map((ask) => ask())).toEqual([inFilter, inFilter, inFilter, [true, false, false]]);
  });

  it.each([
    ['that ends too early', '*nat\n:A - [0:0]\n-A A', 3],
    ['with a rule before any table', ':A - [0:0]', 1],
    ['with a table in a table', '*nat\n*filter\nCOMMIT', 2],
    ['with a rule of a chain it does not have', '*nat\n-A A -j B\nCOMMIT', 2],
    ['with a chain twice', '*nat\n:A - [0:0]\n:A - [0:0]\nCOMMIT', 3],
    ['with a chain that is none', '*nat\n:A\nCOMMIT', 2],
    ['with a chain in pieces', '*nat\n:A -\n:B -\n-A A\n-A B\n-A A\nCOMMIT', 6],
    ['with a chain behind its rules', '*nat\n:A -\n-A A\n:B -\nCOMMIT', 4],
    ['with something else', '*nat\n:A - [0:0]\n-D A 1\nCOMMIT', 3],
  ])('%s is a DecodeError that names the line', (_, text, number) => {
    expect(() => parseIptablesSave(lines(text))).toThrow(DecodeError);
    expect(() => parseIptablesSave(lines(text))).toThrow(`line ${number} of`);
  });

  it('of anything is chains or a DecodeError', () => {
    const line = fc.oneof(
      fc.constantFrom('*nat', '*filter', 'COMMIT', ':A - [0:0]', ':B ACCEPT', '-A A -j B', '-A B', '#', ''),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), (some) => {
        try {
          parseIptablesSave(some);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
