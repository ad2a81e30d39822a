// Which packets are for a node port, by their destination (kube-proxy.md section 4.5, NodePort dispatch).

import { type Cidr, cidrContains, formatCidr, type Ip, type IpFamily } from '../../model/ip.ts';
import type { AddressMatch } from '../../netlink/iptables/rule.ts';

/** Addresses of this host (`addrtype --dst-type LOCAL`), or those of them that the match leaves. */
export interface NodePortPlace {
  readonly destination: AddressMatch | undefined;
}

export interface NodePortPlaces {
  /** A packet to any of them is for a node port; none when no address serves node ports. */
  readonly places: readonly NodePortPlace[];
  /** Set when loopback addresses are in a place and do not serve node ports all the same. */
  readonly exceptLoopback: Cidr | undefined;
  /** Whether loopback addresses serve them: the sysctl route_localnet is needed, and a rule against its abuse. */
  readonly servesLoopback: boolean;
}

const LOOPBACK: Readonly<Record<IpFamily, Cidr>> = {
  4: { ip: '127.0.0.0' as Ip, prefix: 8, family: 4 },
  6: { ip: '::1' as Ip, prefix: 128, family: 6 },
};
/** An address that a network must contain to be more than a part of LOOPBACK and yet reach into it. */
const LOOPBACK_ADDRESS: Readonly<Record<IpFamily, Ip>> = { 4: '127.0.0.1' as Ip, 6: '::1' as Ip };

/**
 * kube-proxy writes one rule per address that it finds in the networks; here the network itself is matched, together with
 * being an address of this host, so that addresses which come and go are honoured at once. Loopback addresses can serve
 * in IPv4 only: the kernel has no route_localnet for IPv6.
 */
export function nodePortPlaces(
  family: IpFamily,
  cidrs: readonly Cidr[],
  servesLocalhost: boolean,
): NodePortPlaces {
  const loopback = LOOPBACK[family];
  const mine = [
    ...new Map(
      cidrs.filter((cidr) => cidr.family === family).map((cidr) => [formatCidr(cidr), cidr]),
    ).values(),
  ];
  const mayServe = family === 4 && servesLocalhost;
  // A wider network does not begin there: the last bit of either prefix is set.
  const isPartOfLoopback = (cidr: Cidr): boolean => cidrContains(loopback, cidr.ip);
  const reachesLoopback = (cidr: Cidr): boolean =>
    isPartOfLoopback(cidr) || cidrContains(cidr, LOOPBACK_ADDRESS[family]);
  const servesLoopback = mayServe && mine.some(reachesLoopback);
  if (mine.some(({ prefix }) => prefix === 0)) {
    return {
      places: [{ destination: mayServe ? undefined : { cidr: loopback, isInverted: true } }],
      exceptLoopback: undefined,
      servesLoopback,
    };
  }
  const places = mayServe ? mine : mine.filter((cidr) => !isPartOfLoopback(cidr));
  return {
    places: places.map((cidr) => ({ destination: { cidr, isInverted: false } })),
    exceptLoopback: !mayServe && places.some(reachesLoopback) ? loopback : undefined,
    servesLoopback,
  };
}
