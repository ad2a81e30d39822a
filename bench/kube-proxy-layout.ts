// The reference: what kube-proxy 1.36 writes in nftables mode for the same Services, as text for nft. A chain and an
// anonymous map per Service, and one element each in `service-ips` and `cluster-ips` (pkg/proxy/nftables/proxier.go).

import { createHash } from 'node:crypto';
import type { ClusterSize } from './engine.ts';
import { clusterIp, POD_CIDR, POD_PORT, podIps, SERVICE_PORT, serviceName } from './objects.ts';

const TABLE = 'ip kube-proxy';

/** What does not depend on the Services (pkg/proxy/nftables, `setupNFTables`). */
const STATIC = `add table ${TABLE} { comment "rules for kube-proxy" ; }
${baseChain('filter-prerouting-pre-dnat', 'filter', 'prerouting', -110)}
${baseChain('filter-output-pre-dnat', 'filter', 'output', -110)}
${baseChain('filter-input', 'filter', 'input', 0)}
${baseChain('filter-forward', 'filter', 'forward', 0)}
${baseChain('filter-output', 'filter', 'output', 0)}
${baseChain('nat-prerouting', 'nat', 'prerouting', -100)}
${baseChain('nat-output', 'nat', 'output', -100)}
${baseChain('nat-postrouting', 'nat', 'postrouting', 100)}
add set ${TABLE} cluster-ips { type ipv4_addr ; }
add set ${TABLE} hairpin-connections { type ipv4_addr . ipv4_addr . inet_proto . inet_service ; }
add map ${TABLE} no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict ; }
add map ${TABLE} no-endpoint-nodeports { type inet_proto . inet_service : verdict ; }
add map ${TABLE} firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict ; }
add map ${TABLE} service-ips { type ipv4_addr . inet_proto . inet_service : verdict ; }
add map ${TABLE} service-nodeports { type inet_proto . inet_service : verdict ; }
add chain ${TABLE} cluster-ips-check
add chain ${TABLE} service-endpoints-check
add chain ${TABLE} nodeport-endpoints-check
add chain ${TABLE} firewall-check
add chain ${TABLE} reject-chain
add chain ${TABLE} masquerading
add chain ${TABLE} services
add rule ${TABLE} reject-chain reject
add rule ${TABLE} cluster-ips-check ip daddr @cluster-ips reject
add rule ${TABLE} service-endpoints-check ip daddr . meta l4proto . th dport vmap @no-endpoint-services
add rule ${TABLE} nodeport-endpoints-check ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-endpoint-nodeports
add rule ${TABLE} firewall-check ip daddr . meta l4proto . th dport vmap @firewall-ips
add rule ${TABLE} masquerading mark and 0x4000 != 0 mark set mark xor 0x4000 masquerade fully-random
add rule ${TABLE} masquerading ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random
add rule ${TABLE} services ip daddr @cluster-ips ip saddr != ${POD_CIDR} mark set mark or 0x4000
add rule ${TABLE} services ip daddr . meta l4proto . th dport vmap @service-ips
add rule ${TABLE} services fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports
add rule ${TABLE} filter-prerouting-pre-dnat ct state new jump firewall-check
add rule ${TABLE} filter-output-pre-dnat ct state new jump firewall-check
add rule ${TABLE} filter-input ct state new jump nodeport-endpoints-check
add rule ${TABLE} filter-input ct state new jump service-endpoints-check
add rule ${TABLE} filter-forward ct state new jump service-endpoints-check
add rule ${TABLE} filter-forward ct state new jump cluster-ips-check
add rule ${TABLE} filter-output ct state new jump service-endpoints-check
add rule ${TABLE} filter-output ct state new jump cluster-ips-check
add rule ${TABLE} nat-output jump services
add rule ${TABLE} nat-prerouting jump services
add rule ${TABLE} nat-postrouting jump masquerading
`;

function baseChain(name: string, type: string, hook: string, priority: number): string {
  return `add chain ${TABLE} ${name} { type ${type} hook ${hook} priority ${priority} ; }`;
}

/** All of it. */
export function kubeProxyTable({ services, endpoints }: ClusterSize): string {
  const commands = [STATIC];
  for (let i = 0; i < services; i++) commands.push(addService(i, podIps(i, endpoints)));
  return commands.join('');
}

/** One Service added: its chain, the rule in it, and the elements that lead there. */
export function addService(index: number, ips: readonly string[]): string {
  return [
    `add chain ${TABLE} ${chain(index)}`,
    pickRule(index, ips),
    `add element ${TABLE} cluster-ips { ${clusterIp(index)} }`,
    `add element ${TABLE} service-ips { ${vip(index)} : goto ${chain(index)} }`,
    '',
  ].join('\n');
}

/** The Service's elements deleted and its chain flushed; kube-proxy deletes the chain in a later transaction. */
export function deleteService(index: number): string {
  return [
    `delete element ${TABLE} cluster-ips { ${clusterIp(index)} }`,
    `delete element ${TABLE} service-ips { ${vip(index)} }`,
    `flush chain ${TABLE} ${chain(index)}`,
    '',
  ].join('\n');
}

/** Other endpoints for a Service: its chain flushed and written again. */
export function replaceEndpoints(index: number, ips: readonly string[]): string {
  return `flush chain ${TABLE} ${chain(index)}\n${pickRule(index, ips)}\n`;
}

function pickRule(index: number, ips: readonly string[]): string {
  const slots = ips.map((ip, i) => `${i} : ${ip} . ${POD_PORT}`).join(', ');
  return `add rule ${TABLE} ${chain(index)} meta l4proto tcp dnat ip to numgen random mod ${ips.length} map { ${slots} }`;
}

function vip(index: number): string {
  return `${clusterIp(index)} . tcp . ${SERVICE_PORT}`;
}

/** The name carries a hash, as kube-proxy's does: of the same length, and for the same spread. */
function chain(index: number): string {
  const { namespace, name } = serviceName(index);
  const key = `${namespace}/${name}/tcp/http`;
  const hash = createHash('sha256').update(key).digest('hex').slice(0, 8).toUpperCase();
  return `service-${hash}-${key}`;
}
