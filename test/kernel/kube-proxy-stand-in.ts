// What kube-proxy 1.36 does in iptables mode, by the commands that it runs (kube-proxy.md section 4, pkg/proxy/iptables): its
// chains and jumps ensured one by one, then one iptables-restore --noflush with all of its rules, which declares its chains
// (that empties them) and deletes chains of Services that it finds and does not know.

import { BlockList } from 'node:net';
import { endpointChain, servicePortHash } from '../../src/mode/iptables/names.ts';
import type { Ip, IpFamily } from '../../src/model/ip.ts';
import type { Netns } from '../support/netns/netns.ts';
import { NODE, POD_CIDR, POD_CIDR6 } from '../support/netns/topology.ts';

/** A service port, as far as these tests use what there is. Addresses are of either family. */
export interface ServicePort {
  /** Namespace, name and port. */
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly clusterIps: readonly string[];
  readonly port: number;
  readonly nodePort?: number;
  readonly externalIps?: readonly string[];
  readonly loadBalancerIps?: readonly string[];
  readonly sourceRanges?: readonly string[];
  readonly affinitySeconds?: number;
  /** externalTrafficPolicy Local; all endpoints are on this node. */
  readonly isLocal?: boolean;
  readonly healthCheckNodePort?: number;
  readonly endpoints: readonly string[];
  readonly targetPort: number;
}

