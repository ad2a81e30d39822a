// Names of tables, chains and prefixes: kube-proxy's, to the letter (kube-proxy.md section 4.3, pkg/proxy/iptables), and
// those that only this program has.

import type { Protocol } from '../../model/types.ts';
import type { IptablesTable } from '../../netlink/iptables/tables.ts';
import type { Backend } from '../../vip/frontend.ts';
import { sha256 } from './sha256.ts';

/** The longest name of a chain, in bytes: XT_EXTENSION_MAXNAMELEN less the final zero (linux/netfilter/x_tables.h). */
export const MAX_CHAIN_NAME = 28;

export const MARK_MASQ = 'KUBE-MARK-MASQ';
export const POSTROUTING = 'KUBE-POSTROUTING';
export const SERVICES = 'KUBE-SERVICES';
export const NODEPORTS = 'KUBE-NODEPORTS';
export const EXTERNAL_SERVICES = 'KUBE-EXTERNAL-SERVICES';
export const FORWARD = 'KUBE-FORWARD';
export const PROXY_FIREWALL = 'KUBE-PROXY-FIREWALL';
/** kube-proxy's flush detector. Nothing here needs it; those who look for kube-proxy do. */
export const CANARY = 'KUBE-PROXY-CANARY';
/** Not kube-proxy's: node ports without endpoints, and what is sent to a cluster IP without being for a Service port. */
export const EXTERNAL_NODEPORTS = 'KUBE-EXTERNAL-NODEPORTS';
export const CLUSTER_IPS = 'KUBE-CLUSTER-IPS';
/** Not kube-proxy's: refuses over IPv6 as each protocol is refused best. */
export const REFUSE = 'KUBE-REFUSE';
/**
 * Not kube-proxy's: says that this program keeps the chains, and is empty. To a kube-proxy it is the chain of a Service that
 * is gone, so its first sync deletes it.
 */
export const SIGNATURE = 'KUBE-SVC-KPROXY-TS';
/** kubelet's, kept in step with it: made when needed, never deleted. */
export const FIREWALL = 'KUBE-FIREWALL';

/** Chains of one service port; all but the last share one hash. */
export type ServicePortPrefix = 'KUBE-SVC-' | 'KUBE-SVL-' | 'KUBE-EXT-' | 'KUBE-FW-' | 'KUBE-SEP-';
const SERVICE_PORT_PREFIXES: readonly ServicePortPrefix[] = [
  'KUBE-SVC-',
  'KUBE-SVL-',
  'KUBE-EXT-',
  'KUBE-FW-',
  'KUBE-SEP-',
];

/**
 * Branches of the dispatch trees, followed by what they are for. In nat they lead to chains of Services, which a kube-proxy
 * that comes after us could not delete then. So they have the prefix of those: it takes them for some, and deletes them too.
 */
export type BranchPrefix =
  | 'KUBE-SVC-S-'
  | 'KUBE-SVC-NP-'
  | 'KUBE-SVCS-'
  | 'KUBE-XSVC-'
  | 'KUBE-PXFW-'
  | 'KUBE-CIPS-'
  | 'KUBE-NP-'
  | 'KUBE-XNP-';

const OWN: Readonly<
  Record<IptablesTable, { readonly names: readonly string[]; readonly prefixes: readonly string[] }>
> = {
  nat: {
    names: [MARK_MASQ, POSTROUTING, SERVICES, NODEPORTS, CANARY],
    // Branches and the signature among them.
    prefixes: SERVICE_PORT_PREFIXES,
  },
  filter: {
    names: [
      SERVICES,
      EXTERNAL_SERVICES,
      EXTERNAL_NODEPORTS,
      FORWARD,
      PROXY_FIREWALL,
      NODEPORTS,
      CLUSTER_IPS,
      REFUSE,
      CANARY,
    ],
    prefixes: [
      'KUBE-FW-',
      'KUBE-SVCS-',
      'KUBE-XSVC-',
      'KUBE-PXFW-',
      'KUBE-CIPS-',
      'KUBE-NP-',
      'KUBE-XNP-',
    ] satisfies (ServicePortPrefix | BranchPrefix)[],
  },
  mangle: { names: [CANARY], prefixes: [] },
};

/** Whether a chain is kube-proxy's or ours, whoever made it. kubelet's (KUBE-FIREWALL, KUBE-KUBELET-CANARY, …) are not. */
export function isOwnChain(table: IptablesTable, name: string): boolean {
  const { names, prefixes } = OWN[table];
  return names.includes(name) || prefixes.some((prefix) => name.startsWith(prefix));
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The first 16 characters (80 bits) of the base32 (RFC 4648) of the SHA-256 of `text`. */
export function hash16(text: string): string {
  const digest = sha256(text);
  let encoded = '';
  for (let i = 0; i < 16; i++) {
    const [at, shift] = [(5 * i) >> 3, 11 - ((5 * i) & 7)];
    encoded += BASE32[(((digest[at]! << 8) | digest[at + 1]!) >> shift) & 31];
  }
  return encoded;
}

/** What follows KUBE-SVC-, KUBE-SVL-, KUBE-EXT- and KUBE-FW- for a service port. */
export function servicePortHash(displayName: string, protocol: Protocol): string {
  return hash16(displayName + protocol.toLowerCase());
}

/** KUBE-SEP-… of one endpoint of a service port; also the name of its affinity list. */
export function endpointChain(
  displayName: string,
  protocol: Protocol,
  backend: Pick<Backend, 'ip' | 'port'>,
): string {
  return `KUBE-SEP-${hash16(displayName + protocol.toLowerCase() + endpointText(backend))}`;
}

/** `10.1.0.5:80`, `[fd00::5]:80` */
export function endpointText({ ip, port }: Pick<Backend, 'ip' | 'port'>): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}
