// The chains of service ports as iptables-save prints them: what kube-proxy 1.36 writes for the same Services (kube-proxy.md
// section 4.5), but for the lines that are marked as ours.

import { describe, expect, test } from 'vitest';
import { Desired } from '../../../src/mode/iptables/desired.ts';
import type { RuleSettings } from '../../../src/mode/iptables/fixed-chains.ts';
import { isOwnChain } from '../../../src/mode/iptables/names.ts';
import { chances } from '../../../src/mode/iptables/service-port-chains.ts';
import { type Cidr, parseCidr } from '../../../src/model/ip.ts';
import type { Endpoint, Service, ServiceKey } from '../../../src/model/types.ts';
import { buildFrontends } from '../../../src/vip/build-frontends.ts';
import type { LocalPods } from '../../../src/vip/local-pods.ts';
import { HERE, ip, endpoint as pod, service, slice } from '../../vip/objects.ts';
import { FakeTables } from './fake-tables.ts';

const cidr = (text: string): Cidr => parseCidr(text)!;
const SETTINGS: RuleSettings = {
  masqueradeBit: 14,
  servesLocalhostNodePorts: true,
  dropsInvalid: true,
  dispatch: 'tree',
};
const PODS: LocalPods = { kind: 'source', cidr: cidr('10.0.0.0/8') };

interface Given {
  readonly service?: Partial<Service>;
  readonly endpoints?: readonly Endpoint[];
  readonly pods?: LocalPods;
  readonly masqueradeAll?: boolean;
  readonly settings?: Partial<RuleSettings>;
  readonly nodePortCidrs?: readonly Cidr[];
  readonly serviceCidrs?: readonly Cidr[];
}

/** `ns1/svc1:p80` of kube-proxy's own tests, unless said otherwise. */
function tablesWith(given: Given = {}, family: 4 | 6 = 4): FakeTables {
  const key = 'ns1/svc1' as ServiceKey;
  const one = service({
    key,
    clusterIps: [ip(family === 4 ? '172.30.0.41' : 'fd00:172:30::41')],
    ipFamilies: [family],
    ports: [{ name: 'p80', protocol: 'TCP', port: 80, nodePort: 0 }],
    ...given.service,
  });
  const slices = one.ports.map(({ name, protocol }) =>
    slice(given.endpoints ?? [], { family, serviceKey: key, ports: [{ name, protocol, port: 80 }] }),
  );
  const localPods = new Map(given.pods === undefined ? [] : [[family, given.pods] as const]);
  const frontends = buildFrontends(
    one,
    slices,
    { nodeName: HERE, masqueradeAll: given.masqueradeAll ?? false },
    { zone: undefined, addresses: [], localPods },
  );
  const desired = new Desired(family, { ...SETTINGS, ...given.settings });
  desired.update(new Map([[key, frontends]]), {
    nodePortCidrs: given.nodePortCidrs ?? [cidr('0.0.0.0/0'), cidr('::/0')],
    serviceCidrs: given.serviceCidrs ?? [],
    localPods,
  });
  return FakeTables.holding(family, desired.chains());
}

/** Lines of a table's chains that are about Services, sorted by chain as iptables-save does. */
function saved(tables: FakeTables, table: 'nat' | 'filter'): string[] {
  return [...tables.observe()]
    .filter((chain) => chain.table === table && isOwnChain(table, chain.name))
    .map(({ name }) => name)
    .filter((name) => !/^KUBE-(MARK-MASQ|POSTROUTING|FORWARD|PROXY-CANARY)$/.test(name))
    .sort()
    .flatMap((name) => tables.lines(table, name).map((line) => `-A ${name} ${line}`));
}

const NODEPORTS =
  '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS';
/** Ours. */
const EXTERNAL_NODEPORTS =
  '-A KUBE-EXTERNAL-SERVICES -m comment --comment "kubernetes service nodeports" -m addrtype --dst-type LOCAL -j KUBE-EXTERNAL-NODEPORTS';
