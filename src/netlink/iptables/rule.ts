// A rule as iptables knows it: what `iptables-save` prints, as a plain value. The codec beside this file turns it into the
// nf_tables expressions that iptables-nft writes for it, and back.

import type { Cidr } from '../../model/ip.ts';

/** `-s 10.0.0.0/8`, `! -d 10.1.0.5/32` */
export interface AddressMatch {
  readonly cidr: Cidr;
  readonly isInverted: boolean;
}

/** `-i eth0`, `! -i cali+`: a name that ends in `+` stands for all that begin with it. */
export interface InterfaceMatch {
  readonly name: string;
  readonly isInverted: boolean;
}

/** Protocols by the name iptables prints; any other by its number as text. */
export type RuleProtocol = 'tcp' | 'udp' | 'sctp' | 'icmp' | 'ipv6-icmp' | (string & {});

/** Bits of the packet mark: `value/mask`. */
export interface MaskedMark {
  readonly value: number;
  readonly mask: number;
}

/** `-m …`, in the order of the rule. */
export type Match =
  | { readonly kind: 'comment'; readonly text: string }
  /** `-m tcp --dport 80`, of the rule's protocol; ranges inclusive. */
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
  /** `-m conntrack --ctstate RELATED,ESTABLISHED` */
  | { readonly kind: 'conntrack'; readonly states: readonly ConntrackState[]; readonly isInverted: boolean }
  | ({ readonly kind: 'mark'; readonly isInverted: boolean } & MaskedMark)
  /** `-m statistic --mode random --probability P`; 0 to 2^31, of 2^31, as the kernel has it. */
  | { readonly kind: 'statistic'; readonly probability: number; readonly isInverted: boolean }
  /** `-m recent --rcheck --seconds 10800 --reap --name N --mask M --rsource`, `-m recent --set …` */
  | {
      readonly kind: 'recent';
      readonly operation: 'set' | 'rcheck' | 'update' | 'remove';
      readonly name: string;
      /** 0 when not given. */
      readonly seconds: number;
      readonly isReaping: boolean;
      readonly side: 'source' | 'destination';
    }
  /** What this program never writes, kept as it is so that rules of others can be told apart and compared. */
  | { readonly kind: 'unknown'; readonly name: string; readonly revision: number; readonly info: string };

export interface PortRange {
  readonly first: number;
  readonly last: number;
  readonly isInverted: boolean;
}

export interface AddressTypes {
  /** `LOCAL`, `UNICAST`, … as iptables prints them. */
  readonly types: readonly string[];
  readonly isInverted: boolean;
}

export type ConntrackState = 'NEW' | 'ESTABLISHED' | 'RELATED' | 'INVALID' | 'UNTRACKED' | 'SNAT' | 'DNAT';

/** `-j …`, or nothing. */
export type Target =
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  | { readonly kind: 'ACCEPT' | 'DROP' | 'RETURN' }
  /** `--set-xmark value/mask`: bits of `mask` are cleared, then `value` is xored in. */
  | ({ readonly kind: 'MARK' } & MaskedMark)
  /** `--to-destination 10.1.0.5:80`; port 0 keeps the port. */
  | { readonly kind: 'DNAT'; readonly address: string; readonly port: number }
  | { readonly kind: 'MASQUERADE'; readonly isFullyRandom: boolean }
  /** `--reject-with icmp-port-unreachable`, as iptables prints the reason. */
  | { readonly kind: 'REJECT'; readonly reason: string }
  | { readonly kind: 'unknown'; readonly name: string; readonly revision: number; readonly info: string };

export interface IptablesRule {
  readonly source?: AddressMatch;
  readonly destination?: AddressMatch;
  readonly inInterface?: InterfaceMatch;
  readonly outInterface?: InterfaceMatch;
  readonly protocol?: { readonly name: RuleProtocol; readonly isInverted: boolean };
  readonly matches: readonly Match[];
  readonly target?: Target;
}
