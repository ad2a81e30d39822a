// A rule as iptables knows it: what `iptables-save` prints, as a plain value. The codec beside this file turns it into the
// nf_tables expressions that iptables-nft writes for it, and back. A rule that keeps to the normal form told here decodes
// to itself: two such rules are the same exactly if they are deep-equal.

import type { Cidr, Ip } from '../../model/ip.ts';
import type { Expression } from '../nftables/expression.ts';

/** `-s 10.0.0.0/8`, `! -d 10.1.0.5/32`. One of prefix 0 that is not inverted says nothing: leave it out. */
export interface AddressMatch {
  readonly cidr: Cidr;
  readonly isInverted: boolean;
}

/** `-i eth0`, `! -i cali+`: a name that ends in `+` stands for all that begin with it. `+` alone is `! -i +` only. */
export interface InterfaceMatch {
  readonly name: string;
  readonly isInverted: boolean;
}

/** Protocols by the name iptables prints (`PROTOCOLS` in protocol.ts); any other by its number as text, 1 to 255. */
export type RuleProtocol = 'tcp' | 'udp' | 'sctp' | 'icmp' | 'ipv6-icmp' | (string & {});

/** IFNAMSIZ is 16, with the terminating NUL. */
export const MAX_INTERFACE_NAME_BYTES = 15;
/** XT_MAX_COMMENT_LEN is 256, with the terminating NUL. */
export const MAX_COMMENT_BYTES = 255;
/** XT_RECENT_NAME_LEN is 200, with the terminating NUL. */
export const MAX_RECENT_NAME_BYTES = 199;
/** NFACCT_NAME_MAX is 32, with the terminating NUL. */
export const MAX_ACCOUNT_NAME_BYTES = 31;

/** Bits of the packet mark: `value/mask`. */
export interface MaskedMark {
  readonly value: number;
  readonly mask: number;
}

/** `-m …`, in the order of the rule. */
export type Match =
  /** At most MAX_COMMENT_BYTES of UTF-8. */
  | { readonly kind: 'comment'; readonly text: string }
  /**
   * `-m tcp --dport 80`, of the rule's protocol, which must be tcp, udp or sctp and not inverted. At most one per rule;
   * without ports it is `-m tcp` alone.
   */
  | {
      readonly kind: 'ports';
      readonly sourcePorts?: PortRange;
      readonly destinationPorts?: PortRange;
    }
  | {
      readonly kind: 'addrtype';
      readonly source?: AddressTypes;
      readonly destination?: AddressTypes;
    }
  /** `-m conntrack --ctstate RELATED,ESTABLISHED`; in the order of CONNTRACK_STATES. */
  | { readonly kind: 'conntrack'; readonly states: readonly ConntrackState[]; readonly isInverted: boolean }
  | ({ readonly kind: 'mark'; readonly isInverted: boolean } & MaskedMark)
  /** `-m statistic --mode random --probability P`: of 2^31, as the kernel has it; `probabilityOfOneIn` gives it. */
  | { readonly kind: 'statistic'; readonly probability: number; readonly isInverted: boolean }
  /** `-m recent --rcheck --seconds 10800 --reap --name N --mask M --rsource`, `-m recent --set …` */
  | {
      readonly kind: 'recent';
      readonly operation: 'set' | 'rcheck' | 'update' | 'remove';
      /** At most MAX_RECENT_NAME_BYTES of UTF-8. */
      readonly name: string;
      /** 0 when not given. */
      readonly seconds: number;
      readonly isReaping: boolean;
      readonly side: 'source' | 'destination';
    }
  /** `-m nfacct --nfacct-name N`: the counter must exist. At most MAX_ACCOUNT_NAME_BYTES. */
  | { readonly kind: 'nfacct'; readonly name: string }
  /** `-m physdev --physdev-in eth0 ! --physdev-is-bridged`: ports of a bridge; false is `!`. */
  | {
      readonly kind: 'physdev';
      readonly inInterface?: InterfaceMatch;
      readonly outInterface?: InterfaceMatch;
      readonly isIn?: boolean;
      readonly isOut?: boolean;
      readonly isBridged?: boolean;
    }
  | Unknown;

/**
 * What this program never writes, kept as it was read so that rules of others can be told apart and compared. `name` is
 * that of the match or target, or the kind of the first expression, or the option.
 */
export interface Unknown {
  readonly kind: 'unknown';
  readonly name: string;
  /** None of a rule that was read from text. */
  readonly expressions: readonly Expression[];
  /** Of a rule that was read from text: all of it, `-m multiport --dports 80,443`. */
  readonly text?: string;
}

/** Inclusive. 0 to 65535 says nothing: leave it out. `! 0:80` is `81:65535`. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
  readonly isInverted: boolean;
}

/** linux/rtnetlink.h, RTN_*, by their number. */
export const ADDRESS_TYPES = [
  'UNSPEC',
  'UNICAST',
  'LOCAL',
  'BROADCAST',
  'ANYCAST',
  'MULTICAST',
  'BLACKHOLE',
  'UNREACHABLE',
  'PROHIBIT',
  'THROW',
  'NAT',
  'XRESOLVE',
] as const;

export type AddressType = (typeof ADDRESS_TYPES)[number];

export interface AddressTypes {
  /** At least one, in the order of ADDRESS_TYPES. */
  readonly types: readonly AddressType[];
  readonly isInverted: boolean;
}

/** In the order in which iptables prints them. */
export const CONNTRACK_STATES = [
  'INVALID',
  'NEW',
  'RELATED',
  'ESTABLISHED',
  'UNTRACKED',
  'SNAT',
  'DNAT',
] as const;

export type ConntrackState = (typeof CONNTRACK_STATES)[number];

/** `-j …`, or nothing. */
export type Target =
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  | { readonly kind: 'ACCEPT' | 'DROP' | 'RETURN' }
  /** `--set-xmark value/mask`: bits of `mask` are cleared, then `value` is xored in. */
  | ({ readonly kind: 'MARK' } & MaskedMark)
  /** `--to-destination 10.1.0.5:80`; port 0 keeps the port. */
  | { readonly kind: 'DNAT'; readonly address: Ip; readonly port: number }
  | { readonly kind: 'MASQUERADE'; readonly isFullyRandom: boolean }
  /** `--reject-with icmp-port-unreachable`; a `tcp-reset` needs the protocol tcp. */
  | { readonly kind: 'REJECT'; readonly reason: RejectReason }
  | Unknown;

/** As iptables prints them: those of IPv4, then those of IPv6. */
export const REJECT_REASONS = [
  'tcp-reset',
  'icmp-net-unreachable',
  'icmp-host-unreachable',
  'icmp-proto-unreachable',
  'icmp-port-unreachable',
  'icmp-net-prohibited',
  'icmp-host-prohibited',
  'icmp-admin-prohibited',
  'icmp6-no-route',
  'icmp6-adm-prohibited',
  'icmp6-addr-unreachable',
  'icmp6-port-unreachable',
  'icmp6-policy-fail',
  'icmp6-reject-route',
] as const;

export type RejectReason = (typeof REJECT_REASONS)[number];

export interface IptablesRule {
  readonly source?: AddressMatch;
  readonly destination?: AddressMatch;
  readonly inInterface?: InterfaceMatch;
  readonly outInterface?: InterfaceMatch;
  readonly protocol?: { readonly name: RuleProtocol; readonly isInverted: boolean };
  readonly matches: readonly Match[];
  readonly target?: Target;
}