/** Ours. */
const NO_SUCH_PORT =
  '-A KUBE-CLUSTER-IPS -d 172.30.0.41/32 -m comment --comment "no such port of a cluster IP" -j REJECT --reject-with icmp-port-unreachable';

const here = pod('10.180.0.1', 'ready', { nodeName: HERE });
const there = pod('10.180.1.1');

describe('rules of fixed chains', () => {
  test('masquerading and forwarding', () => {
    const tables = tablesWith();
    expect(tables.lines('nat', 'KUBE-MARK-MASQ')).toEqual(['-j MARK --set-xmark 0x4000/0x4000']);
    expect(tables.lines('nat', 'KUBE-POSTROUTING')).toEqual([
      '-m mark ! --mark 0x4000/0x4000 -j RETURN',
      '-j MARK --set-xmark 0x4000/0x0',
      '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
    ]);
    expect(tables.lines('filter', 'KUBE-FORWARD')).toEqual([
      '-m conntrack --ctstate INVALID -j DROP',
      '-m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
      '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    ]);
    for (const table of ['mangle', 'nat', 'filter'] as const)
      expect(tables.lines(table, 'KUBE-PROXY-CANARY')).toEqual([]);
  });

  test('another mark, and INVALID packets let through', () => {
    const tables = tablesWith({ settings: { masqueradeBit: 31, dropsInvalid: false } });
    expect(tables.lines('nat', 'KUBE-MARK-MASQ')).toEqual(['-j MARK --set-xmark 0x80000000/0x80000000']);
    expect(tables.lines('filter', 'KUBE-FORWARD')).toHaveLength(2);
  });

  test('jumps of the hooks, from the top', () => {
    const tables = tablesWith({ settings: { servesLocalhostNodePorts: false } });
    const firewall =
      '-m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL';
    const services =
      '-m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES';
    const external =
      '-m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES';
    // Ours.
    const clusterIps =
      '-m conntrack --ctstate NEW -m comment --comment "kubernetes cluster IPs" -j KUBE-CLUSTER-IPS';
    expect(tables.lines('filter', 'INPUT')).toEqual([
      firewall,
      '-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS',
      external,
    ]);
    expect(tables.lines('filter', 'FORWARD')).toEqual([
      firewall,
      '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
      services,
      external,
      clusterIps,
    ]);
    expect(tables.lines('filter', 'OUTPUT')).toEqual([firewall, services, external, clusterIps]);
    expect(tables.lines('nat', 'PREROUTING')).toEqual([
      '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    ]);
    expect(tables.lines('nat', 'OUTPUT')).toEqual(tables.lines('nat', 'PREROUTING'));
    expect(tables.lines('nat', 'POSTROUTING')).toEqual([
      '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
    ]);
    expect(tables.has('filter', 'KUBE-FIREWALL')).toBe(false);
  });
});

describe('a cluster IP', () => {
  test('with two endpoints', () => {
    const tables = tablesWith({ endpoints: [here, there], pods: PODS });
    expect(saved(tables, 'nat')).toEqual([
      '-A KUBE-SEP-SXIVWICOYRO3J4NJ -s 10.180.0.1/32 -m comment --comment "ns1/svc1:p80" -j KUBE-MARK-MASQ',
      '-A KUBE-SEP-SXIVWICOYRO3J4NJ -p tcp -m comment --comment "ns1/svc1:p80" -m tcp -j DNAT --to-destination 10.180.0.1:80',
      '-A KUBE-SEP-TOIS5JUHRKSSXDL7 -s 10.180.1.1/32 -m comment --comment "ns1/svc1:p80" -j KUBE-MARK-MASQ',
      '-A KUBE-SEP-TOIS5JUHRKSSXDL7 -p tcp -m comment --comment "ns1/svc1:p80" -m tcp -j DNAT --to-destination 10.180.1.1:80',
      '-A KUBE-SERVICES -d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O',
      NODEPORTS,
      '-A KUBE-SVC-XPGD46QRK7WJZT7O ! -s 10.0.0.0/8 -d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ',
      '-A KUBE-SVC-XPGD46QRK7WJZT7O -m comment --comment "ns1/svc1:p80 -> 10.180.0.1:80" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-SXIVWICOYRO3J4NJ',
      '-A KUBE-SVC-XPGD46QRK7WJZT7O -m comment --comment "ns1/svc1:p80 -> 10.180.1.1:80" -j KUBE-SEP-TOIS5JUHRKSSXDL7',
    ]);
    expect(saved(tables, 'filter')).toEqual([NO_SUCH_PORT, EXTERNAL_NODEPORTS]);
  });

  test('of IPv6', () => {
    const tables = tablesWith({ endpoints: [pod('fd00:10:180::1')] }, 6);
    expect(saved(tables, 'nat')).toEqual([
      '-A KUBE-SEP-OGYCNMB4EMRUSJ6N -s fd00:10:180::1/128 -m comment --comment "ns1/svc1:p80" -j KUBE-MARK-MASQ',
      '-A KUBE-SEP-OGYCNMB4EMRUSJ6N -p tcp -m comment --comment "ns1/svc1:p80" -m tcp -j DNAT --to-destination [fd00:10:180::1]:80',
      '-A KUBE-SERVICES -d fd00:172:30::41/128 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O',
      NODEPORTS.replace('-m comment', '! -d ::1/128 -m comment'),
      '-A KUBE-SVC-XPGD46QRK7WJZT7O -m comment --comment "ns1/svc1:p80 -> [fd00:10:180::1]:80" -j KUBE-SEP-OGYCNMB4EMRUSJ6N',
    ]);
  });

  test('without endpoints', () => {
    expect(saved(tablesWith(), 'nat')).toEqual([NODEPORTS]);
    expect(saved(tablesWith(), 'filter')).toContain(
      '-A KUBE-SERVICES -d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable',
    );
    expect(tablesWith({}, 6).lines('filter', 'KUBE-SERVICES')[0]).toContain('--reject-with tcp-reset');
    expect(tablesWith({}, 6).lines('filter', 'KUBE-CLUSTER-IPS')[0]).toContain('-j KUBE-REFUSE');
    expect(tablesWith({}, 6).lines('filter', 'KUBE-REFUSE')).toEqual([
      '-p tcp -j REJECT --reject-with tcp-reset',
      '-j REJECT --reject-with icmp6-port-unreachable',
    ]);
  });

  test('with internalTrafficPolicy Local', () => {
    const local = { isInternalLocal: true };
    const lines = saved(tablesWith({ service: local, endpoints: [here, there], pods: PODS }), 'nat');
    expect(lines).toContain(
      '-A KUBE-SERVICES -d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-SVL-XPGD46QRK7WJZT7O',
    );
    expect(lines.filter((line) => line.includes('-A KUBE-SVL'))).toEqual([
      '-A KUBE-SVL-XPGD46QRK7WJZT7O ! -s 10.0.0.0/8 -d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ',
      '-A KUBE-SVL-XPGD46QRK7WJZT7O -m comment --comment "ns1/svc1:p80 -> 10.180.0.1:80" -j KUBE-SEP-SXIVWICOYRO3J4NJ',
    ]);
    expect(lines.some((line) => line.includes('KUBE-SVC-'))).toBe(false);
    expect(tablesWith({ service: local, endpoints: [there] }).lines('filter', 'KUBE-SERVICES')).toEqual([
      '-d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 has no local endpoints" -m tcp --dport 80 -j DROP',
    ]);
  });

  test.each<[string, Given, string[]]>([
    ['everybody', { masqueradeAll: true, pods: PODS }, ['']],
    [
      'who did not come from a bridge',
      { pods: { kind: 'interface', name: 'cbr0', isPrefix: false } },
      ['! -i cbr0'],
    ],
    [
      'who did not come from pods',
      { pods: { kind: 'interface', name: 'veth', isPrefix: true } },
      ['! -i veth+'],
    ],
    ['nobody, when pods cannot be told', {}, []],
  ])('masquerades %s', (_, given, matches) => {
    const rules = tablesWith({ ...given, endpoints: [here] })
      .lines('nat', 'KUBE-SVC-XPGD46QRK7WJZT7O')
      .filter((line) => line.endsWith('KUBE-MARK-MASQ'));
    expect(rules).toEqual(
      matches.map((match) =>
        `-d 172.30.0.41/32 ${match} -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ`.replace(
          '  ',
          ' ',
        ),
      ),
    );
  });

  test('with session affinity', () => {
    const tables = tablesWith({ service: { affinityTimeoutSeconds: 10_800 }, endpoints: [here, there] });
    const recent = (name: string) => `--name ${name} --mask 255.255.255.255 --rsource`;
    const [first, second] = ['KUBE-SEP-SXIVWICOYRO3J4NJ', 'KUBE-SEP-TOIS5JUHRKSSXDL7'] as const;
    expect(tables.lines('nat', 'KUBE-SVC-XPGD46QRK7WJZT7O')).toEqual([
      `-m comment --comment "ns1/svc1:p80 -> 10.180.0.1:80" -m recent --rcheck --seconds 10800 --reap ${recent(first)} -j ${first}`,
      `-m comment --comment "ns1/svc1:p80 -> 10.180.1.1:80" -m recent --rcheck --seconds 10800 --reap ${recent(second)} -j ${second}`,
      `-m comment --comment "ns1/svc1:p80 -> 10.180.0.1:80" -m statistic --mode random --probability 0.50000000000 -j ${first}`,
      `-m comment --comment "ns1/svc1:p80 -> 10.180.1.1:80" -j ${second}`,
    ]);
    expect(tables.lines('nat', first)[1]).toBe(
      `-p tcp -m comment --comment "ns1/svc1:p80" -m recent --set ${recent(first)} -m tcp -j DNAT --to-destination 10.180.0.1:80`,
    );
  });

  test('among service CIDRs (ours)', () => {
    const tables = tablesWith({ serviceCidrs: [cidr('172.30.0.0/16'), cidr('fd00::/112')] });
    expect(tables.lines('filter', 'KUBE-CLUSTER-IPS')).toEqual([
      NO_SUCH_PORT.replace('-A KUBE-CLUSTER-IPS ', ''),
      '-d 172.30.0.0/16 -m comment --comment "no such cluster IP" -m addrtype ! --dst-type LOCAL -j DROP',
    ]);
  });
});

describe('external addresses', () => {
  const external: Partial<Service> = {
    type: 'LoadBalancer',
    externalIps: [ip('192.168.99.11')],
    loadBalancerIps: [ip('1.2.3.4')],
    ports: [{ name: 'p80', protocol: 'TCP', port: 80, nodePort: 3001 }],
  };

  test('with externalTrafficPolicy Cluster', () => {
    const tables = tablesWith({ service: external, endpoints: [here, there], pods: PODS });
    const lines = saved(tables, 'nat');
    expect(lines.filter((line) => /^-A KUBE-(EXT|NODEPORTS|SERVICES)/.test(line))).toEqual([
      '-A KUBE-EXT-XPGD46QRK7WJZT7O -m comment --comment "masquerade traffic for ns1/svc1:p80 external destinations" -j KUBE-MARK-MASQ',
      '-A KUBE-EXT-XPGD46QRK7WJZT7O -j KUBE-SVC-XPGD46QRK7WJZT7O',
      '-A KUBE-NODEPORTS -p tcp -m comment --comment "ns1/svc1:p80" -m tcp --dport 3001 -j KUBE-EXT-XPGD46QRK7WJZT7O',
      '-A KUBE-SERVICES -d 1.2.3.4/32 -p tcp -m comment --comment "ns1/svc1:p80 loadbalancer IP" -m tcp --dport 80 -j KUBE-EXT-XPGD46QRK7WJZT7O',
      '-A KUBE-SERVICES -d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O',
      '-A KUBE-SERVICES -d 192.168.99.11/32 -p tcp -m comment --comment "ns1/svc1:p80 external IP" -m tcp --dport 80 -j KUBE-EXT-XPGD46QRK7WJZT7O',
      NODEPORTS,
    ]);
    expect(saved(tables, 'filter')).toEqual([NO_SUCH_PORT, EXTERNAL_NODEPORTS]);
  });

  test('with externalTrafficPolicy Local', () => {
    const local = { ...external, isExternalLocal: true, healthCheckNodePort: 30_000 };
    const tables = tablesWith({ service: local, endpoints: [here, there], pods: PODS });
    const shortCircuit = [
      '-s 10.0.0.0/8 -m comment --comment "pod traffic for ns1/svc1:p80 external destinations" -j KUBE-SVC-XPGD46QRK7WJZT7O',
      '-m comment --comment "masquerade LOCAL traffic for ns1/svc1:p80 external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ',
      '-m comment --comment "route LOCAL traffic for ns1/svc1:p80 external destinations" -m addrtype --src-type LOCAL -j KUBE-SVC-XPGD46QRK7WJZT7O',
    ];
    expect(tables.lines('nat', 'KUBE-EXT-XPGD46QRK7WJZT7O')).toEqual([
      ...shortCircuit,
      '-j KUBE-SVL-XPGD46QRK7WJZT7O',
    ]);
    expect(tables.lines('nat', 'KUBE-SVL-XPGD46QRK7WJZT7O')).toEqual([
      '-m comment --comment "ns1/svc1:p80 -> 10.180.0.1:80" -j KUBE-SEP-SXIVWICOYRO3J4NJ',
    ]);
    expect(tables.lines('filter', 'KUBE-NODEPORTS')).toEqual([
      '-p tcp -m comment --comment "ns1/svc1:p80 health check node port" -m tcp --dport 30000 -j ACCEPT',
    ]);

    const remote = tablesWith({ service: local, endpoints: [there], pods: PODS });
    expect(remote.lines('nat', 'KUBE-EXT-XPGD46QRK7WJZT7O')).toEqual(shortCircuit);
    expect(remote.lines('filter', 'KUBE-EXTERNAL-SERVICES')).toEqual([
      '-d 1.2.3.4/32 -p tcp -m comment --comment "ns1/svc1:p80 has no local endpoints" -m tcp --dport 80 -j DROP',
      '-d 192.168.99.11/32 -p tcp -m comment --comment "ns1/svc1:p80 has no local endpoints" -m tcp --dport 80 -j DROP',
      EXTERNAL_NODEPORTS.replace('-A KUBE-EXTERNAL-SERVICES ', ''),
    ]);
    expect(remote.lines('filter', 'KUBE-EXTERNAL-NODEPORTS')).toEqual([
      '-p tcp -m comment --comment "ns1/svc1:p80 has no local endpoints" -m tcp --dport 3001 -j DROP',
    ]);
  });

  test('without endpoints, flat: as kube-proxy has it', () => {
    const tables = tablesWith({ service: external, settings: { dispatch: 'flat' } });
    const end = '-j REJECT --reject-with icmp-port-unreachable';
    expect(tables.lines('filter', 'KUBE-EXTERNAL-SERVICES')).toEqual([
      `-d 1.2.3.4/32 -p tcp -m comment --comment "ns1/svc1:p80 has no endpoints" -m tcp --dport 80 ${end}`,
      `-d 192.168.99.11/32 -p tcp -m comment --comment "ns1/svc1:p80 has no endpoints" -m tcp --dport 80 ${end}`,
      `-p tcp -m comment --comment "ns1/svc1:p80 has no endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 3001 ${end}`,
    ]);
    expect(tables.has('filter', 'KUBE-EXTERNAL-NODEPORTS')).toBe(false);
  });

  test('that do not let everybody in', () => {
    const guarded = {
      ...external,
      sourceRanges: { 4: [cidr('203.0.113.0/25'), cidr('198.51.100.7/32')], 6: undefined },
    };
    const tables = tablesWith({ service: guarded, endpoints: [here] });
    expect(tables.lines('nat', 'KUBE-FW-XPGD46QRK7WJZT7O')).toEqual([
      '-s 203.0.113.0/25 -m comment --comment "ns1/svc1:p80 loadbalancer IP" -j KUBE-EXT-XPGD46QRK7WJZT7O',
      '-s 198.51.100.7/32 -m comment --comment "ns1/svc1:p80 loadbalancer IP" -j KUBE-EXT-XPGD46QRK7WJZT7O',
      '-m comment --comment "other traffic to ns1/svc1:p80 will be dropped by KUBE-PROXY-FIREWALL"',
    ]);
    expect(tables.lines('nat', 'KUBE-SERVICES')).toContain(
      '-d 1.2.3.4/32 -p tcp -m comment --comment "ns1/svc1:p80 loadbalancer IP" -m tcp --dport 80 -j KUBE-FW-XPGD46QRK7WJZT7O',
    );
    expect(tables.lines('nat', 'KUBE-SERVICES')).toContain(
      '-d 192.168.99.11/32 -p tcp -m comment --comment "ns1/svc1:p80 external IP" -m tcp --dport 80 -j KUBE-EXT-XPGD46QRK7WJZT7O',
    );
    expect(tables.lines('filter', 'KUBE-PROXY-FIREWALL')).toEqual([
      '-d 1.2.3.4/32 -p tcp -m comment --comment "ns1/svc1:p80 traffic not accepted by KUBE-FW-XPGD46QRK7WJZT7O" -m tcp --dport 80 -j DROP',
    ]);
    expect(tables.has('filter', 'KUBE-FW-XPGD46QRK7WJZT7O')).toBe(false);
  });

  test('that do not let everybody in and have no endpoints (ours)', () => {
    const guarded = { ...external, sourceRanges: { 4: [cidr('203.0.113.0/25')], 6: undefined } };
    const tables = tablesWith({ service: guarded });
    expect(tables.lines('filter', 'KUBE-FW-XPGD46QRK7WJZT7O')).toEqual([
      '-s 203.0.113.0/25 -m comment --comment "ns1/svc1:p80 loadbalancer IP" -j RETURN',
      '-m comment --comment "other traffic to ns1/svc1:p80 is dropped" -j DROP',
    ]);
    expect(tables.lines('filter', 'KUBE-PROXY-FIREWALL')).toEqual([
      '-d 1.2.3.4/32 -p tcp -m comment --comment "ns1/svc1:p80 traffic not accepted by KUBE-FW-XPGD46QRK7WJZT7O" -m tcp --dport 80 -j KUBE-FW-XPGD46QRK7WJZT7O',
    ]);
  });

  test('a cluster IP that is a load-balancer address is guarded like one (ours)', () => {
    const both = {
      loadBalancerIps: [ip('172.30.0.41')],
      sourceRanges: { 4: [cidr('203.0.113.0/25')], 6: undefined },
    };
    const tables = tablesWith({ service: both, endpoints: [here], pods: PODS });
    expect(tables.lines('nat', 'KUBE-SERVICES')[0]).toMatch(/cluster IP.* -j KUBE-FW-XPGD46QRK7WJZT7O$/);
    expect(tables.lines('nat', 'KUBE-EXT-XPGD46QRK7WJZT7O')).toEqual(['-j KUBE-SVC-XPGD46QRK7WJZT7O']);
    expect(tables.lines('nat', 'KUBE-SVC-XPGD46QRK7WJZT7O')[0]).toMatch(
      /^! -s 10\.0\.0\.0\/8 .*KUBE-MARK-MASQ$/,
    );
    expect(tables.lines('filter', 'KUBE-PROXY-FIREWALL')).toHaveLength(1);
  });
});

describe('chances', () => {
  test("are kube-proxy's 1/n with ten decimals, in the kernel's unit", () => {
    const one = { weight: 1 };
    expect(chances([one])).toEqual([undefined]);
    expect(chances([one, one, one])).toEqual([715_827_883, 2 ** 30, undefined]);
    expect(chances([{ weight: 7 }, { weight: 7 }])).toEqual([2 ** 30, undefined]);
    expect(chances([{ weight: 3 }, { weight: 1 }])).toEqual([0.75 * 2 ** 31, undefined]);
  });
});
