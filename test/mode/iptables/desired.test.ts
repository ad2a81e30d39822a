// Incremental planning: however Services change, applying each delta gives what planning from scratch gives, and every
// step on the way is one that nf_tables accepts.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Desired } from '../../../src/mode/iptables/desired.ts';
import type { RuleSettings } from '../../../src/mode/iptables/fixed-chains.ts';
import { planFullSync } from '../../../src/mode/iptables/full-sync.ts';
import { MAX_CHAIN_NAME, servicePortHash } from '../../../src/mode/iptables/names.ts';
import { cidrContains, type Ip } from '../../../src/model/ip.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import type { Backend, Frontend } from '../../../src/vip/frontend.ts';
import type { Surroundings } from '../../../src/vip/surroundings.ts';
import { someService, surroundings } from './arbitrary-services.ts';
import { FakeTables } from './fake-tables.ts';

const settings = (over: Partial<RuleSettings> = {}): RuleSettings => ({
  masqueradeBit: 14,
  servesLocalhostNodePorts: false,
  dropsInvalid: true,
  dispatch: 'tree',
  ...over,
});

const SERVICES = 70;
const change = fc.nat({ max: SERVICES - 1 }).chain((index) =>
  fc.tuple(someService(index), fc.nat(4)).map(([{ key, frontends }, n]) => ({
    key,
    // One in five is a deletion.
    frontends: n === 0 ? [] : frontends,
  })),
);
type Change = { readonly key: ServiceKey; readonly frontends: readonly Frontend[] };
interface Step {
  readonly changes: readonly Change[];
  readonly surroundings: Surroundings | undefined;
}
const history: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    changes: fc.oneof(
      fc.array(change, { maxLength: 4, size: 'max' }),
      fc.array(change, { maxLength: 60, size: 'max' }),
    ),
    surroundings: fc.option(surroundings, { nil: undefined, freq: 3 }),
  }),
  { maxLength: 8, size: 'max' },
);

function play(steps: readonly Step[], given: RuleSettings) {
  const desired = new Desired(4, given);
  const tables = FakeTables.holding(4, desired.chains());
  const current = new Map<ServiceKey, readonly Frontend[]>();
  let around: Surroundings | undefined;
  for (const step of steps) {
    const update = new Map(step.changes.map(({ key, frontends }) => [key, frontends]));
    for (const [key, frontends] of update) current.set(key, frontends);
    around = step.surroundings ?? around;
    tables.apply(desired.update(update, step.surroundings));
  }
  const scratch = new Desired(4, given);
  scratch.update(current, around);
  return { desired, tables, scratch };
}

describe.each(['tree', 'flat'] as const)('Desired, %s', (dispatch) => {
  test('deltas applied one by one give what planning from scratch gives', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const { tables, scratch } = play(steps, settings({ dispatch }));
        expect(tables.text()).toEqual(FakeTables.holding(4, scratch.chains()).text());
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  test('after any history a restarted daemon finds nothing to write', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const { tables, scratch } = play(steps, settings({ dispatch }));
        const sync = planFullSync(scratch.chains(), tables.observe());
        expect([...sync.added]).toEqual([]);
        expect(sync.edited).toEqual([]);
        expect(sync.removed).toEqual([]);
      }),
      { numRuns: 30 },
    );
  }, 60_000);

  test('names of chains fit, and none is used twice', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const { scratch } = play(steps, settings({ dispatch }));
        const names = [...scratch.chains()].map(({ table, name }) => `${table} ${name}`);
        expect(new Set(names).size).toBe(names.length);
        for (const { name } of scratch.chains()) expect(name.length).toBeLessThanOrEqual(MAX_CHAIN_NAME);
      }),
      { numRuns: 20 },
    );
  }, 60_000);
});

