// Random rules in the normal form that rule.ts tells, such that iptables and the kernel accept them too.

import fc from 'fast-check';
import { type Cidr, type Ip, type IpFamily, packIp, parseIp, unpackIp } from '../../../src/model/ip.ts';
import {
  ADDRESS_TYPES,
  type AddressMatch,
  type AddressType,
  type AddressTypes,
  CONNTRACK_STATES,
  type InterfaceMatch,
  type IptablesRule,
  type Match,
  type PortRange,
  type RejectReason,
  type RuleProtocol,
  type Target,
} from '../../../src/netlink/iptables/rule.ts';

/** The chains that random rules lead to; the longest name that iptables allows among them. */
export const CHAINS = ['KUBE-SVC-XPGD46QRK7WJZT7O', 'x', 'a-chain_of.28:characters=now'] as const;

export type RuleTable = 'filter' | 'nat';

const isInverted = fc.boolean();
const u32 = fc.nat(0xffffffff);
const octets = (count: number) =>
  fc
    .uint8Array({ minLength: count, maxLength: count })
    .map((bytes) => unpackIp(String.fromCharCode(...bytes)));

const ips: Readonly<Record<IpFamily, fc.Arbitrary<Ip>>> = {
  4: octets(4),
  6: fc.oneof(
    octets(16),
    // Addresses that embed one of IPv4, or nearly so, are printed in their own way.
    fc
      .tuple(fc.constantFrom('::', '::ffff:', '::1:', '64:ff9b::'), fc.nat(0xffff), fc.nat(0xffff))
      .map(([head, high, low]) => unpackIp(packIp(`${head}${high.toString(16)}:${low.toString(16)}` as Ip))),
    fc.constantFrom(...(['::', '::1', '::2', 'fd00::'] as Ip[])),
  ),
};

function cidr(family: IpFamily): fc.Arbitrary<Cidr> {
  return fc
    .tuple(ips[family], fc.integer({ min: 1, max: family === 4 ? 32 : 128 }), fc.boolean())
    .map(([ip, bits, isWhole]) => {
      const prefix = isWhole ? Math.max(8, bits & ~7) : bits;
      const masked = Array.from(packIp(ip), (char, index) => {
        const kept = Math.min(8, Math.max(0, prefix - 8 * index));
        return String.fromCharCode(char.charCodeAt(0) & (0xff00 >> kept) & 0xff);
      });
      return { ip: unpackIp(masked.join('')), prefix, family };
    });
}

const address = (family: IpFamily): fc.Arbitrary<AddressMatch> =>
  fc.record({ cidr: cidr(family), isInverted });

const interfaceMatch: fc.Arbitrary<InterfaceMatch> = fc
  .tuple(fc.stringMatching(/^[a-z][a-z0-9.-]{0,14}$/), fc.boolean(), isInverted)
  .map(([name, isWild, inverted]) => ({
    name: isWild ? `${name.slice(0, 14)}+` : name,
    isInverted: inverted,
  }));

const portRange: fc.Arbitrary<PortRange> = fc
  .tuple(fc.nat(65535), fc.nat(65535), fc.boolean(), isInverted)
  .map(([one, other, isOne, inverted]) => {
    const [first, last] = isOne ? [one, one] : [Math.min(one, other), Math.max(one, other)];
    const isAll = first === 0 && last === 65535;
    return { first: isAll ? 1 : first, last, isInverted: inverted && (first !== 0 || first === last) };
  });

/** In the order of `all`, at least one. */
function someOf<T>(all: readonly T[]): fc.Arbitrary<T[]> {
  return fc
    .uniqueArray(fc.constantFrom(...all), { minLength: 1 })
    .map((chosen) => all.filter((one) => chosen.includes(one)));
}

/** Those that the kernel knows for IPv6 (xt_addrtype.c, addrtype_mt_checkentry_v1). */
const ADDRESS_TYPES_6 = ['UNSPEC', 'UNICAST', 'LOCAL', 'ANYCAST', 'MULTICAST', 'UNREACHABLE'] as const;

function addressTypes(family: IpFamily): fc.Arbitrary<AddressTypes> {
  return fc.record({
    types: someOf<AddressType>(family === 4 ? ADDRESS_TYPES : ADDRESS_TYPES_6),
    isInverted,
  });
}

/** Lines of iptables-restore end where a comment would have a line break. What has a U+FFFD is taken for cut text. */
const commentText = fc
  .string({
    unit: fc.oneof(
      fc.constantFrom(...'"\'\\ #$!-'),
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
    ),
    maxLength: 80,
  })
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be in it.
  .filter((text) => !/[\0-\x1f\x7f\ufffd]/.test(text) && Buffer.byteLength(text) <= 255);

/** A record that has at least one of its optional fields. */
function nonEmpty<T extends object>(kind: string, fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) {
  return fc
    .record(fields, { requiredKeys: [] })
    .filter((record) => Object.keys(record).length > 0)
    .map((record) => ({ kind, ...record }) as unknown as Match);
}

const recentName = fc.stringMatching(/^[A-Z0-9-]{7,199}$/);

