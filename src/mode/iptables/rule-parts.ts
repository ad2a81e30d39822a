// Short spellings of the parts of a rule, in the way kube-proxy's command lines combine them.

import { type Cidr, hostCidr, type Ip, type IpFamily } from '../../model/ip.ts';
import type { Protocol } from '../../model/types.ts';
import type {
  AddressMatch,
  ConntrackState,
  IptablesRule,
  Match,
  RuleProtocol,
  Target,
} from '../../netlink/iptables/rule.ts';
import type { LocalPods } from '../../vip/local-pods.ts';

/** `-m comment --comment "text"` */
export function comment(text: string): Match {
  return { kind: 'comment', text };
}

/** `--dport port`, of the rule's protocol */
export function toPort(port: number): Match {
  return toPorts(port, port);
}

/** `--dport first:last` */
export function toPorts(first: number, last: number): Match {
  return { kind: 'ports', destinationPorts: { first, last, isInverted: false } };
}

/** `-m tcp` alone, as kube-proxy writes it before DNAT */
export const ANY_PORT: Match = { kind: 'ports' };

/** `-p tcp` */
export function ofProtocol(protocol: Protocol): Pick<Required<IptablesRule>, 'protocol'> {
  return PROTOCOLS[protocol];
}

const PROTOCOLS = { TCP: plainly('tcp'), UDP: plainly('udp'), SCTP: plainly('sctp') } as const;

function plainly(name: RuleProtocol): Pick<Required<IptablesRule>, 'protocol'> {
  return { protocol: { name, isInverted: false } };
}

/** `-m conntrack --ctstate …` */
export function state(...states: ConntrackState[]): Match {
  return { kind: 'conntrack', states, isInverted: false };
}

/** `-m addrtype --dst-type LOCAL` */
export const TO_THIS_HOST: Match = { kind: 'addrtype', destination: { types: ['LOCAL'], isInverted: false } };
/** `-m addrtype ! --dst-type LOCAL` */
export const NOT_TO_THIS_HOST: Match = {
  kind: 'addrtype',
  destination: { types: ['LOCAL'], isInverted: true },
};
/** `-m addrtype --src-type LOCAL` */
export const FROM_THIS_HOST: Match = { kind: 'addrtype', source: { types: ['LOCAL'], isInverted: false } };

/** `10.96.0.10/32` of `-s` or `-d` */
export function host(ip: Ip): AddressMatch {
  return { cidr: hostCidr(ip), isInverted: false };
}

/** `-s 10.0.0.0/8`, or nothing for the whole of a family */
export function from(cidr: Cidr): Pick<IptablesRule, 'source'> {
  return cidr.prefix === 0 ? {} : { source: { cidr, isInverted: false } };
}

/** `-d 10.0.0.0/8`, or nothing for the whole of a family */
export function to(cidr: Cidr): Pick<IptablesRule, 'destination'> {
  return cidr.prefix === 0 ? {} : { destination: { cidr, isInverted: false } };
}

/** `-j CHAIN` */
export function jump(chain: string): Target {
  return { kind: 'jump', chain };
}

/**
 * `-j REJECT`, whose reason iptables fills in per family. TCP over IPv6 is answered with a reset, unlike kube-proxy: Linux drops an
 * ICMPv6 error that arrives while connect() still holds the socket, and the client would wait a second for nothing.
 */
export function reject(family: IpFamily, protocol: Protocol | undefined): Target {
  if (family === 4) return { kind: 'REJECT', reason: 'icmp-port-unreachable' };
  return { kind: 'REJECT', reason: protocol === 'TCP' ? 'tcp-reset' : 'icmp6-port-unreachable' };
}

/** What a packet from a pod of this node matches. */
export function fromPods(pods: LocalPods): Pick<IptablesRule, 'source' | 'inInterface'> {
  return pods.kind === 'source'
    ? from(pods.cidr)
    : { inInterface: { name: interfaceName(pods), isInverted: false } };
}

/** What a packet from anybody else matches. */
export function fromOthers(pods: LocalPods): Pick<IptablesRule, 'source' | 'inInterface'> {
  return pods.kind === 'source'
    ? { source: { cidr: pods.cidr, isInverted: true } }
    : { inInterface: { name: interfaceName(pods), isInverted: true } };
}

function interfaceName({ name, isPrefix }: Extract<LocalPods, { kind: 'interface' }>): string {
  return isPrefix ? `${name}+` : name;
}