const backend = (n: number, weight = 1): Backend => ({
  ip: `10.1.${n >> 8}.${n & 255}` as Ip,
  port: 8080,
  isMaybeLocal: false,
  weight,
});
const clusterIp = (
  name: string,
  address: string,
  backends: readonly Backend[],
  over: Partial<Frontend> = {},
): Frontend => ({
  kind: 'ClusterIP',
  family: address.includes(':') ? 6 : 4,
  address: address as Ip,
  protocol: 'TCP',
  port: 80,
  service: `n/${name}` as ServiceKey,
  displayName: `n/${name}`,
  backends,
  masquerade: 'never',
  whenEmpty: 'refuse',
  insideBackends: undefined,
  scheduler: 'random',
  affinityTimeoutSeconds: undefined,
  sourceRanges: undefined,
  trafficPolicy: 'Cluster',
  healthCheckNodePort: 0,
  ...over,
});
const byService = (...frontends: Frontend[]): Map<ServiceKey, Frontend[]> => {
  const map = new Map<ServiceKey, Frontend[]>();
  for (const one of frontends) map.set(one.service, [...(map.get(one.service) ?? []), one]);
  return map;
};

const servicePortChain = (displayName: string, prefix = 'KUBE-SVC-'): string =>
  prefix + servicePortHash(displayName, 'TCP');

/** How many rules of nat a TCP packet is compared with on its way to the chain of a service port, and which that is. */
function passed(tables: FakeTables, chain: string, ip: Ip, port: number, isLocal: boolean) {
  let rules = 0;
  const walk = (name: string): string | undefined => {
    if (/^KUBE-(SVC|EXT)-[A-Z2-7]{16}$/.test(name)) return name;
    for (const { destination, protocol, matches, target } of tables.rules('nat', name)) {
      rules++;
      const isMatch =
        (destination === undefined || cidrContains(destination.cidr, ip) !== destination.isInverted) &&
        (protocol === undefined || protocol.name === 'tcp') &&
        matches.every((match) => {
          if (match.kind === 'addrtype') return isLocal;
          const { first = 0, last = 65_535 } = (match.kind === 'ports' && match.destinationPorts) || {};
          return port >= first && port <= last;
        });
      if (!isMatch || (target?.kind !== 'jump' && target?.kind !== 'goto')) continue;
      const end = walk(target.chain);
      if (end !== undefined || target.kind === 'goto') return end;
    }
    return undefined;
  };
  const end = walk(chain);
  return { end, rules };
}

