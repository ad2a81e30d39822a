import fc from 'fast-check';
import { expect, it } from 'vitest';
import { outermost } from '../../src/model/cidr-list.ts';
import { cidrContains, formatCidr, type Ip, parseCidr } from '../../src/model/ip.ts';

const cidr = fc
  .tuple(
    fc.constantFrom('10.0.0', '10.0.128', '10.128.0', '200.0.0'),
    fc.nat(255),
    fc.integer({ min: 6, max: 32 }),
  )
  .map(([net, host, prefix]) => `${net}.${host}/${prefix}`);
const cidr6 = fc
  .tuple(fc.constantFrom('fd00', 'fd80', 'fd00:1'), fc.nat(0xffff), fc.integer({ min: 6, max: 128 }))
  .map(([net, host, prefix]) => `${net}::${host.toString(16)}/${prefix}`);
const anyCidrs = fc
  .array(fc.oneof(cidr, cidr6), { maxLength: 12 })
  .map((texts) => texts.map((text) => parseCidr(text)!));

it('covers the same addresses, with no network in another, in one order', () => {
  fc.assert(
    fc.property(anyCidrs, (cidrs) => {
      const kept = outermost(cidrs);
      const firstAddresses: Ip[] = cidrs.map(({ ip }) => ip);
      for (const ip of firstAddresses) expect(kept.some((one) => cidrContains(one, ip))).toBe(true);
      for (const one of kept) {
        expect(cidrs).toContainEqual(one);
        // Each is there because nothing larger was given.
        const around = cidrs.filter((other) => cidrContains(other, one.ip) && other.prefix < one.prefix);
        expect(around).toEqual([]);
      }
      for (const [i, a] of kept.entries()) {
        for (const b of kept.slice(i + 1)) expect(cidrContains(a, b.ip) || cidrContains(b, a.ip)).toBe(false);
      }
      expect(outermost(cidrs.toReversed())).toEqual(kept);
    }),
    { numRuns: 500 },
  );
});

it('orders by family, then address', () => {
  const texts = ['fd00::/16', '200.0.0.0/8', '9.0.0.0/8', '10.0.0.0/8', '10.0.0.0/8'];
  expect(outermost(texts.map((text) => parseCidr(text)!)).map(formatCidr)).toEqual([
    '9.0.0.0/8',
    '10.0.0.0/8',
    '200.0.0.0/8',
    'fd00::/16',
  ]);
});
