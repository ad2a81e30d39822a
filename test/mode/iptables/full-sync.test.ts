// The whole comparison: whatever tables hold, what is planned makes them as desired, and leaves to others what is theirs.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Desired } from '../../../src/mode/iptables/desired.ts';
import type { RuleSettings } from '../../../src/mode/iptables/fixed-chains.ts';
import { planFullSync } from '../../../src/mode/iptables/full-sync.ts';
import { isOwnChain } from '../../../src/mode/iptables/names.ts';
import { type Cidr, parseCidr } from '../../../src/model/ip.ts';
import { formatIptablesRule } from '../../../src/netlink/iptables/format.ts';
import type { IptablesRule } from '../../../src/netlink/iptables/rule.ts';
import { BASE_CHAINS, type IptablesTable } from '../../../src/netlink/iptables/tables.ts';
import type { Surroundings } from '../../../src/vip/surroundings.ts';
import { someService, surroundings } from './arbitrary-services.ts';
import { FakeTables, planCleanup } from './fake-tables.ts';

const cidr = (text: string): Cidr => parseCidr(text)!;
const SETTINGS: RuleSettings = {
  masqueradeBit: 14,
  servesLocalhostNodePorts: true,
  dropsInvalid: true,
  dispatch: 'tree',
};
const LOOPBACK_SERVES: Surroundings = {
  nodePortCidrs: [cidr('0.0.0.0/0')],
  serviceCidrs: [],
  localPods: new Map(),
};

const jumpTo = (chain: string, text?: string): IptablesRule => ({
  matches: text === undefined ? [] : [{ kind: 'comment', text }],
  target: { kind: 'jump', chain },
});
const foreign: readonly IptablesRule[] = [
  jumpTo('DOCKER'),
  jumpTo('cali-FORWARD', 'cali:3sHcCxxA'),
  { matches: [], target: { kind: 'ACCEPT' } },
  // No comment of kube-proxy's: somebody else has a use for the chain.
  jumpTo('KUBE-MARK-MASQ'),
  {
    matches: [{ kind: 'unknown', name: 'set', expressions: [] }],
    target: { kind: 'unknown', name: 'TPROXY', expressions: [] },
  },
];
const THEIRS: readonly (readonly [IptablesTable, string, readonly IptablesRule[]])[] = [
  ['nat', 'DOCKER', [{ matches: [], target: { kind: 'RETURN' } }]],
  ['nat', 'KUBE-KUBELET-CANARY', []],
  ['mangle', 'KUBE-IPTABLES-HINT', []],
  ['nat', 'KUBE-MARK-DROP', [{ matches: [], target: { kind: 'MARK', value: 0x8000, mask: 0x8000 } }]],
  ['nat', 'CNI-HOSTPORT-DNAT', []],
];

const services = fc
  .uniqueArray(fc.nat({ max: 60 }), { maxLength: 60, size: 'max' })
  .chain((indexes) => fc.tuple(...indexes.map(someService)));
const state = fc.record({ services, surroundings });
type State = typeof state extends fc.Arbitrary<infer T> ? T : never;

function desiredOf({ services: some, surroundings: around }: State, settings = SETTINGS): Desired {
  const desired = new Desired(4, settings);
  desired.update(new Map(some.map(({ key, frontends }) => [key, frontends])), around);
  return desired;
}

/** What nobody of ours may touch: chains of others, and rules of others in the chains of the hooks. */
function theirs(tables: FakeTables, own: ReadonlySet<string>): string[] {
  return [...tables.observe()].flatMap(({ table, name, rules }) => {
    if (isOwnChain(table, name)) return [];
    const lines = rules.map((rule) => formatIptablesRule(name, rule, 4));
    return [`${table} ${name}`, ...lines.filter((line) => !own.has(`${table} ${line}`))];
  });
}
const ours = (desired: Desired): Set<string> =>
  new Set(
    [...desired.chains()]
      .filter(({ ownership }) => ownership !== 'own')
      .flatMap(({ table, name, rules }) =>
        rules().map((rule) => `${table} ${formatIptablesRule(name, rule, 4)}`),
      ),
  );

const disturbance = fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat(), fc.nat({ max: 3 })), {
  maxLength: 25,
  size: 'max',
});