describe('an update', () => {
  test('of one endpoint touches the chains of its service port and nothing else', () => {
    const desired = new Desired(4, settings());
    const all = Array.from({ length: 500 }, (_, i) =>
      clusterIp(`s${i}`, `10.96.${i >> 8}.${i & 255}`, [backend(1), backend(2)]),
    );
    const tables = FakeTables.holding(4, desired.chains());
    tables.apply(desired.update(byService(...all)));
    const delta = desired.update(byService({ ...all[77]!, backends: [backend(1), backend(3)] }));
    expect([...delta.added].map(({ name }) => name.slice(0, 9))).toEqual(['KUBE-SEP-']);
    expect(delta.edited.map(({ name, edits }) => [name.slice(0, 9), edits.length])).toEqual([
      ['KUBE-SVC-', 2],
    ]);
    expect(delta.removed.map(({ name }) => name.slice(0, 9))).toEqual(['KUBE-SEP-']);
    tables.apply(delta);
    expect(desired.update(byService({ ...all[77]!, backends: [backend(1), backend(3)] }))).toMatchObject({
      edited: [],
      removed: [],
    });
  });

  test('of a Service in a large cluster touches a bounded number of rules', () => {
    const desired = new Desired(4, settings());
    const all = Array.from({ length: 5000 }, (_, i) =>
      clusterIp(`s${i}`, `10.${96 + (i % 16)}.${(i * 7) & 255}.${(i >> 4) & 255}`, [backend(1)]),
    );
    desired.update(byService(...all));
    for (let i = 0; i < 300; i++) {
      const one = all[i * 16]!;
      const gone = desired.update(new Map([[one.service, []]]));
      const back = desired.update(byService(one));
      for (const { edited } of [gone, back]) {
        const edits = edited.reduce((sum, chain) => sum + chain.edits.length, 0);
        // A leaf that is divided gives up its rules for jumps, in two trees.
        expect(edits).toBeLessThanOrEqual(60);
      }
    }
  });

  test('may pass an address from one Service to another', () => {
    const desired = new Desired(4, settings());
    const tables = FakeTables.holding(4, desired.chains());
    const at = (name: string) => clusterIp(name, '10.96.0.1', [backend(1)]);
    tables.apply(desired.update(byService(at('a'))));
    tables.apply(desired.update(new Map([['n/a' as ServiceKey, []], ...byService(at('b'))])));
    expect(tables.lines('nat', 'KUBE-SERVICES').filter((line) => line.includes('cluster IP'))).toHaveLength(
      1,
    );
    expect(tables.lines('nat', 'KUBE-SERVICES')[0]).toContain('n/b cluster IP');
    expect(tables.lines('filter', 'KUBE-CLUSTER-IPS')).toHaveLength(1);
    // In the other order, too.
    tables.apply(desired.update(new Map([...byService(at('a')), ['n/b' as ServiceKey, []]])));
    expect(tables.lines('nat', 'KUBE-SERVICES')[0]).toContain('n/a cluster IP');
    expect(tables.lines('filter', 'KUBE-CLUSTER-IPS')).toHaveLength(1);
  });

  test('that takes an address before its owner lets go of it leaves it to the last one', () => {
    const desired = new Desired(4, settings());
    const tables = FakeTables.holding(4, desired.chains());
    tables.apply(desired.update(byService(clusterIp('a', '10.96.0.1', [backend(1)]))));
    tables.apply(desired.update(byService(clusterIp('b', '10.96.0.1', [backend(1)]))));
    tables.apply(desired.update(new Map([['n/a' as ServiceKey, []]])));
    expect(tables.lines('nat', 'KUBE-SERVICES')).toEqual([expect.stringContaining('n/b cluster IP')]);
    expect(tables.lines('filter', 'KUBE-CLUSTER-IPS')).toHaveLength(1);
  });

  test('beyond 1,000 endpoints drops the comments of endpoint rules, and brings them back', () => {
    const desired = new Desired(4, settings());
    const tables = FakeTables.holding(4, desired.chains());
    const many = (count: number) =>
      clusterIp(
        'many',
        '10.96.0.2',
        Array.from({ length: count }, (_, i) => backend(i)),
      );
    const commented = () =>
      tables.text().filter((line) => /^-A KUBE-(SVC|SEP)-/.test(line) && line.includes('--comment')).length;
    tables.apply(desired.update(byService(clusterIp('one', '10.96.0.1', [backend(1)]), many(999))));
    expect(commented()).toBe(3 * 1000);
    tables.apply(desired.update(byService(many(1000))));
    expect(commented()).toBe(0);
    expect(tables.lines('nat', 'KUBE-SERVICES')[0]).toContain('n/one cluster IP');
    tables.apply(desired.update(byService(many(998))));
    expect(commented()).toBe(3 * 999);
  });

  test('leaves the other family alone', () => {
    const desired = new Desired(6, settings());
    const tables = FakeTables.holding(6, desired.chains());
    const before = tables.text();
    tables.apply(desired.update(byService(clusterIp('a', '10.96.0.1', [backend(1)]))));
    expect(tables.text()).toEqual(before);
    tables.apply(
      desired.update(byService(clusterIp('a', 'fd00::1', [{ ...backend(1), ip: 'fd00::5' as Ip }]))),
    );
    expect(tables.lines('nat', 'KUBE-SERVICES')).toEqual([
      expect.stringContaining(
        '-d fd00::1/128 -p tcp -m comment --comment "n/a cluster IP" -m tcp --dport 80 -j KUBE-SVC-',
      ),
    ]);
  });
});

