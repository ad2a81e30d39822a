// Targets: verdicts of nf_tables, and xt structs (linux/netfilter/xt_MARK.h, nf_nat.h, ipt_REJECT.h, ip6t_REJECT.h).

import { InternalError } from '../../errors.ts';
import { familyOf, type IpFamily, packIp, unpackIp } from '../../model/ip.ts';
import { NAT_FLAGS } from '../nftables/expression/nat-options.ts';
import type { Expression } from '../nftables/expression.ts';
import { VERDICT_REGISTER } from '../nftables/register.ts';
import type { Verdict } from '../nftables/verdict.ts';
import type { TargetExpression } from './expressions.ts';
import type { RejectReason, Target, Unknown } from './rule.ts';
import { bytes, gap, u16be, u32, unused, xtStruct } from './xt-struct.ts';

/** xt_mark_tginfo2 */
const markInfo = xtStruct({ value: u32, mask: u32 });

/** NF_NAT_RANGE_* that are not in NAT_FLAGS. */
const MAP_IPS = 1;
const PROTO_SPECIFIED = 2;

/** nf_nat_range2: an IPv4 address stands in the first 4 of its 16 bytes. */
const natRange = xtStruct({
  flags: u32,
  minAddress: bytes(16),
  maxAddress: bytes(16),
  minPort: u16be,
  maxPort: u16be,
  basePort: unused(2),
  padding: gap(6),
});

/** nf_nat_ipv4_multi_range_compat of one range, without the addresses and ports that masquerade could be given. */
const masqueradeInfo = xtStruct({
  rangeSize: u32,
  flags: u32,
  addressesAndPorts: unused(12),
  padding: gap(4),
});

/** nf_nat_range, likewise */
const masqueradeInfo6 = xtStruct({ flags: u32, addressesAndPorts: unused(36) });

/** ipt_reject_info and ip6t_reject_info */
const rejectInfo = xtStruct({ with: u32, padding: gap(4) });

/** enum ipt_reject_with and ip6t_reject_with, as far as iptables has a name for them. */
const REJECT_REASONS: Readonly<Record<IpFamily, Readonly<Partial<Record<RejectReason, number>>>>> = {
  4: {
    'icmp-net-unreachable': 0,
    'icmp-host-unreachable': 1,
    'icmp-proto-unreachable': 2,
    'icmp-port-unreachable': 3,
    'icmp-net-prohibited': 5,
    'icmp-host-prohibited': 6,
    'tcp-reset': 7,
    'icmp-admin-prohibited': 8,
  },
  6: {
    'icmp6-no-route': 0,
    'icmp6-adm-prohibited': 1,
    'icmp6-addr-unreachable': 3,
    'icmp6-port-unreachable': 4,
    'tcp-reset': 6,
    'icmp6-policy-fail': 7,
    'icmp6-reject-route': 8,
  },
};

const xt = (name: string, revision: number, info: string): TargetExpression => ({
  kind: 'target',
  name,
  revision,
  info,
});

const decide = (verdict: Verdict): Expression => ({
  kind: 'immediate',
  register: VERDICT_REGISTER,
  verdict,
});

const VERDICTS = {
  ACCEPT: decide({ kind: 'accept' }),
  DROP: decide({ kind: 'drop' }),
  RETURN: decide({ kind: 'return' }),
} as const;

const MASQUERADE: Readonly<Record<IpFamily, (flags: number) => TargetExpression>> = {
  4: (flags) => xt('MASQUERADE', 0, masqueradeInfo.encode({ rangeSize: 1, flags })),
  6: (flags) => xt('MASQUERADE', 0, masqueradeInfo6.encode({ flags })),
};

/** A rule without it would be another rule. */
export function pushUnknown(expressions: Expression[], { expressions: kept, text }: Unknown): void {
  if (text !== undefined) throw new InternalError(`known as text only: ${text}`);
  expressions.push(...kept);
}

