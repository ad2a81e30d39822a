import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cidrContains,
  familyOf,
  formatCidr,
  type Ip,
  ipBytes,
  packIp,
  parseCidr,
  parseIp,
  unpackIp,
} from '../../src/model/ip.ts';

const octet = fc.nat(255);
const ipv4 = fc.tuple(octet, octet, octet, octet).map((octets) => octets.join('.'));
/** Many zero groups, so that `::` has something to choose from. */
const groups = fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 });
const unmapped = groups.filter((g) => !(g.slice(0, 5).every((one) => one === 0) && g[5] === 0xffff));
const ipv6 = unmapped.map((g) => g.map((one) => one.toString(16)).join(':'));
const anyIp = fc.oneof(ipv4, ipv6).map((text) => parseIp(text) as Ip);

/** The value of an address, read without the code under test: every group or octet written out. */
function toBigInt(ip: string): bigint {
  if (!ip.includes(':')) return ip.split('.').reduce((sum, one) => sum * 256n + BigInt(one), 0n);
  const [head = '', tail = ''] = ip.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === '' ? [] : tail.split(':');
  const all = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  return all.reduce((sum, one) => sum * 65536n + BigInt(`0x${one}`), 0n);
}

describe('parseIp', () => {
  it.each([
    ['10.96.0.10', '10.96.0.10'],
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['010.096.000.001', '10.96.0.1'],
    ['10.0.0.00000001', '10.0.0.1'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['FD00:10:96::55', 'fd00:10:96::55'],
    ['fd00:0010:0096:0000:0000:0000:0000:0055', 'fd00:10:96::55'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['::ffff:10.96.0.10', '10.96.0.10'],
    ['::ffff:a60:a', '10.96.0.10'],
    ['::ffff:010.0.0.1', '10.0.0.1'],
    ['::1.2.3.4', '::102:304'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
  ])('reads %s as %s', (text, canonical) => {
    expect(parseIp(text)).toBe(canonical);
  });

  it.each([
    '',
    '10.96.0',
    '10.96.0.256',
    '10.96.0.1000',
    '10.96.0.10.1',
    '10.96.0.-1',
    '10.96.0.1 ',
    '10.96.0.1\n',
    '0x0a.0.0.1',
    '1e1.0.0.1',
    '١.1.1.1',
    ':',
    ':::',
    '1:2:3',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '1::2::3',
    ':1:2:3:4:5:6:7',
    '12345::',
    'g::1',
    'fe80::1%eth0',
    '[::1]',
    '::1/128',
    '::ffff:1.2.3',
    '::ffff:1.2.3.256',
    '::ffff:0x1.2.3.4',
    '1.2.3.4::',
    '::1.2.3.4:5',
    '1:2:3:4:5:6:7:1.2.3.4',
    'localhost',
  ])('refuses %j', (text) => {
    expect(parseIp(text)).toBeUndefined();
  });

  it('keeps the value, and reads its own output as itself', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6), (text) => {
        const ip = parseIp(text)!;
        expect(toBigInt(ip)).toBe(toBigInt(text));
        expect(parseIp(ip)).toBe(ip);
        expect(parseIp(ip.toUpperCase())).toBe(ip);
      }),
    );
  });

  it('gives equal addresses equal strings, however they are written', () => {
    const sloppy = fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3), fc.nat(3));
    fc.assert(
      fc.property(ipv4, sloppy, (text, zeros) => {
        const written = text.split('.').map((one, i) => '0'.repeat(zeros[i]!) + one);
        expect(parseIp(written.join('.'))).toBe(text);
        expect(parseIp(`::ffff:${text}`)).toBe(text);
      }),
    );
    fc.assert(
      fc.property(unmapped, (g) => {
        const full = g.map((one) => one.toString(16).padStart(4, '0')).join(':');
        const short = g.map((one) => one.toString(16)).join(':');
        expect(parseIp(full)).toBe(parseIp(short));
      }),
    );
  });

  it('compresses the first longest run of zero groups, and no single one (RFC 5952)', () => {
    fc.assert(
      fc.property(unmapped, (g) => {
        const text = parseIp(g.map((one) => one.toString(16)).join(':'))!;
        const runs = g
          .map((_, i) => g.slice(i).findIndex((one) => one !== 0))
          .map((n, i) => (n < 0 ? 8 - i : n));
        const longest = Math.max(...runs);
        if (longest < 2) expect(text).not.toContain('::');
        else {
          const before = text.split('::')[0]!;
          expect(before === '' ? 0 : before.split(':').length).toBe(runs.indexOf(longest));
        }
      }),
    );
  });

  it('never throws', () => {
    const likely = fc.string({ unit: fc.constantFrom(...'0123456789abf:.%/ ') });
    fc.assert(
      fc.property(fc.oneof(fc.string(), likely), (text) => {
        const ip = parseIp(text);
        if (ip !== undefined) expect(parseIp(ip)).toBe(ip);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('packed form', () => {
  it('is the bytes of the address in network order, and back', () => {
    fc.assert(
      fc.property(anyIp, (ip) => {
        const packed = packIp(ip);
        expect(packed.length).toBe(familyOf(ip) === 4 ? 4 : 16);
        expect([...packed].reduce((sum, char) => sum * 256n + BigInt(char.charCodeAt(0)), 0n)).toBe(
          toBigInt(ip),
        );
        expect([...ipBytes(ip)]).toEqual([...packed].map((char) => char.charCodeAt(0)));
        expect(unpackIp(packed)).toBe(ip);
      }),
    );
  });
});

describe('parseCidr', () => {
  it.each([
    ['10.1.2.3/16', '10.1.0.0/16'],
    ['010.1.2.3/24', '10.1.2.0/24'],
    ['10.1.2.3/32', '10.1.2.3/32'],
    ['10.1.2.3/0', '0.0.0.0/0'],
    ['fd00:10:1::11/64', 'fd00:10:1::/64'],
    ['fd00::1/128', 'fd00::1/128'],
    ['ffff::/1', '8000::/1'],
  ])('reads %s as %s', (text, canonical) => {
    expect(formatCidr(parseCidr(text)!)).toBe(canonical);
  });

  it.each([
    '',
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    'fd00::/129',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10.0.0.0/8 ',
    '/8',
    '::ffff:10.0.0.0/104',
    '::ffff:10.0.0.0/8',
    'fe80::%eth0/64',
  ])('refuses %j', (text) => {
    expect(parseCidr(text)).toBeUndefined();
  });

  it('contains what shares its prefix, as arithmetic says', () => {
    fc.assert(
      fc.property(anyIp, anyIp, fc.nat(128), fc.nat(127), (net, other, length, flip) => {
        const bits = familyOf(net) === 4 ? 32 : 128;
        const prefix = length % (bits + 1);
        const cidr = parseCidr(`${net}/${prefix}`)!;
        const shift = BigInt(bits - prefix);
        expect(toBigInt(cidr.ip)).toBe((toBigInt(net) >> shift) << shift);
        // A neighbour that differs in one bit, beside an unrelated address.
        const bytes = ipBytes(net);
        bytes[(flip % bits) >> 3]! ^= 0x80 >> (flip & 7);
        for (const ip of [net, other, unpackIp(String.fromCharCode(...bytes))]) {
          const isInside = familyOf(ip) === cidr.family && toBigInt(ip) >> shift === toBigInt(net) >> shift;
          expect(cidrContains(cidr, ip)).toBe(isInside);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