describe('shares', () => {
  test('are exactly those of the weights', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 12 }), (weights) => {
        const desired = new Desired(4, settings());
        const backends = weights.map((weight, i) => backend(i, weight));
        desired.update(byService(clusterIp('a', '10.96.0.1', backends)));
        const tables = FakeTables.holding(4, desired.chains());
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        let left = 1;
        for (const [i, { matches, target }] of tables.rules('nat', servicePortChain('n/a')).entries()) {
          const luck = matches.find((match) => match.kind === 'statistic');
          const chance = luck === undefined ? 1 : luck.probability / 2 ** 31;
          expect(tables.lines('nat', target?.kind === 'jump' ? target.chain : '')[1]).toContain(
            `--to-destination ${backends[i]!.ip}:`,
          );
          // The kernel's unit is 2^-31, and kube-proxy writes ten decimals.
          expect(left * chance).toBeCloseTo(weights[i]! / total, 8);
          left *= 1 - chance;
        }
        expect(left).toBe(0);
      }),
    );
  });
});

describe('dispatch', () => {
  const addressOf = (i: number, family: 4 | 6): string => {
    const mixed = Math.imul(i + 1, 2654435761) >>> 0;
    return family === 4
      ? `10.${96 + (i & 15)}.${(mixed >>> 8) & 255}.${(i >> 4) & 255}`
      : `fd00:10:96::${(mixed >>> 16).toString(16)}`;
  };

  test.each([4, 6] as const)(
    'of 10,000 Services passes at most 50 rules before the chain of one (IPv%s)',
    (family) => {
      const desired = new Desired(family, settings());
      const all = Array.from({ length: 10_000 }, (_, i) => {
        const ip = family === 4 ? backend(1).ip : ('fd00::5' as Ip);
        return [
          clusterIp(`s${i}`, addressOf(i, family), [{ ...backend(1), ip }]),
          ...(i < 2700
            ? [
                clusterIp(`s${i}`, addressOf(i, family), [{ ...backend(1), ip }], {
                  kind: 'NodePort',
                  address: undefined,
                  port: 30_000 + i,
                  family,
                }),
              ]
            : []),
        ];
      });
      desired.update(byService(...all.flat()), {
        nodePortCidrs: [{ ip: (family === 4 ? '0.0.0.0' : '::') as Ip, prefix: 0, family }],
        serviceCidrs: [],
        localPods: new Map(),
      });
      const tables = FakeTables.holding(family, desired.chains());
      // Among the cluster IPs: no branch is for it, and it has node ports all the same.
      const NODE = family === 4 ? '10.97.1.0' : 'fd00:10:96::ffff';
      expect(all.flat().some(({ address }) => address === NODE)).toBe(false);
      const passedUntil = (destination: string, port: number, last: string): number => {
        const walk = passed(tables, 'KUBE-SERVICES', destination as Ip, port, destination === NODE);
        expect(walk.end).toBe(last);
        return walk.rules;
      };
      for (let i = 0; i < 10_000; i += 37) {
        const end = servicePortChain(`n/s${i}`);
        expect(passedUntil(addressOf(i, family), 80, end)).toBeLessThanOrEqual(50);
      }
      for (let i = 0; i < 2700; i += 37) {
        const end = servicePortChain(`n/s${i}`, 'KUBE-EXT-');
        expect(passedUntil(NODE, 30_000 + i, end)).toBeLessThanOrEqual(64);
      }
    },
  );

  test('reads like what it does', () => {
    const desired = new Desired(4, settings());
    const all = Array.from({ length: 60 }, (_, i) =>
      clusterIp(`s${i}`, `10.96.${i & 3}.${4 * i}`, [backend(1)]),
    );
    desired.update(byService(...all));
    const tables = FakeTables.holding(4, desired.chains());
    expect(tables.lines('nat', 'KUBE-SERVICES')).toEqual([
      '-d 10.96.0.0/24 -j KUBE-SVC-S-10.96.0.0-24',
      '-d 10.96.1.0/24 -j KUBE-SVC-S-10.96.1.0-24',
      '-d 10.96.2.0/24 -j KUBE-SVC-S-10.96.2.0-24',
      '-d 10.96.3.0/24 -j KUBE-SVC-S-10.96.3.0-24',
    ]);
    expect(tables.lines('nat', 'KUBE-SVC-S-10.96.3.0-24')[0]).toMatch(
      /^-d 10\.96\.3\.12\/32 -p tcp -m comment --comment "n\/s3 cluster IP" -m tcp --dport 80 -j KUBE-SVC-/,
    );
  });
});