/** Appends the target to `expressions`. */
export function encodeTarget(expressions: Expression[], target: Target, family: IpFamily): void {
  switch (target.kind) {
    case 'unknown':
      pushUnknown(expressions, target);
      break;
    case 'jump':
    case 'goto':
      expressions.push(decide({ kind: target.kind, chain: target.chain }));
      break;
    case 'ACCEPT':
    case 'DROP':
    case 'RETURN':
      expressions.push(VERDICTS[target.kind]);
      break;
    case 'MARK':
      expressions.push(xt('MARK', 2, markInfo.encode(target)));
      break;
    case 'MASQUERADE':
      expressions.push(MASQUERADE[family](target.isFullyRandom ? NAT_FLAGS.fullyRandom : 0));
      break;
    case 'DNAT':
      expressions.push(encodeDnat(target, family));
      break;
    case 'REJECT': {
      const number = REJECT_REASONS[family][target.reason];
      if (number === undefined) throw new InternalError(`IPv${family} cannot reject with ${target.reason}`);
      expressions.push(xt('REJECT', 0, rejectInfo.encode({ with: number })));
    }
  }
}

function encodeDnat(
  { address, port }: Extract<Target, { readonly kind: 'DNAT' }>,
  family: IpFamily,
): TargetExpression {
  if (familyOf(address) !== family) throw new InternalError(`DNAT to ${address} in a rule of IPv${family}`);
  const padded = packIp(address).padEnd(16, '\0');
  const info = natRange.encode({
    flags: port === 0 ? MAP_IPS : MAP_IPS | PROTO_SPECIFIED,
    minAddress: padded,
    maxAddress: padded,
    minPort: port,
    maxPort: port,
  });
  return xt('DNAT', 2, info);
}

/** undefined for what `Target` has no words for. */
export function decodeTarget(expression: Expression, family: IpFamily): Target | undefined {
  if (expression.kind === 'immediate') {
    return expression.register === VERDICT_REGISTER && expression.verdict
      ? decodeVerdict(expression.verdict)
      : undefined;
  }
  if (expression.kind !== 'target') return undefined;
  return READERS[`${expression.name} ${expression.revision}`]?.(expression.info, family);
}

function decodeVerdict(verdict: Verdict): Target | undefined {
  switch (verdict.kind) {
    case 'jump':
    case 'goto':
      return { kind: verdict.kind, chain: verdict.chain };
    case 'accept':
      return { kind: 'ACCEPT' };
    case 'drop':
      return { kind: 'DROP' };
    case 'return':
      return { kind: 'RETURN' };
    default:
      return undefined;
  }
}

const READERS: Readonly<Record<string, (info: string, family: IpFamily) => Target | undefined>> = {
  'MARK 2': (info) => {
    const mark = markInfo.decode(info);
    return mark && { kind: 'MARK', ...mark };
  },
  'MASQUERADE 0': (info, family) => {
    const range = (family === 4 ? masqueradeInfo : masqueradeInfo6).decode(info);
    if (range === undefined || (range.flags & ~NAT_FLAGS.fullyRandom) !== 0) return undefined;
    return { kind: 'MASQUERADE', isFullyRandom: range.flags !== 0 };
  },
  'DNAT 2': decodeDnat,
  'REJECT 0': (info, family) => {
    const number = rejectInfo.decode(info)?.with;
    const names = Object.keys(REJECT_REASONS[family]) as RejectReason[];
    const reason = names.find((name) => REJECT_REASONS[family][name] === number);
    return reason && { kind: 'REJECT', reason };
  },
};

function decodeDnat(info: string, family: IpFamily): Target | undefined {
  const range = natRange.decode(info);
  if (range === undefined) return undefined;
  const { flags, minAddress, maxAddress, minPort, maxPort } = range;
  const length = family === 4 ? 4 : 16;
  const hasPort = (flags & PROTO_SPECIFIED) !== 0;
  const isOne = minAddress === maxAddress && (!hasPort || (minPort === maxPort && minPort !== 0));
  const isKnown = (flags & ~PROTO_SPECIFIED) === MAP_IPS && /^\0*$/.test(minAddress.slice(length));
  if (!isOne || !isKnown) return undefined;
  return { kind: 'DNAT', address: unpackIp(minAddress.slice(0, length)), port: hasPort ? minPort : 0 };
}