/** Tables that a daemon with another view of the world left, with others at work, and hands that meddle. */
function disturbed(desired: Desired, disturbances: readonly [number, number, number, number][]): FakeTables {
  const tables = new FakeTables(4);
  for (const [table, name, rules] of THEIRS) tables.add({ table, name }, rules);
  for (const name of ['DOCKER', 'cali-FORWARD', 'KUBE-MARK-MASQ']) {
    for (const table of ['filter', 'nat'] as const) tables.add({ table, name }, []);
  }
  // A chain of ours by name, in a table where we have none by that name: still no reason to delete what is used.
  for (const chain of desired.chains()) tables.add(chain, chain.rules());
  tables.add({ table: 'nat', name: 'KUBE-SVC-USEDBYANOTHER00' }, [jumpTo('KUBE-MARK-MASQ')]);
  tables.add({ table: 'nat', name: 'CNI-HOSTPORT-DNAT' }, [jumpTo('KUBE-SVC-USEDBYANOTHER00')]);
  const chains = [...tables.observe()].filter(
    ({ table, name }) => name in BASE_CHAINS[table] || isOwnChain(table, name),
  );
  for (const [where, at, what, kind] of disturbances) {
    const place = chains[where % chains.length]!;
    const rules = tables.rules(place.table, place.name);
    const index = at % (rules.length + 1);
    if (kind === 0 && rules.length > 0) tables.remove(place, at % rules.length);
    else if (kind === 1 && rules.length > 0) tables.disturb(place, index, rules[at % rules.length]!);
    else {
      const rule = foreign[what % foreign.length]!;
      const target = rule.target?.kind === 'jump' ? rule.target.chain : undefined;
      if (target === undefined || tables.has(place.table, target)) tables.disturb(place, index, rule);
    }
  }
  return tables;
}

