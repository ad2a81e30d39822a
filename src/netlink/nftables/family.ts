// Address families of tables (NFPROTO_*, linux/netfilter.h).

/** What a request may name; rules of `inet` see both IPv4 and IPv6. */
export type NftFamily = 'ip' | 'ip6' | 'inet';

/** Numbers of every family a message may name; it is unspecified where the message is about all tables. */
export const NFPROTO = { unspecified: 0, inet: 1, ip: 2, arp: 3, netdev: 5, bridge: 7, ip6: 10 } as const;

export type AnyFamily = keyof typeof NFPROTO;
