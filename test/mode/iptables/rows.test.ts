// `kproxy-ts table` in iptables mode: what is planned is read back from the chains alone, and so is what kube-proxy writes.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Desired } from '../../../src/mode/iptables/desired.ts';
import type { RuleSettings } from '../../../src/mode/iptables/fixed-chains.ts';
import { type CountedChain, isEntrance, vipTableRows } from '../../../src/mode/iptables/rows.ts';
import { type IpFamily, parseCidr } from '../../../src/model/ip.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import { parseIptablesRule } from '../../../src/netlink/iptables/parse.ts';
import { parseIptablesSave } from '../../../src/netlink/iptables/parse-save.ts';
import type { IptablesTable } from '../../../src/netlink/iptables/tables.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import type { VipTableRow } from '../../../src/vip/table-row.ts';
import { frontend } from '../../support/frontends.ts';
import { someService, surroundings } from './arbitrary-services.ts';
import { FakeTables } from './fake-tables.ts';

const SETTINGS: RuleSettings = {
  masqueradeBit: 14,
  servesLocalhostNodePorts: true,
  dropsInvalid: true,
  dispatch: 'tree',
};
const EVERYWHERE = {
  nodePortCidrs: ['0.0.0.0/0', '::/0'].map((text) => parseCidr(text)!),
  serviceCidrs: [],
  localPods: new Map(),
};

const key = ({ address, port, protocol }: Pick<VipTableRow, 'address' | 'port' | 'protocol'>) =>
  `${address} ${port}/${protocol}`;

/** The rows in an order of their own, backends too. */
function sorted(rows: readonly VipTableRow[]): VipTableRow[] {
  const byText = <T>(of: (one: T) => string, list: readonly T[]) =>
    list.toSorted((a, b) => (of(a) < of(b) ? -1 : 1));
  return byText(
    key,
    rows.map((row) => ({ ...row, backends: byText((one) => JSON.stringify(one), row.backends) })),
  );
}

/** What the Frontend says, in words of the table; the kernel does not tell kinds of external addresses without endpoints. */
function expectedRow(one: Frontend): VipTableRow {
  const { kind, displayName, address, port, protocol, backends, insideBackends = [], sourceRanges } = one;
  const leadsAnywhere = backends.length + insideBackends.length > 0;
  const isOpenToNobody = sourceRanges?.length === 0 && backends.length > 0;
  const isToldByKernel = kind !== 'ExternalIP' || leadsAnywhere;
  const isToldLoadBalancer = kind !== 'LoadBalancer' || leadsAnywhere || sourceRanges !== undefined;
  const sticky = one.affinityTimeoutSeconds === undefined ? '' : ', affinity 3h';
  const action = backends.length > 0 ? `balance${sticky}` : one.whenEmpty;
  return {
    service: displayName,
    kind: isToldByKernel && isToldLoadBalancer ? kind : 'VIP',
    address: address ?? '*',
    port,
    protocol,
    action: isOpenToNobody ? 'drop' : sourceRanges === undefined ? action : `${action}, restricted`,
    backends: isOpenToNobody ? [] : backends.map(({ ip, port: of }) => ({ address: ip, port: of })),
    connections: undefined,
  };
}

function chainsOf(
  frontends: readonly Frontend[],
  family: IpFamily,
  settings: RuleSettings = SETTINGS,
  around: Parameters<Desired['update']>[1] = EVERYWHERE,
): CountedChain[] {
  const desired = new Desired(family, settings);
  const byService = new Map<ServiceKey, Frontend[]>();
  for (const one of frontends) byService.set(one.service, [...(byService.get(one.service) ?? []), one]);
  desired.update(byService, around);
  return [...FakeTables.holding(family, desired.chains()).observe()];
}

const services = fc
  .uniqueArray(fc.nat({ max: 60 }), { maxLength: 50, size: 'max' })
  .chain((indexes) => fc.tuple(...indexes.map(someService)))
  .map((some) => some.flatMap(({ frontends }) => frontends));