describe('planFullSync', () => {
  test('makes any tables as desired, and touches nothing of others', () => {
    fc.assert(
      fc.property(state, state, disturbance, (was, is, disturbances) => {
        const [before, desired] = [desiredOf(was), desiredOf(is)];
        const tables = disturbed(before, disturbances);
        const own = new Set([...ours(before), ...ours(desired)]);
        const untouched = theirs(tables, own);
        tables.applyFullSync(planFullSync(desired.chains(), tables.observe()));

        // KUBE-FIREWALL once made stays.
        const left = theirs(tables, own).filter((line) => line !== 'filter KUBE-FIREWALL');
        expect(left).toEqual(untouched.filter((line) => line !== 'filter KUBE-FIREWALL'));
        for (const chain of desired.chains()) {
          const wanted = chain.rules().map((rule) => formatIptablesRule(chain.name, rule, 4));
          const held = tables
            .rules(chain.table, chain.name)
            .map((rule) => formatIptablesRule(chain.name, rule, 4));
          if (chain.ownership === 'own') expect(held).toEqual(wanted);
          else for (const line of wanted) expect(held.filter((one) => one === line)).toHaveLength(1);
        }
        const names = new Set([...desired.chains()].map(({ table, name }) => `${table} ${name}`));
        for (const { table, name, rules } of tables.observe()) {
          if (!isOwnChain(table, name) || names.has(`${table} ${name}`)) continue;
          // Used by another: empty.
          expect([name, rules]).toEqual([expect.stringMatching(/USEDBYANOTHER|KUBE-MARK-MASQ/), []]);
        }
        const again = planFullSync(desired.chains(), tables.observe());
        expect([[...again.added], again.edited, again.removed]).toEqual([[], [], []]);
      }),
      { numRuns: 80 },
    );
  }, 60_000);

  test('what it says is ours carries incremental updates', () => {
    fc.assert(
      fc.property(state, state, disturbance, (was, is, disturbances) => {
        const desired = desiredOf(was);
        const tables = disturbed(desiredOf(is), disturbances);
        tables.applyFullSync(planFullSync(desired.chains(), tables.observe()));
        const gone = was.services.map(({ key }) => [key, []] as const);
        const here = is.services.map(({ key, frontends }) => [key, frontends] as const);
        tables.apply(desired.update(new Map([...gone, ...here]), is.surroundings));
        const again = planFullSync(desired.chains(), tables.observe());
        expect([[...again.added], again.edited, again.removed]).toEqual([[], [], []]);
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  test('makes hooks, in kube-proxy’s order, where there are none', () => {
    const desired = new Desired(4, SETTINGS);
    desired.update(new Map(), LOOPBACK_SERVES);
    const tables = new FakeTables(4);
    tables.applyFullSync(planFullSync(desired.chains(), tables.observe()));
    expect(tables.lines('filter', 'INPUT')).toEqual([
      '-j KUBE-FIREWALL',
      '-m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL',
      '-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS',
      '-m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES',
    ]);
  });

  test('puts jumps on top of what others have, and a missing one behind the one before it', () => {
    const desired = new Desired(4, SETTINGS);
    const tables = new FakeTables(4);
    tables.add({ table: 'filter', name: 'cali-FORWARD' }, []);
    tables.add({ table: 'filter', name: 'FORWARD' }, [jumpTo('cali-FORWARD')]);
    tables.applyFullSync(planFullSync(desired.chains(), tables.observe()));
    const targets = () =>
      tables.rules('filter', 'FORWARD').map(({ target }) => target?.kind === 'jump' && target.chain);
    const own = [
      'KUBE-PROXY-FIREWALL',
      'KUBE-FORWARD',
      'KUBE-SERVICES',
      'KUBE-EXTERNAL-SERVICES',
      'KUBE-CLUSTER-IPS',
    ];
    expect(targets()).toEqual([...own, 'cali-FORWARD']);
    tables.disturb({ table: 'filter', name: 'FORWARD' }, 0, jumpTo('cali-FORWARD'));
    tables.remove({ table: 'filter', name: 'FORWARD' }, 4);
    tables.applyFullSync(planFullSync(desired.chains(), tables.observe()));
    expect(targets()).toEqual(['cali-FORWARD', ...own, 'cali-FORWARD']);
  });

  test('replaces a jump of another version of kube-proxy', () => {
    const desired = new Desired(4, SETTINGS);
    const tables = new FakeTables(4);
    tables.add({ table: 'filter', name: 'KUBE-SERVICES' }, []);
    tables.add({ table: 'filter', name: 'OUTPUT' }, [
      jumpTo('KUBE-SERVICES', 'kubernetes service portals'),
      jumpTo('KUBE-SERVICES', 'mine'),
    ]);
    tables.applyFullSync(planFullSync(desired.chains(), tables.observe()));
    expect(tables.lines('filter', 'OUTPUT').filter((line) => line.endsWith('-j KUBE-SERVICES'))).toEqual([
      '-m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      '-m comment --comment mine -j KUBE-SERVICES',
    ]);
  });

  test("shares KUBE-FIREWALL with kubelet: its rule is kubelet's, too", () => {
    const desired = new Desired(4, SETTINGS);
    desired.update(new Map(), LOOPBACK_SERVES);
    const kubelet = new FakeTables(4);
    kubelet.applyFullSync(planFullSync(desired.chains(), kubelet.observe()));
    const rule = kubelet.rules('filter', 'KUBE-FIREWALL');
    expect(kubelet.lines('filter', 'KUBE-FIREWALL')).toEqual([
      '! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
    ]);
    const tables = new FakeTables(4);
    tables.add({ table: 'filter', name: 'KUBE-FIREWALL' }, [...rule, ...foreign.slice(2, 3)]);
    tables.add({ table: 'filter', name: 'INPUT' }, [jumpTo('KUBE-FIREWALL')]);
    const before = tables.lines('filter', 'KUBE-FIREWALL');
    tables.applyFullSync(planFullSync(desired.chains(), tables.observe()));
    expect(tables.lines('filter', 'KUBE-FIREWALL')).toEqual(before);
    expect(tables.lines('filter', 'INPUT')[0]).toBe('-j KUBE-FIREWALL');
    tables.applyFullSync(planCleanup(tables.observe()));
    expect(tables.lines('filter', 'KUBE-FIREWALL')).toEqual(before);
    expect(tables.lines('filter', 'INPUT')).toEqual(['-j KUBE-FIREWALL']);
  });
});

describe('planCleanup', () => {
  test('leaves what is of others, and nothing else', () => {
    fc.assert(
      fc.property(state, disturbance, (was, disturbances) => {
        const desired = desiredOf(was);
        const tables = disturbed(desired, disturbances);
        // kubelet has these, too.
        const shared = [...ours(desired)].filter((line) => line.includes('KUBE-FIREWALL'));
        const own = new Set([...ours(desired)].filter((line) => !shared.includes(line)));
        const untouched = theirs(tables, own);
        tables.applyFullSync(planCleanup(tables.observe()));
        expect(theirs(tables, new Set())).toEqual(untouched);
        for (const { table, name, rules } of tables.observe()) {
          if (isOwnChain(table, name)) expect([name, rules]).toEqual([expect.any(String), []]);
        }
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  test('of empty tables is nothing', () => {
    const plan = planCleanup([]);
    expect([[...plan.added], plan.edited, plan.removed]).toEqual([[], [], []]);
  });
});
