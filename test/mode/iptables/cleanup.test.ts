// `kproxy-ts cleanup` in iptables mode: whose chains they are, and what is said of what was removed.

import { describe, expect, test } from 'vitest';
import {
  explainKept,
  keeperOf,
  OURS_ALONE,
  signsLast,
  summarizeCleanup,
} from '../../../src/mode/iptables/cleanup.ts';
import { Desired } from '../../../src/mode/iptables/desired.ts';
import type { ChainPlace } from '../../../src/mode/iptables/planned-chain.ts';
import { parseCidr } from '../../../src/model/ip.ts';
import type { IptablesRule } from '../../../src/netlink/iptables/rule.ts';
import type { IptablesTable } from '../../../src/netlink/iptables/tables.ts';
import { frontend } from '../../support/frontends.ts';
import { FakeTables, planCleanup } from './fake-tables.ts';

const jump = (chain: string): IptablesRule => ({ matches: [], target: { kind: 'jump', chain } });

function tablesOf(dispatch: 'tree' | 'flat', count = 1): FakeTables {
  const desired = new Desired(4, {
    masqueradeBit: 14,
    servesLocalhostNodePorts: true,
    dropsInvalid: true,
    dispatch,
  });
  const frontends = Array.from({ length: count }, (_, i) =>
    frontend(`web-${i}`, { address: `10.96.${i >> 8}.${i & 255}`, backends: ['10.1.0.1:80'] }),
  );
  desired.update(new Map(frontends.map((one) => [one.service, [one]])), {
    nodePortCidrs: [parseCidr('0.0.0.0/0')!],
    serviceCidrs: [],
    localPods: new Map(),
  });
  return FakeTables.holding(4, desired.chains());
}

const places = (...texts: string[]): ChainPlace[] =>
  texts.map((text) => {
    const [table, name] = text.split(' ') as [IptablesTable, string];
    return { table, name };
  });

describe('keeperOf', () => {
  test.each(['tree', 'flat'] as const)('knows what this program wrote, %s', (dispatch) => {
    expect(keeperOf(tablesOf(dispatch).observe())).toBe('kproxy-ts');
  });

  test.each<[ReturnType<typeof keeperOf>, string[]]>([
    ['kproxy-ts', ['nat KUBE-SVC-KPROXY-TS']],
    ['kproxy-ts', ['nat KUBE-SERVICES', 'nat KUBE-SVC-KPROXY-TS', 'filter KUBE-CLUSTER-IPS']],
    // nat is gone, or what it held: no kube-proxy is at work there.
    ['kproxy-ts', ['filter KUBE-EXTERNAL-NODEPORTS', 'mangle KUBE-PROXY-CANARY']],
    ['kproxy-ts', ['filter KUBE-REFUSE', 'filter KUBE-SERVICES']],
    ['kproxy-ts', ['nat KUBE-SVC-S-10.96.0.0-12']],
    ['kproxy-ts', ['nat KUBE-SVC-NP-tcp-0-32767', 'filter KUBE-FW-XPGD46QRK7WJZT7O']],
    // A kube-proxy came after us: its first sync has deleted the signature.
    ['kube-proxy', ['nat KUBE-SERVICES', 'filter KUBE-CLUSTER-IPS', 'filter KUBE-SVCS-10.96.0.0-12']],
    ['kube-proxy', ['nat KUBE-SERVICES', 'nat KUBE-FW-XPGD46QRK7WJZT7O']],
    ['kube-proxy', ['nat KUBE-SVC-XPGD46QRK7WJZT7O', 'nat KUBE-SERVICES', 'filter KUBE-SERVICES']],
    ['kube-proxy', ['mangle KUBE-PROXY-CANARY', 'nat KUBE-MARK-MASQ']],
    // What kubelet makes, in all of its versions, and others.
    [undefined, ['nat KUBE-MARK-MASQ', 'nat KUBE-POSTROUTING', 'nat KUBE-MARK-DROP', 'filter KUBE-FIREWALL']],
    [undefined, ['mangle KUBE-IPTABLES-HINT', 'mangle KUBE-KUBELET-CANARY', 'nat KUBE-KUBELET-CANARY']],
    [undefined, ['filter KUBE-NWPLCY-DEFAULT', 'nat KUBE-CLUSTER-IPS', 'nat DOCKER', 'nat PREROUTING']],
    [undefined, []],
  ])('%s: %j', (keeper, names) => {
    expect(keeperOf(places(...names))).toBe(keeper);
    expect(keeperOf(places(...names.toReversed()))).toBe(keeper);
  });
});