const recent: fc.Arbitrary<Match> = fc.oneof(
  fc.record({
    kind: fc.constant('recent' as const),
    operation: fc.constantFrom('set', 'remove'),
    name: recentName,
    seconds: fc.constant(0),
    isReaping: fc.constant(false),
    side: fc.constantFrom('source', 'destination'),
  }),
  fc.record({
    kind: fc.constant('recent' as const),
    operation: fc.constantFrom('rcheck', 'update'),
    name: recentName,
    seconds: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
    isReaping: fc.boolean(),
    side: fc.constantFrom('source', 'destination'),
  }),
);

function matches(family: IpFamily, protocol: IptablesRule['protocol']): fc.Arbitrary<Match[]> {
  const hasPorts = protocol?.isInverted === false && ['tcp', 'udp', 'sctp'].includes(protocol.name);
  const kinds: fc.Arbitrary<Match>[] = [
    fc.record({ kind: fc.constant('comment'), text: commentText }),
    nonEmpty('addrtype', { source: addressTypes(family), destination: addressTypes(family) }),
    fc.record({ kind: fc.constant('conntrack'), states: someOf(CONNTRACK_STATES), isInverted }),
    fc.record({ kind: fc.constant('mark'), value: u32, mask: u32, isInverted }),
    fc.record({
      kind: fc.constant('statistic'),
      probability: fc.integer({ min: 1, max: 2 ** 31 }),
      isInverted,
    }),
    recent,
    nonEmpty('physdev', {
      inInterface: interfaceMatch,
      outInterface: interfaceMatch,
      isIn: fc.boolean(),
      isOut: fc.boolean(),
      isBridged: fc.boolean(),
    }),
  ];
  if (hasPorts) {
    kinds.push(
      fc.record(
        { kind: fc.constant('ports'), sourcePorts: portRange, destinationPorts: portRange },
        { requiredKeys: ['kind'] },
      ),
    );
  }
  return fc
    .uniqueArray(fc.nat(kinds.length - 1), { maxLength: 4 })
    .chain((chosen) => fc.tuple(...chosen.map((index) => kinds[index]!)));
}

const REASONS: Readonly<Record<IpFamily, readonly RejectReason[]>> = {
  4: [
    'icmp-net-unreachable',
    'icmp-host-unreachable',
    'icmp-proto-unreachable',
    'icmp-port-unreachable',
    'icmp-net-prohibited',
    'icmp-host-prohibited',
    'icmp-admin-prohibited',
  ],
  6: [
    'icmp6-no-route',
    'icmp6-adm-prohibited',
    'icmp6-addr-unreachable',
    'icmp6-port-unreachable',
    'icmp6-policy-fail',
    'icmp6-reject-route',
  ],
};

function target(
  family: IpFamily,
  protocol: IptablesRule['protocol'],
  table: RuleTable,
): fc.Arbitrary<Target | undefined> {
  const isTcp = protocol?.name === 'tcp' && !protocol.isInverted;
  const canPort = protocol?.isInverted === false && ['tcp', 'udp', 'sctp'].includes(protocol.name);
  const always: fc.Arbitrary<Target | undefined>[] = [
    fc.constant(undefined),
    fc.record({ kind: fc.constantFrom('jump', 'goto'), chain: fc.constantFrom(...CHAINS) }),
    fc.record({ kind: fc.constantFrom('ACCEPT', 'RETURN') }),
    fc.record({ kind: fc.constant('MARK'), value: u32, mask: u32 }),
  ];
  const ofTable: fc.Arbitrary<Target>[] =
    table === 'filter'
      ? [
          fc.record({ kind: fc.constant('DROP') }),
          fc.record({
            kind: fc.constant('REJECT'),
            reason: fc.constantFrom<RejectReason>(
              ...REASONS[family],
              ...(isTcp ? ['tcp-reset' as const] : []),
            ),
          }),
        ]
      : [
          fc.record({ kind: fc.constant('MASQUERADE'), isFullyRandom: fc.boolean() }),
          fc.record({
            kind: fc.constant('DNAT'),
            address: ips[family],
            port: canPort ? fc.nat(65535) : fc.constant(0),
          }),
        ];
  return fc.oneof(...always, ...ofTable, ...ofTable);
}

const protocol: fc.Arbitrary<IptablesRule['protocol']> = fc.option(
  fc.record({
    name: fc.constantFrom<RuleProtocol>('tcp', 'tcp', 'udp', 'sctp', 'icmp', 'ipv6-icmp', 'esp', '200'),
    isInverted: fc.integer({ min: 0, max: 4 }).map((number) => number === 0),
  }),
  { nil: undefined },
);

export function anyRule(family: IpFamily, table: RuleTable): fc.Arbitrary<IptablesRule> {
  return protocol
    .chain((of) =>
      fc.record(
        {
          source: address(family),
          destination: address(family),
          inInterface: interfaceMatch,
          outInterface: interfaceMatch,
          protocol: fc.constant(of),
          matches: matches(family, of),
          target: target(family, of, table),
        },
        { requiredKeys: ['protocol', 'matches', 'target'] },
      ),
    )
    .map(
      (rule) => Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== undefined)) as never,
    );
}

/** What iptables itself cannot write: `! -s 0.0.0.0/0`, and `+` for all interfaces. */
export function neverMatching(family: IpFamily): IptablesRule {
  const all = { ip: parseIp(family === 4 ? '0.0.0.0' : '::')!, prefix: 0, family };
  return {
    source: { cidr: all, isInverted: true },
    inInterface: { name: '+', isInverted: true },
    matches: [],
  };
}