describe.each(['tree', 'flat'] as const)('%s', (dispatch) => {
  test('what was planned is read back', () => {
    fc.assert(
      fc.property(services, surroundings, (frontends, around) => {
        const rows = vipTableRows(chainsOf(frontends, 4, { ...SETTINGS, dispatch }, around))!;
        // Load-balancer addresses of one service port share their ranges, and KUBE-FW.
        const expected = frontends.map(expectedRow);
        const serves = around.nodePortCidrs.length > 0;
        expect(sorted(rows)).toEqual(sorted(expected.filter(({ kind }) => serves || kind !== 'NodePort')));
      }),
      { numRuns: 80 },
    );
  }, 60_000);

  test('IPv6, and more addresses than one chain holds', () => {
    const many = Array.from({ length: 300 }, (_, i) =>
      frontend(`web-${i}`, {
        address: `fd00:10:96::${(i * 7).toString(16)}`,
        backends: [`[fd00:10:1::${i}]:8080`],
      }),
    );
    const ports = Array.from({ length: 200 }, (_, i) =>
      frontend(`np-${i}`, {
        family: 6,
        protocol: 'UDP',
        port: 30_000 + 3 * i,
        backends: i % 2 === 0 ? [] : ['[fd00::5]:53'],
      }),
    );
    const chains = chainsOf([...many, ...ports], 6, { ...SETTINGS, dispatch });
    expect(chains.some(({ name }) => name.startsWith('KUBE-SVC-S-'))).toBe(dispatch === 'tree');
    expect(sorted(vipTableRows(chains)!)).toEqual(sorted([...many, ...ports].map(expectedRow)));
  });
});

test('a Local policy shows what clients outside get', () => {
  const local = {
    kind: 'LoadBalancer',
    address: '203.0.113.1',
    trafficPolicy: 'Local',
    whenEmpty: 'drop',
  } as const;
  const inside = ['10.1.0.1:80', '10.2.0.1:80'];
  const rows = vipTableRows(
    chainsOf(
      [
        frontend('here', { ...local, backends: ['10.1.0.1:80'], insideBackends: inside }),
        frontend('elsewhere', { ...local, address: '203.0.113.2', backends: [], insideBackends: inside }),
      ],
      4,
    ),
  )!;
  expect(rows.map(({ action, backends }) => [action, backends])).toEqual([
    ['balance', [{ address: '10.1.0.1', port: 80 }]],
    ['drop', []],
  ]);
});

test('counts what was for the rule, once where several rules are for the same', () => {
  const chains = chainsOf(
    [
      frontend('web', { address: '10.96.0.1', backends: ['10.1.0.1:80'] }),
      frontend('web', { port: 30080, backends: ['10.1.0.1:80'] }),
      frontend('none', { address: '10.96.0.2', backends: [] }),
    ],
    4,
  );
  const counted = chains.map((chain, i) => ({
    ...chain,
    packets: chain.rules.map((_, rule) => BigInt(1000 * i + rule + 1)),
  }));
  const packetsOf = (table: string, name: string): bigint | undefined =>
    counted.find((chain) => chain.table === table && chain.name === name)!.packets[0];
  expect(vipTableRows(counted)!.map(({ address, connections }) => [address, connections])).toEqual([
    ['10.96.0.1', packetsOf('nat', 'KUBE-SERVICES')],
    ['*', packetsOf('nat', 'KUBE-NODEPORTS')],
    ['10.96.0.2', packetsOf('filter', 'KUBE-SERVICES')],
  ]);
  const twice = counted.map((chain) =>
    chain.name === 'KUBE-NODEPORTS' && chain.table === 'nat'
      ? { ...chain, rules: [...chain.rules, ...chain.rules], packets: [3n, 4n] }
      : chain,
  );
  expect(vipTableRows(twice)!.find(({ kind }) => kind === 'NodePort')?.connections).toBe(7n);
});

