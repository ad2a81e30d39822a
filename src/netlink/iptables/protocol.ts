// Protocols by the names that iptables prints whatever /etc/protocols has (libxtables, xtables_chain_protos).

import { InternalError } from '../../errors.ts';
import type { RuleProtocol } from './rule.ts';

/** linux/in.h and linux/in6.h, IPPROTO_* */
export const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  esp: 50,
  ah: 51,
  'ipv6-icmp': 58,
  sctp: 132,
  udplite: 136,
};

const NAMES = new Map(Object.entries(PROTOCOLS).map(([name, number]) => [number, name]));

export function protocolName(number: number): RuleProtocol {
  return NAMES.get(number) ?? String(number);
}

/** An unknown name is an InternalError, and so is 0, which stands for all of them. */
export function protocolNumber(name: RuleProtocol): number {
  const number = PROTOCOLS[name] ?? Number(name);
  if (Number.isInteger(number) && number > 0 && number < 256) return number;
  throw new InternalError(`no protocol: ${name}`);
}
