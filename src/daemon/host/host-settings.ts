// What a proxy wants of its host besides rules, as plain values: kube-proxy 1.36's rules (cmd/kube-proxy/app/conntrack.go,
// server_linux.go). Pure.

import type { ConntrackSettings } from '../../config/settings.ts';

/** As sysctl(8), the name with slashes. */
export interface Sysctl {
  readonly name: string;
  readonly value: string;
}

export const CONNTRACK_MAX = 'net/netfilter/nf_conntrack_max';

/** What the share of the cores is cut at: 320 MB of entries. */
const MAX_SHARE = 1_048_576;

/** How many connections the kernel keeps for each bucket of its hash table, at most. */
const ENTRIES_PER_BUCKET = 4;

/**
 * The limit of connections; undefined to leave it. An explicit `min` holds also where the share of the cores is cut, which
 * kube-proxy forgets.
 */
export function conntrackMax({ maxPerCore, min }: ConntrackSettings, coreCount: number): number | undefined {
  return maxPerCore === 0 ? undefined : Math.max(Math.min(maxPerCore * coreCount, MAX_SHARE), min);
}

/** The buckets that a limit needs; undefined when there are enough. */
export function neededBuckets(max: number, buckets: number): number | undefined {
  const needed = Math.floor(max / ENTRIES_PER_BUCKET);
  return buckets < needed ? needed : undefined;
}

/** In the order in which they are set. */
export function conntrackSysctls(settings: ConntrackSettings, coreCount: number): Sysctl[] {
  const { tcpEstablishedTimeoutMs, tcpCloseWaitTimeoutMs, isTcpLiberal, udpTimeoutMs, udpStreamTimeoutMs } =
    settings;
  const max = conntrackMax(settings, coreCount);
  return [
    ...(max === undefined ? [] : [{ name: CONNTRACK_MAX, value: String(max) }]),
    ...timeout('tcp_timeout_established', tcpEstablishedTimeoutMs),
    ...timeout('tcp_timeout_close_wait', tcpCloseWaitTimeoutMs),
    ...timeout('udp_timeout', udpTimeoutMs),
    ...timeout('udp_timeout_stream', udpStreamTimeoutMs),
    ...(isTcpLiberal ? [{ name: 'net/netfilter/nf_conntrack_tcp_be_liberal', value: '1' }] : []),
  ];
}

/** The kernel counts whole seconds; what is shorter than one must not become none. */
function timeout(name: string, ms: number): Sysctl[] {
  return ms === 0
    ? []
    : [{ name: `net/netfilter/nf_conntrack_${name}`, value: String(Math.ceil(ms / 1000)) }];
}