describe("others' chains", () => {
  const saved = (text: string): CountedChain[] =>
    parseIptablesSave(text.split('\n').map((line) => line.trim())).map(({ table, name, lines }) => ({
      table: table as IptablesTable,
      name,
      rules: lines.map((line) => parseIptablesRule(line, 4, (target) => target.startsWith('KUBE-')).rule),
    }));

  /** As kube-proxy 1.36 writes them, in its order. */
  const KUBE_PROXY = `*nat
    :KUBE-SERVICES - [0:0]
    :KUBE-NODEPORTS - [0:0]
    :KUBE-MARK-MASQ - [0:0]
    :KUBE-EXT-AAAA - [0:0]
    :KUBE-FW-AAAA - [0:0]
    :KUBE-SVC-AAAA - [0:0]
    :KUBE-SVL-AAAA - [0:0]
    :KUBE-SEP-AAA1 - [0:0]
    :KUBE-SEP-AAA2 - [0:0]
    :KUBE-SVC-BBBB - [0:0]
    -A KUBE-SERVICES -d 10.96.0.9/32 -p udp -m comment --comment "kube-system/dns:dns cluster IP" -m udp --dport 53 -j KUBE-SVC-BBBB
    -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "ns/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-AAAA
    -A KUBE-SERVICES -d 192.0.2.1/32 -p tcp -m comment --comment "ns/web:http external IP" -m tcp --dport 80 -j KUBE-EXT-AAAA
    -A KUBE-SERVICES -d 203.0.113.1/32 -p tcp -m comment --comment "ns/web:http loadbalancer IP" -m tcp --dport 80 -j KUBE-FW-AAAA
    -A KUBE-SERVICES -d 192.168.50.10/32 -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
    -A KUBE-NODEPORTS -d 127.0.0.0/8 -p tcp -m comment --comment "ns/web:http" -m tcp --dport 30080 -m nfacct --nfacct-name localhost_nps_accepted_pkts -j KUBE-EXT-AAAA
    -A KUBE-NODEPORTS -p tcp -m comment --comment "ns/web:http" -m tcp --dport 30080 -j KUBE-EXT-AAAA
    -A KUBE-EXT-AAAA -s 10.244.0.0/16 -m comment --comment "pod traffic for ns/web:http external destinations" -j KUBE-SVC-AAAA
    -A KUBE-EXT-AAAA -m comment --comment "masquerade LOCAL traffic for ns/web:http external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
    -A KUBE-EXT-AAAA -m comment --comment "route LOCAL traffic for ns/web:http external destinations" -m addrtype --src-type LOCAL -j KUBE-SVC-AAAA
    -A KUBE-EXT-AAAA -j KUBE-SVL-AAAA
    -A KUBE-FW-AAAA -s 198.51.100.0/24 -m comment --comment "ns/web:http loadbalancer IP" -j KUBE-EXT-AAAA
    -A KUBE-FW-AAAA -m comment --comment "other traffic to ns/web:http will be dropped by KUBE-PROXY-FIREWALL"
    -A KUBE-SVC-AAAA ! -s 10.244.0.0/16 -d 10.96.0.1/32 -p tcp -m comment --comment "ns/web:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
    -A KUBE-SVC-AAAA -m comment --comment "ns/web:http -> 10.244.0.1:8080" -m recent --rcheck --seconds 5400 --reap --name KUBE-SEP-AAA1 --mask 255.255.255.255 --rsource -j KUBE-SEP-AAA1
    -A KUBE-SVC-AAAA -m comment --comment "ns/web:http -> 10.244.0.2:8080" -m recent --rcheck --seconds 5400 --reap --name KUBE-SEP-AAA2 --mask 255.255.255.255 --rsource -j KUBE-SEP-AAA2
    -A KUBE-SVC-AAAA -m comment --comment "ns/web:http -> 10.244.0.1:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-AAA1
    -A KUBE-SVC-AAAA -m comment --comment "ns/web:http -> 10.244.0.2:8080" -j KUBE-SEP-AAA2
    -A KUBE-SVL-AAAA -m comment --comment "ns/web:http -> 10.244.0.2:8080" -j KUBE-SEP-AAA2
    -A KUBE-SEP-AAA1 -s 10.244.0.1/32 -m comment --comment "ns/web:http" -j KUBE-MARK-MASQ
    -A KUBE-SEP-AAA1 -p tcp -m comment --comment "ns/web:http" -m recent --set --name KUBE-SEP-AAA1 --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.244.0.1:8080
    -A KUBE-SEP-AAA2 -p tcp -m comment --comment "ns/web:http" -m recent --set --name KUBE-SEP-AAA2 --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.244.0.2:8080
    COMMIT
    *filter
    :KUBE-SERVICES - [0:0]
    :KUBE-EXTERNAL-SERVICES - [0:0]
    :KUBE-PROXY-FIREWALL - [0:0]
    -A KUBE-SERVICES -d 10.96.0.7/32 -p tcp -m comment --comment "ns/gone has no endpoints" -m tcp --dport 443 -j REJECT --reject-with icmp-port-unreachable
    -A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "ns/away:a has no local endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30443 -j DROP
    -A KUBE-PROXY-FIREWALL -d 203.0.113.1/32 -p tcp -m comment --comment "ns/web:http traffic not accepted by KUBE-FW-AAAA" -m tcp --dport 80 -j DROP
    COMMIT`;

  test('of a real kube-proxy are read alike', () => {
    const lines = vipTableRows(saved(KUBE_PROXY))!.map(
      ({ service, kind, address, port, protocol, action, backends }) =>
        `${service} ${kind} ${address}:${port}/${protocol} ${action}: ${backends.map((one) => one.address)}`,
    );
    expect(lines).toEqual([
      'kube-system/dns:dns ClusterIP 10.96.0.9:53/UDP pass: ',
      'ns/web:http ClusterIP 10.96.0.1:80/TCP balance, affinity 90m: 10.244.0.1,10.244.0.2',
      'ns/web:http ExternalIP 192.0.2.1:80/TCP balance: 10.244.0.2',
      'ns/web:http LoadBalancer 203.0.113.1:80/TCP balance, restricted: 10.244.0.2',
      'ns/web:http NodePort *:30080/TCP balance: 10.244.0.2',
      'ns/gone ClusterIP 10.96.0.7:443/TCP refuse: ',
      'ns/away:a NodePort *:30443/TCP drop: ',
    ]);
  });

  test('what nobody jumps to, or is about no Service, has no row', () => {
    const rows = vipTableRows(
      saved(`*nat
        :KUBE-SERVICES - [0:0]
        :KUBE-NODEPORTS - [0:0]
        :KUBE-SVC-S-10.0.0.0-8 - [0:0]
        :KUBE-MARK-MASQ - [0:0]
        :KUBE-SEP-A - [0:0]
        -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j KUBE-SEP-A
        -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "by hand" -m tcp --dport 80 -j KUBE-SEP-A
        -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "a/b cluster IP" -m tcp --dport 80:81 -j KUBE-SEP-A
        -A KUBE-SERVICES -d 10.96.0.1/32 -p icmp -m comment --comment "a/b cluster IP" -j KUBE-SEP-A
        -A KUBE-SERVICES ! -s 10.0.0.0/8 -d 10.96.0.1/32 -p tcp -m comment --comment "a/b cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
        -A KUBE-NODEPORTS -p tcp -m comment --comment "a/b" -m tcp --dport 30080 -j KUBE-SEP-A
        -A KUBE-SVC-S-10.0.0.0-8 -d 10.96.0.2/32 -p tcp -m comment --comment "a/c cluster IP" -m tcp --dport 80 -j KUBE-SEP-A
        COMMIT`),
    );
    expect(rows).toEqual([]);
  });

  test('chains that lead in a circle end', () => {
    const rows = vipTableRows(
      saved(`*nat
        :KUBE-SERVICES - [0:0]
        :KUBE-NODEPORTS - [0:0]
        :KUBE-SVC-A - [0:0]
        -A KUBE-SERVICES -j KUBE-NODEPORTS
        -A KUBE-NODEPORTS -j KUBE-SERVICES
        -A KUBE-NODEPORTS -p tcp -m comment --comment "a/b" -m tcp --dport 30080 -j KUBE-SVC-A
        -A KUBE-SVC-A -j KUBE-SVC-A
        COMMIT`),
    );
    expect(rows).toMatchObject([{ service: 'a/b', action: 'pass', backends: [] }]);
  });

  test('without the chain that packets come by there is no table', () => {
    const kubelet = saved(`*nat
      :KUBE-MARK-MASQ - [0:0]
      :KUBE-POSTROUTING - [0:0]
      COMMIT
      *filter
      :KUBE-SERVICES - [0:0]
      COMMIT`);
    expect(vipTableRows(kubelet)).toBeUndefined();
    expect(kubelet.some(isEntrance)).toBe(false);
    expect(saved(KUBE_PROXY).filter(isEntrance)).toHaveLength(1);
  });
});