test('what is left when it is interrupted is known to be ours', () => {
  const plan = signsLast(planCleanup(tablesOf('tree', 100).observe()));
  expect(plan.removed.length).toBeGreaterThan(200);
  for (let done = 0; done < plan.removed.length; done++) {
    expect(keeperOf(plan.removed.slice(done))).toBe('kproxy-ts');
  }
});

test('of what a kube-proxy has taken over, only what it does not know goes', () => {
  // It has deleted what it took for chains of Services, and written the chains that it shares with us.
  const observed = [...tablesOf('tree', 100).observe()]
    .filter(({ table, name }) => table !== 'nat' || !/^KUBE-SVC-(S-|NP-|KPROXY)/.test(name))
    .map((chain) =>
      /^KUBE-(SERVICES|NODEPORTS|EXTERNAL-SERVICES|PROXY-FIREWALL)$/.test(chain.name)
        ? { ...chain, rules: [] }
        : chain,
    );
  expect(keeperOf(observed)).toBe('kube-proxy');
  const { added, edited, removed } = planCleanup(observed, OURS_ALONE);
  const names = new Set(removed.map(({ table, name }) => `${table} ${name.replace(/-\d.*/, '')}`));
  expect([...names].sort()).toEqual([
    'filter KUBE-CIPS',
    'filter KUBE-CLUSTER-IPS',
    'filter KUBE-EXTERNAL-NODEPORTS',
  ]);
  expect([...added]).toEqual([]);
  expect(edited.map(({ table, name, edits }) => [table, name, edits.length])).toEqual([
    ['filter', 'FORWARD', 1],
    ['filter', 'OUTPUT', 2],
  ]);
});

describe('what is said', () => {
  test('of what was removed', () => {
    const tables = tablesOf('tree');
    tables.add({ table: 'nat', name: 'DOCKER' }, []);
    tables.disturb({ table: 'nat', name: 'PREROUTING' }, 0, jump('DOCKER'));
    const before = [...tables.observe()];
    const plan = planCleanup(before);
    tables.applyFullSync(plan);
    const chainsLess = (table: string): number =>
      before.filter((chain) => chain.table === table).length -
      [...tables.observe()].filter((chain) => chain.table === table).length;
    expect(summarizeCleanup(plan, 'iptables')).toEqual([
      `iptables -t filter: ${chainsLess('filter')} chains, 12 rules in chains of others`,
      `iptables -t nat: ${chainsLess('nat')} chains, 3 rules in chains of others`,
      'iptables -t mangle: 1 chain',
    ]);
    expect(summarizeCleanup(planCleanup(tables.observe()), 'iptables')).toEqual([]);
  });

  test('of what others use, and of what may be kubelet’s', () => {
    const tables = tablesOf('flat');
    tables.add({ table: 'nat', name: 'CNI-SETMARK' }, [jump('KUBE-MARK-MASQ')]);
    const kept = (): string[] => {
      const observed = [...tables.observe()];
      return explainKept(planCleanup(observed), observed, 'iptables');
    };
    expect(kept()).toEqual([
      'iptables -t nat KUBE-MARK-MASQ, now empty: rules of others lead there',
      "iptables -t filter KUBE-FIREWALL: it may be kubelet's, and guards 127.0.0.1 from outside",
    ]);
    tables.add({ table: 'mangle', name: 'KUBE-KUBELET-CANARY' }, []);
    expect(kept()).toEqual(['iptables -t nat KUBE-MARK-MASQ, now empty: rules of others lead there']);
  });
});
