// One rule of a chain that all Services share, in few bytes: it exists for every address and port that can be dialled.

import { type Ip, type IpFamily, packIp } from '../../model/ip.ts';
import type { Protocol, ServiceKey } from '../../model/types.ts';
import type { IptablesRule, Match, Target } from '../../netlink/iptables/rule.ts';
import type { NodePortPlace } from './node-ports.ts';
import { comment, host, jump, ofProtocol, reject, TO_THIS_HOST, toPort } from './rule-parts.ts';

export interface Entry {
  /** Where it is in its chain, and in the tree: packed address, protocol and port, as far as it has them. */
  readonly key: string;
  /** undefined for one that several Services have in common. */
  readonly service: ServiceKey | undefined;
  /** In two parts, of which the second is the same string for many entries. */
  readonly displayName: string;
  readonly remark: string;
  /** undefined for the host's own. */
  readonly address: Ip | undefined;
  /** Narrows the host's own addresses, where the chain has not seen to it. */
  readonly place: NodePortPlace | undefined;
  /** Both undefined for everything that is sent to the address. */
  readonly protocol: Protocol | undefined;
  readonly port: number | undefined;
  /** A chain, or what else becomes of the packet. */
  readonly target: string;
}

export function entryRule(entry: Entry, family: IpFamily): IptablesRule {
  const { displayName, remark, address, place, protocol, port, target } = entry;
  const destination = address === undefined ? place?.destination : host(address);
  const matches: Match[] = [comment(displayName + remark)];
  if (place !== undefined) matches.push(TO_THIS_HOST);
  if (port !== undefined) matches.push(toPort(port));
  return {
    ...(destination !== undefined && { destination }),
    ...(protocol !== undefined && ofProtocol(protocol)),
    matches,
    target: targetOf(target, family, protocol),
  };
}

function targetOf(target: string, family: IpFamily, protocol: Protocol | undefined): Target {
  switch (target) {
    case 'REJECT':
      return reject(family, protocol);
    case 'ACCEPT':
    case 'DROP':
      return { kind: target };
    default:
      return jump(target);
  }
}

/** Equal for entries that make equal rules at equal places. */
export function entryText({
  key,
  displayName,
  remark,
  address,
  place,
  protocol,
  port,
  target,
}: Entry): string {
  return JSON.stringify([key, displayName + remark, address, place, protocol, port, target]);
}

export function isSameEntry(a: Entry, b: Entry): boolean {
  return (
    a === b ||
    (a.key === b.key &&
      a.target === b.target &&
      a.remark === b.remark &&
      a.displayName === b.displayName &&
      a.address === b.address &&
      a.protocol === b.protocol &&
      a.port === b.port &&
      a.place === b.place)
  );
}

const PROTOCOL_ORDER: Readonly<Record<Protocol, number>> = { TCP: 0, UDP: 1, SCTP: 2 };
export const PROTOCOLS_IN_ORDER = Object.keys(PROTOCOL_ORDER) as readonly Protocol[];

/** Protocol and port in three bytes. */
export function portKey(protocol: Protocol, port: number): string {
  return String.fromCharCode(PROTOCOL_ORDER[protocol], port >> 8, port & 255);
}

export function addressKey(address: Ip, protocol: Protocol, port: number): string {
  return packIp(address) + portKey(protocol, port);
}