const FILTER_CHAINS = [
  'KUBE-SERVICES',
  'KUBE-EXTERNAL-SERVICES',
  'KUBE-FORWARD',
  'KUBE-NODEPORTS',
  'KUBE-PROXY-FIREWALL',
];
const NAT_CHAINS = ['KUBE-SERVICES', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-MARK-MASQ'];
const MARK = '0x4000';

const NEW = '-m conntrack --ctstate NEW';
/** Table, chain of the hook, target and comment, in the order that they are put to the top. */
const JUMPS = [
  ['filter', 'INPUT', 'KUBE-EXTERNAL-SERVICES', NEW, 'kubernetes externally-visible service portals'],
  ['filter', 'FORWARD', 'KUBE-EXTERNAL-SERVICES', NEW, 'kubernetes externally-visible service portals'],
  ['filter', 'INPUT', 'KUBE-NODEPORTS', '', 'kubernetes health check service ports'],
  ['filter', 'FORWARD', 'KUBE-SERVICES', NEW, 'kubernetes service portals'],
  ['filter', 'OUTPUT', 'KUBE-SERVICES', NEW, 'kubernetes service portals'],
  ['filter', 'FORWARD', 'KUBE-FORWARD', '', 'kubernetes forwarding rules'],
  ['filter', 'INPUT', 'KUBE-PROXY-FIREWALL', NEW, 'kubernetes load balancer firewall'],
  ['filter', 'OUTPUT', 'KUBE-PROXY-FIREWALL', NEW, 'kubernetes load balancer firewall'],
  ['filter', 'FORWARD', 'KUBE-PROXY-FIREWALL', NEW, 'kubernetes load balancer firewall'],
  ['nat', 'OUTPUT', 'KUBE-SERVICES', '', 'kubernetes service portals'],
  ['nat', 'PREROUTING', 'KUBE-SERVICES', '', 'kubernetes service portals'],
  ['nat', 'POSTROUTING', 'KUBE-POSTROUTING', '', 'kubernetes postrouting rules'],
] as const;

export class KubeProxyStandIn {
  readonly #netns: Netns;
  readonly #backend: 'nft' | 'legacy';
  readonly #env: Readonly<Record<string, string>>;

  constructor(netns: Netns, backend: 'nft' | 'legacy', env: Readonly<Record<string, string>> = {}) {
    this.#netns = netns;
    this.#backend = backend;
    this.#env = env;
  }

  /** A full sync of both families. Rejects when one of its commands fails. */
  async sync(ports: readonly ServicePort[]): Promise<void> {
    for (const family of [4, 6] as const) {
      const program = `${family === 4 ? 'iptables' : 'ip6tables'}-${this.#backend}`;
      await this.#run(['sh', '-e'], ensureScript(program, family));
      const natChains = (await this.#run([`${program}-save`, '-t', 'nat']))
        .split('\n')
        .flatMap((line) => /^:(\S+)/.exec(line)?.[1] ?? []);
      const input = restoreInput(ports, family, natChains);
      await this.#run([`${program}-restore`, '-w', '5', '--noflush', '--counters'], input);
    }
    await this.#netns.sysctl({ 'net.ipv4.conf.all.route_localnet': 1 });
  }

  #run(argv: readonly string[], input = ''): Promise<string> {
    return this.#netns.exec(argv, { env: this.#env, input });
  }
}

function ensureScript(program: string, family: IpFamily): string {
  const lines = [
    `w="${program} -w 5"`,
    'chain() { $w -t $1 -S $2 >/dev/null 2>&1 || $w -t $1 -N $2; }',
    // Table, chain, place, rule.
    'rule() { t=$1; c=$2; p=$3; shift 3; $w -t $t -C $c "$@" 2>/dev/null || $w -t $t $p $c "$@"; }',
    ...['mangle', 'nat', 'filter'].map((table) => `chain ${table} KUBE-PROXY-CANARY`),
    'chain filter KUBE-FIREWALL',
    ...(family === 4
      ? [
          'rule filter KUBE-FIREWALL -A -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
        ]
      : []),
    ...JUMPS.flatMap(([table, hook, target, match, comment]) => [
      `chain ${table} ${target}`,
      `rule ${table} ${hook} -I ${match} -m comment --comment "${comment}" -j ${target}`,
    ]),
    ...['OUTPUT', 'INPUT'].map((hook) => `rule filter ${hook} -I -j KUBE-FIREWALL`),
  ];
  return `${lines.join('\n')}\n`;
}

/** Lines of one restore, by table; declarations come first. */
class Rules {
  readonly chains: string[] = [];
  readonly rules: string[] = [];

  declare(...chains: string[]): void {
    this.chains.push(...chains.map((chain) => `:${chain} - [0:0]`));
  }

  add(...parts: (string | false)[]): void {
    this.rules.push(['-A', ...parts.filter((part) => part !== false && part !== '')].join(' '));
  }

  get text(): string {
    return [...this.chains, ...this.rules, 'COMMIT', ''].join('\n');
  }
}

/** The input of a full sync where nat has these chains. */
function restoreInput(ports: readonly ServicePort[], family: IpFamily, natChains: readonly string[]): string {
  const [filter, nat] = [new Rules(), new Rules()];
  filter.declare(...FILTER_CHAINS);
  nat.declare(...NAT_CHAINS);
  nat.add('KUBE-POSTROUTING', `-m mark ! --mark ${MARK}/${MARK} -j RETURN`);
  nat.add('KUBE-POSTROUTING', `-j MARK --xor-mark ${MARK}`);
  nat.add(
    'KUBE-POSTROUTING',
    comment('kubernetes service traffic requiring SNAT'),
    '-j MASQUERADE --random-fully',
  );
  nat.add('KUBE-MARK-MASQ', `-j MARK --or-mark ${MARK}`);
  const active = new Set(ports.flatMap((port) => addPort(port, family, filter, nat)));
  for (const chain of natChains) {
    if (!/^KUBE-(SVC|SVL|EXT|FW|SEP)-/.test(chain) || active.has(chain)) continue;
    nat.declare(chain);
    nat.rules.push(`-X ${chain}`);
  }
  const dispatch = 'kubernetes service nodeports; NOTE: this must be the last rule in this chain';
  nat.add(
    'KUBE-SERVICES',
    comment(dispatch),
    '-m addrtype --dst-type LOCAL',
    family === 6 && '! -d ::1/128',
    '-j KUBE-NODEPORTS',
  );
  filter.add('KUBE-FORWARD', '-m conntrack --ctstate INVALID -j DROP');
  filter.add(
    'KUBE-FORWARD',
    comment('kubernetes forwarding rules'),
    `-m mark --mark ${MARK}/${MARK} -j ACCEPT`,
  );
  filter.add(
    'KUBE-FORWARD',
    comment('kubernetes forwarding conntrack rule'),
    '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  );
  return `*filter\n${filter.text}*nat\n${nat.text}`;
}

const comment = (text: string): string => `-m comment --comment "${text}"`;

function isNodeIn(ranges: readonly string[]): boolean {
  const list = new BlockList();
  for (const range of ranges) {
    const [ip = '', prefix] = range.split('/');
    list.addSubnet(ip, Number(prefix), ip.includes(':') ? 'ipv6' : 'ipv4');
  }
  return list.check(NODE.ip) || list.check(NODE.ip6, 'ipv6');
}

/** Returns the names of its chains. */
function addPort(port: ServicePort, family: IpFamily, filter: Rules, nat: Rules): string[] {
  const { name, protocol, affinitySeconds, sourceRanges } = port;
  const of = (addresses: readonly string[] = []): string[] =>
    addresses.filter((address) => address.includes(':') === (family === 6));
  const [clusterIps, endpoints] = [of(port.clusterIps), of(port.endpoints)];
  // A Service is of the families of its cluster IPs.
  if (clusterIps.length === 0) return [];
  const hash = servicePortHash(name, protocol);
  const [cluster, local, external, firewall] = (['SVC', 'SVL', 'EXT', 'FW'] as const).map(
    (kind) => `KUBE-${kind}-${hash}`,
  ) as [string, string, string, string];
  const lower = protocol.toLowerCase();
  const transport = `-m ${lower} -p ${lower}`;
  const to = (ip: string): string => `${transport} -d ${ip} --dport ${port.port}`;
  const hasAny = endpoints.length > 0;
  const isExternal =
    port.nodePort !== undefined || of(port.externalIps).length > 0 || of(port.loadBalancerIps).length > 0;
  const refusal = comment(`${name} has no endpoints`);

  for (const ip of clusterIps) {
    if (hasAny) nat.add('KUBE-SERVICES', comment(`${name} cluster IP`), to(ip), `-j ${cluster}`);
    else filter.add('KUBE-SERVICES', refusal, to(ip), '-j REJECT');
  }
  for (const ip of of(port.externalIps)) {
    if (hasAny) nat.add('KUBE-SERVICES', comment(`${name} external IP`), to(ip), `-j ${external}`);
    else filter.add('KUBE-EXTERNAL-SERVICES', refusal, to(ip), '-j REJECT');
  }
  for (const ip of of(port.loadBalancerIps)) {
    const target = sourceRanges === undefined ? external : firewall;
    if (hasAny) nat.add('KUBE-SERVICES', comment(`${name} loadbalancer IP`), to(ip), `-j ${target}`);
    else filter.add('KUBE-EXTERNAL-SERVICES', refusal, to(ip), '-j REJECT');
    if (hasAny && sourceRanges !== undefined) {
      const text = comment(`${name} traffic not accepted by ${firewall}`);
      filter.add('KUBE-PROXY-FIREWALL', text, to(ip), '-j DROP');
    }
  }
  if (port.nodePort !== undefined) {
    const toNode = `${transport} --dport ${port.nodePort}`;
    if (hasAny) nat.add('KUBE-NODEPORTS', comment(name), toNode, `-j ${external}`);
    else filter.add('KUBE-EXTERNAL-SERVICES', refusal, '-m addrtype --dst-type LOCAL', toNode, '-j REJECT');
  }
  if (port.healthCheckNodePort !== undefined) {
    const text = comment(`${name} health check node port`);
    filter.add('KUBE-NODEPORTS', text, `-m tcp -p tcp --dport ${port.healthCheckNodePort} -j ACCEPT`);
  }
  if (!hasAny) return [];

  const pods = family === 4 ? POD_CIDR : POD_CIDR6;
  const chains = [cluster];
  for (const ip of clusterIps)
    nat.add(cluster, comment(`${name} cluster IP`), to(ip), `! -s ${pods} -j KUBE-MARK-MASQ`);
  if (isExternal) {
    chains.push(external);
    const traffic = `traffic for ${name} external destinations`;
    if (port.isLocal === true) {
      nat.add(external, comment(`pod ${traffic}`), `-s ${pods} -j ${cluster}`);
      nat.add(
        external,
        comment(`masquerade LOCAL ${traffic}`),
        '-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ',
      );
      nat.add(external, comment(`route LOCAL ${traffic}`), `-m addrtype --src-type LOCAL -j ${cluster}`);
    } else nat.add(external, comment(`masquerade ${traffic}`), '-j KUBE-MARK-MASQ');
    nat.add(external, `-j ${port.isLocal === true ? local : cluster}`);
  }
  if (of(port.loadBalancerIps).length > 0 && sourceRanges !== undefined) {
    chains.push(firewall);
    for (const range of of(sourceRanges))
      nat.add(firewall, comment(`${name} loadbalancer IP`), `-s ${range} -j ${external}`);
    // What the node sends to an address that it has itself comes from there.
    for (const ip of of(port.loadBalancerIps).filter(() => isNodeIn(of(sourceRanges))))
      nat.add(firewall, comment(`${name} loadbalancer IP`), `-s ${ip} -j ${external}`);
    nat.add(firewall, comment(`other traffic to ${name} will be dropped by KUBE-PROXY-FIREWALL`));
  }
  const ways = endpoints.map((ip) => {
    const to = `${family === 6 ? `[${ip}]` : ip}:${port.targetPort}`;
    return { ip, to, chain: endpointChain(name, protocol, { ip: ip as Ip, port: port.targetPort }) };
  });
  for (const chain of port.isLocal === true ? [cluster, local] : [cluster]) {
    if (chain === local) chains.push(local);
    if (affinitySeconds !== undefined) {
      for (const { to, chain: endpoint } of ways) {
        const recent = `-m recent --name ${endpoint} --rcheck --seconds ${affinitySeconds} --reap`;
        nat.add(chain, comment(`${name} -> ${to}`), recent, `-j ${endpoint}`);
      }
    }
    for (const [i, { to, chain: endpoint }] of ways.entries()) {
      const left = ways.length - i;
      const chance = left > 1 && `-m statistic --mode random --probability ${(1 / left).toFixed(10)}`;
      nat.add(chain, comment(`${name} -> ${to}`), chance, `-j ${endpoint}`);
    }
  }
  for (const { ip, to, chain } of ways) {
    chains.push(chain);
    nat.add(chain, comment(name), `-s ${ip} -j KUBE-MARK-MASQ`);
    const set = affinitySeconds !== undefined && `-m recent --name ${chain} --set`;
    nat.add(chain, comment(name), set, `-m ${lower} -p ${lower}`, `-j DNAT --to-destination ${to}`);
  }
  nat.declare(...chains);
  return chains;
}
