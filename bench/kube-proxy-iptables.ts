// The reference for iptables: what kube-proxy 1.36 writes in that mode for the same Services, as text for
// iptables-restore (pkg/proxy/iptables/proxier.go). Per Service a rule in KUBE-SERVICES and a chain that picks, per
// endpoint a chain that translates. Above 1,000 endpoints those chains have no comments.

import { createHash } from 'node:crypto';
import type { ClusterSize } from './engine.ts';
import { clusterIp, POD_CIDR, POD_PORT, podIps, SERVICE_PORT, serviceName } from './objects.ts';

const LARGE_CLUSTER_ENDPOINTS = 1000;
const MARK = '0x4000';

/** Chains whose content kube-proxy writes anew at every sync, by table. */
const FILTER_CHAINS = [
  'KUBE-SERVICES',
  'KUBE-EXTERNAL-SERVICES',
  'KUBE-FORWARD',
  'KUBE-NODEPORTS',
  'KUBE-PROXY-FIREWALL',
];
const NAT_CHAINS = ['KUBE-SERVICES', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-MARK-MASQ'];

/** What is made once: the ways from the built-in chains, from top to bottom. */
const FILTER_ONCE = `:KUBE-FIREWALL - [0:0]
:KUBE-PROXY-CANARY - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A OUTPUT -j KUBE-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FIREWALL -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
`;
const NAT_ONCE = `:KUBE-PROXY-CANARY - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
`;

const FILTER_ALWAYS = `-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark ${MARK}/${MARK} -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
`;
const NAT_ALWAYS = `-A KUBE-POSTROUTING -m mark ! --mark ${MARK}/${MARK} -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark ${MARK}
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark ${MARK}
`;
const NODE_PORTS =
  '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n';

/** The first sync, into empty tables. */
export function wholeSync(size: ClusterSize): string {
  const all = Array.from({ length: size.services }, (_, i) => i);
  return restoreText({
    filter: declared(FILTER_CHAINS) + FILTER_ONCE + FILTER_ALWAYS,
    nat: [
      declared(NAT_CHAINS),
      ...all.map((i) => declared(chainsOf(i, podIps(i, size.endpoints)))),
      NAT_ONCE,
      NAT_ALWAYS,
      ...all.map((i) => portalRule(i) + serviceRules(size, i, podIps(i, size.endpoints))),
      NODE_PORTS,
    ].join(''),
  });
}

/** A later sync, for which one Service has other endpoints: its chains, and KUBE-SERVICES with a rule of every Service. */
export function partialSync(size: ClusterSize, index: number, ips: readonly string[]): string {
  const portals = Array.from({ length: size.services }, (_, i) => portalRule(i));
  return restoreText({
    filter: declared(FILTER_CHAINS) + FILTER_ALWAYS,
    nat: [
      declared([...NAT_CHAINS, ...chainsOf(index, ips)]),
      NAT_ALWAYS,
      ...portals,
      serviceRules(size, index, ips),
      NODE_PORTS,
    ].join(''),
  });
}

/** The least that a change can be: the chains of one Service alone. */
export function oneService(size: ClusterSize, index: number, ips: readonly string[]): string {
  return restoreText({ nat: declared(chainsOf(index, ips)) + serviceRules(size, index, ips) });
}

function restoreText(tables: Readonly<Record<string, string>>): string {
  return Object.entries(tables)
    .map(([table, lines]) => `*${table}\n${lines}COMMIT\n`)
    .join('');
}

/** Chains made, or emptied when they are there. */
function declared(chains: readonly string[]): string {
  return chains.map((chain) => `:${chain} - [0:0]\n`).join('');
}

function portalRule(index: number): string {
  return `-A KUBE-SERVICES -m comment --comment "${portName(index)} cluster IP" -m tcp -p tcp -d ${clusterIp(index)} --dport ${SERVICE_PORT} -j ${serviceChain(index)}\n`;
}

function serviceRules({ services, endpoints }: ClusterSize, index: number, ips: readonly string[]): string {
  const name = portName(index);
  const isCommented = services * endpoints <= LARGE_CLUSTER_ENDPOINTS;
  const comment = (text: string): string => (isCommented ? ` -m comment --comment "${text}"` : '');
  const chain = serviceChain(index);
  const masquerade = `-A ${chain}${comment(`${name} cluster IP`)} -m tcp -p tcp -d ${clusterIp(index)} --dport ${SERVICE_PORT} ! -s ${POD_CIDR} -j KUBE-MARK-MASQ\n`;
  const rules = ips.map((ip, i) => {
    const endpoint = endpointChain(index, ip);
    const left = ips.length - i;
    const chance = left === 1 ? '' : ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}`;
    return (
      `-A ${chain}${comment(`${name} -> ${ip}:${POD_PORT}`)}${chance} -j ${endpoint}\n` +
      `-A ${endpoint}${comment(name)} -s ${ip} -j KUBE-MARK-MASQ\n` +
      `-A ${endpoint}${comment(name)} -m tcp -p tcp -j DNAT --to-destination ${ip}:${POD_PORT}\n`
    );
  });
  return masquerade + rules.join('');
}

function chainsOf(index: number, ips: readonly string[]): string[] {
  return [serviceChain(index), ...ips.map((ip) => endpointChain(index, ip))];
}

function portName(index: number): string {
  const { namespace, name } = serviceName(index);
  return `${namespace}/${name}:http`;
}

function serviceChain(index: number): string {
  return `KUBE-SVC-${chainHash(`${portName(index)}tcp`)}`;
}

function endpointChain(index: number, ip: string): string {
  return `KUBE-SEP-${chainHash(`${portName(index)}tcp${ip}:${POD_PORT}`)}`;
}

/** The first 16 characters of the base32 (RFC 4648) of the SHA-256. */
export function chainHash(key: string): string {
  const digest = createHash('sha256').update(key).digest();
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = BigInt(`0x${digest.subarray(0, 10).toString('hex')}`);
  return Array.from({ length: 16 }, (_, i) => alphabet[Number((bits >> BigInt(75 - 5 * i)) & 31n)]).join('');
}
