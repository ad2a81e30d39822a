// `kproxy-ts diff` in iptables mode: the lines of a plan are the difference of the tables before and after.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Desired } from '../../../src/mode/iptables/desired.ts';
import { formatPlan } from '../../../src/mode/iptables/format.ts';
import { planFullSync } from '../../../src/mode/iptables/full-sync.ts';
import type { IptablesRule } from '../../../src/netlink/iptables/rule.ts';
import { BASE_CHAINS } from '../../../src/netlink/iptables/tables.ts';
import { frontend } from '../../support/frontends.ts';
import { someService, surroundings } from './arbitrary-services.ts';
import { FakeTables, planCleanup } from './fake-tables.ts';

const DOCKER: IptablesRule = { matches: [], target: { kind: 'jump', chain: 'DOCKER' } };

const state = fc.record({
  services: fc
    .uniqueArray(fc.nat({ max: 60 }), { maxLength: 40, size: 'max' })
    .chain((indexes) => fc.tuple(...indexes.map(someService))),
  around: surroundings,
  dispatch: fc.constantFrom('tree' as const, 'flat' as const),
});
type State = typeof state extends fc.Arbitrary<infer T> ? T : never;

function desiredOf({ services, around, dispatch }: State): Desired {
  const desired = new Desired(4, {
    masqueradeBit: 14,
    servesLocalhostNodePorts: true,
    dropsInvalid: true,
    dispatch,
  });
  desired.update(new Map(services.map(({ key, frontends }) => [key, frontends])), around);
  return desired;
}

/** Tables with rules of others around ours. */
function tablesOf(desired: Desired): FakeTables {
  const tables = FakeTables.holding(4, desired.chains());
  tables.add({ table: 'filter', name: 'DOCKER' }, []);
  for (const [name, index] of [
    ['FORWARD', 0],
    ['FORWARD', 3],
    ['INPUT', 1],
  ] as const) {
    tables.disturb({ table: 'filter', name }, index, DOCKER);
  }
  return tables;
}

/** As `iptables -S` prints them, without built-in chains; how often each line is there. */
function lines(tables: FakeTables): Map<string, number> {
  const all = new Map<string, number>();
  for (const { table, name } of tables.observe()) {
    const own = tables.lines(table, name).map((line) => `iptables -t ${table} -A ${name} ${line}`);
    if (!(name in BASE_CHAINS[table])) own.push(`iptables -t ${table} -N ${name}`);
    for (const line of own) all.set(line.trimEnd(), (all.get(line.trimEnd()) ?? 0) + 1);
  }
  return all;
}

/** What the lines of a diff make of the lines that were there. */
function patched(before: ReadonlyMap<string, number>, diff: Iterable<string>): Map<string, number> {
  const all = new Map(before);
  for (const line of diff) {
    const [sign, text] = [line.slice(0, 2), line.slice(2).trimEnd()];
    expect(sign).toMatch(/^[+-] $/);
    const count = (all.get(text) ?? 0) + (sign === '+ ' ? 1 : -1);
    expect(count, line).toBeGreaterThanOrEqual(0);
    if (count === 0) all.delete(text);
    else all.set(text, count);
  }
  return all;
}

describe('lines of a plan', () => {
  test('are what is there afterwards and was not, and what was and is not', () => {
    fc.assert(
      fc.property(state, state, fc.boolean(), (was, is, isCleanup) => {
        const tables = tablesOf(desiredOf(was));
        const before = lines(tables);
        const observed = [...tables.observe()];
        const plan = isCleanup ? planCleanup(observed) : planFullSync(desiredOf(is).chains(), observed);
        const diff = [...formatPlan(plan, observed, 4)];
        tables.applyFullSync(plan);
        expect(patched(before, diff)).toEqual(lines(tables));
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  test('are all that is desired where there are no tables yet', () => {
    fc.assert(
      fc.property(state, (is) => {
        const tables = new FakeTables(4);
        const plan = planFullSync(desiredOf(is).chains(), []);
        const diff = [...formatPlan(plan, [], 4)];
        tables.applyFullSync(plan);
        expect(patched(new Map(), diff)).toEqual(lines(tables));
      }),
      { numRuns: 20 },
    );
  }, 60_000);

  test('are the words of ip6tables for IPv6', () => {
    const desired = new Desired(6, {
      masqueradeBit: 14,
      servesLocalhostNodePorts: true,
      dropsInvalid: true,
      dispatch: 'tree',
    });
    const tables = FakeTables.holding(6, desired.chains());
    const web = frontend('web', { address: 'fd00::1', backends: ['[fd00:1::1]:80'] });
    desired.update(new Map([[web.service, [web]]]));
    const observed = [...tables.observe()];
    const diff = [...formatPlan(planFullSync(desired.chains(), observed), observed, 6)];
    expect(diff.map((line) => line.replace(/[A-Z2-7]{16}/g, '…'))).toEqual([
      '+ ip6tables -t nat -N KUBE-SEP-…',
      '+ ip6tables -t nat -A KUBE-SEP-… -s fd00:1::1/128 -m comment --comment "default/web" -j KUBE-MARK-MASQ',
      '+ ip6tables -t nat -A KUBE-SEP-… -p tcp -m comment --comment "default/web" -m tcp -j DNAT --to-destination [fd00:1::1]:80',
      '+ ip6tables -t nat -N KUBE-SVC-…',
      '+ ip6tables -t nat -A KUBE-SVC-… -m comment --comment "default/web -> [fd00:1::1]:80" -j KUBE-SEP-…',
      '+ ip6tables -t nat -A KUBE-SERVICES -d fd00::1/128 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j KUBE-SVC-…',
      '+ ip6tables -t filter -A KUBE-CLUSTER-IPS -d fd00::1/128 -m comment --comment "no such port of a cluster IP" -j KUBE-REFUSE',
    ]);
  });
});
