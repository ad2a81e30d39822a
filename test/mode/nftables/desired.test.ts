// Incremental planning: however Services change, applying each delta gives what planning from scratch gives.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Deferred } from '../../../src/mode/nftables/deferred.ts';
import { Desired, type DesiredDelta } from '../../../src/mode/nftables/desired.ts';
import { type ElementChange, elementId, mustWait } from '../../../src/mode/nftables/element-change.ts';
import {
  intervalEndAddress,
  NUMBERED_SETS,
  PICKED_SETS,
  packHostU32,
  SERVICE_SETS,
  type SetName,
  SHAPE_SETS,
  serviceValueParts,
  unpackHostU32,
} from '../../../src/mode/nftables/names.ts';
import { neededChainName } from '../../../src/mode/nftables/needed-chain.ts';
import { noElements, previousIn } from '../../../src/mode/nftables/observed.ts';
import {
  type PlannedFrontend,
  type Previous,
  planFrontend,
} from '../../../src/mode/nftables/planned-frontend.ts';
import { reconcileElements, type SeenElements } from '../../../src/mode/nftables/reconcile-elements.ts';
import { type Cidr, cidrContains, type Ip, packIp, parseCidr } from '../../../src/model/ip.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import type { Backend, Frontend } from '../../../src/vip/frontend.ts';

/** A kernel reduced to its elements; refuses what the real one refuses. */
class Elements {
  readonly byId = new Map<string, ElementChange>();

  apply(changes: Iterable<ElementChange>): void {
    const list = [...changes];
    for (const change of list) {
      if (change.before === undefined) continue;
      const present = this.byId.get(elementId(change))?.after;
      if (present !== change.before) expect(present, 'deletes what is there').toBe(change.before);
      this.byId.delete(elementId(change));
    }
    for (const change of list) {
      if (change.after === undefined) continue;
      if (this.byId.has(elementId(change))) expect.fail(`${change.set}: adds what is there`);
      this.byId.set(elementId(change), change);
    }
  }

  /** The value of an element, undefined when there is none. */
  get(set: SetName, key: string): string | undefined {
    return this.byId.get(elementId({ family: 4, set, key }))?.after;
  }

  /** Name of the chain that an element of a map of frontends leads to. */
  chainOf({ set, after }: Pick<ElementChange, 'set' | 'after'>): string | undefined {
    const shapes = set.startsWith('inside-') ? 'inside-shapes' : 'shapes';
    return this.get(shapes, serviceValueParts(after!).shapeId);
  }

  /**
   * Content with the slots of each frontend sorted, since histories may place backends differently, but not the
   * tables of mh; and with the names of chains for the ids of shapes, which are given out as they are needed.
   */
  canonical(): string[] {
    const slots = new Map<string, string[]>();
    const rest: string[] = [];
    for (const change of this.byId.values()) {
      const { set, family, key, after } = change;
      if (SERVICE_SETS.has(set)) {
        rest.push(`${set} ${key} ${this.chainOf(change)} ${serviceValueParts(after!).comment}`);
      } else if (SHAPE_SETS.has(set)) rest.push(`${set} ${after}`);
      else if (!NUMBERED_SETS.has(set) || PICKED_SETS.has(set)) rest.push(`${family}${set} ${key} ${after}`);
      else {
        const frontend = `${family}${set} ${key.slice(0, -4)}`;
        const values = slots.get(frontend) ?? [];
        values[unpackHostU32(key.slice(-4))] = after!;
        slots.set(frontend, values);
      }
    }
    return [
      ...rest,
      ...[...slots].map(([frontend, values]) => {
        // Only a table of mh has as many slots.
        const isOrdered = values.length > 1000;
        return `${frontend} ${(isOrdered ? values : values.sort()).join('|')}`;
      }),
    ].sort();
  }

  /** What is behind a frontend's element: the endpoint per slot that its chain covers. */
  backends(service: Pick<ElementChange, 'set' | 'key' | 'after'>): (string | undefined)[] {
    const chain = this.chainOf(service) ?? '';
    const [, pick, count = '0', sticky] = /(pick|rr|sh|mh)-(\d+)(-sticky)?/.exec(chain) ?? [];
    const at = (what: string, number: string): string | undefined => {
      const prefix =
        /^(inside-)?/.exec(service.set)![0] + (service.set.endsWith('nodeports') ? 'nodeport-' : '');
      return this.get(`${prefix}${what}` as SetName, service.key + number);
    };
    return Array.from({ length: Number(count) }, (_, slot) => {
      if (pick === 'pick' && sticky === undefined) return at('endpoints', packHostU32(slot));
      const id = at('picks', packHostU32(slot));
      return id === undefined ? undefined : at('picked', id);
    });
  }
}

const PLAIN = {
  scheduler: 'random',
  affinityTimeoutSeconds: undefined,
  sourceRanges: undefined,
  trafficPolicy: 'Cluster',
  healthCheckNodePort: 0,
} as const;

const backend = fc.record({
  ip: fc.constantFrom('10.1.0.1', '10.1.0.2', '10.1.0.3', '10.1.0.4').map((text) => text as Ip),
  port: fc.constantFrom(80, 8080),
  isMaybeLocal: fc.boolean(),
  weight: fc.constantFrom(1, 1, 1, 2, 3, 50),
});
const unique = (backends: readonly Backend[]): Backend[] => [
  ...new Map(backends.map((one) => [`${one.ip}:${one.port}`, one])).values(),
];
const frontends = (service: ServiceKey): fc.Arbitrary<Frontend[]> =>
  fc
    .uniqueArray(
      fc.record({
        kind: fc.constantFrom('ClusterIP' as const, 'NodePort' as const, 'ExternalIP' as const),
        family: fc.constant(4 as const),
        address: fc.constantFrom('10.96.0.1', '10.96.0.2').map((text) => text as Ip),
        protocol: fc.constantFrom('TCP' as const, 'UDP' as const),
        port: fc.constantFrom(80, 443),
        service: fc.constant(service),
        displayName: fc.constantFrom(`${service}`, `${service}:x`),
        backends: fc.array(backend, { maxLength: 6 }).map(unique),
        masquerade: fc.constantFrom('never' as const, 'always' as const),
        whenEmpty: fc.constantFrom('refuse' as const, 'drop' as const),
        insideBackends: fc.option(fc.array(backend, { maxLength: 4 }).map(unique), { nil: undefined }),
        // Tables of mh are long: few of them.
        scheduler: fc.constantFrom(
          ...Array.from({ length: 4 }, () => ['random', 'random', 'rr', 'sh'] as const).flat(),
          'mh' as const,
        ),
        affinityTimeoutSeconds: fc.constantFrom(undefined, undefined, 60, 10_800),
        sourceRanges: fc.option(
          fc
            .subarray(['10.0.0.0/9', '10.128.0.0/9', '192.0.2.1/32'])
            .map((list) => list.map((text) => parseCidr(text)!)),
          { nil: undefined },
        ),
        trafficPolicy: fc.constant(PLAIN.trafficPolicy),
        healthCheckNodePort: fc.constant(PLAIN.healthCheckNodePort),
      }),
      {
        maxLength: 3,
        selector: (one) => `${one.kind === 'NodePort' ? '*' : one.address}${one.protocol}${one.port}`,
      },
    )
    .map((list) =>
      list.map((one) =>
        one.kind === 'NodePort' ? { ...one, address: undefined, sourceRanges: undefined } : one,
      ),
    );

const SERVICES = ['n/a', 'n/b', 'n/c'] as ServiceKey[];

/** The elements as an observation would report them. */
const seenOf = (elements: Elements): Map<4 | 6, SeenElements> => {
  const seen = new Map(
    ([4, 6] as const).map((family) => [family, { elements: noElements(), counters: new Map() }]),
  );
  for (const { family, set, key, after } of elements.byId.values()) {
    seen.get(family)!.elements.get(set)!.set(key, after!);
  }
  return seen;
};

/** A step changes one Service; an address that another Service holds is left to it, as claims see to. */
const history = fc.array(
  fc.constantFrom(...SERVICES).chain((service) => frontends(service).map((list) => ({ service, list }))),
  { maxLength: 20 },
);

function playHistory(steps: { service: ServiceKey; list: Frontend[] }[]) {
  const desired = new Desired();
  const deferred = new Deferred();
  const elements = new Elements();
  elements.apply(desired.elements());
  const chains = new Set<string>(['refuse', 'drop-silently']);
  const current = new Map<ServiceKey, readonly Frontend[]>();
  const idsOf = new Map<ServiceKey, readonly string[]>();
  const flush = (): void => {
    const { elements: changes, objects } = deferred.take();
    elements.apply(changes);
    for (const { name } of objects) chains.delete(name);
  };
  for (const [i, { service, list }] of steps.entries()) {
    const held = new Set([...idsOf].filter(([key]) => key !== service).flatMap(([, ids]) => ids));
    const plans = list.map((one) => ({ one, plan: planFrontend(one, desired) }));
    const free = plans.filter(({ plan }) => !held.has(plan.id));
    const planned = free.map(({ plan }) => plan);
    current.set(
      service,
      free.map(({ one }) => one),
    );
    idsOf.set(
      service,
      planned.map(({ id }) => id),
    );
    const delta: DesiredDelta = desired.update(new Map([[service, planned]]));
    for (const chain of delta.addedChains) {
      const { family } = chain;
      const name = neededChainName(chain);
      expect(deferred.reviveObject({ kind: 'chain', family, name }), 'a chain that waits is there').toBe(
        chains.has(name),
      );
      chains.add(name);
    }
    const now: ElementChange[] = [];
    for (const change of delta.elements) {
      if (mustWait(change)) deferred.addElement(change);
      else {
        const revived = deferred.revive(change);
        if (revived !== undefined) now.push(revived);
      }
    }
    elements.apply(now);
    for (const { set, before, after } of now) {
      if (PICKED_SETS.has(set) && before !== undefined)
        expect(after, 'an id is of one backend').toBeUndefined();
    }
    for (const change of elements.byId.values()) {
      if (!SERVICE_SETS.has(change.set)) continue;
      expect(chains, 'a frontend leads to a chain that is there').toContain(elements.chainOf(change));
      expect(elements.backends(change), 'every slot leads to an endpoint').not.toContain(undefined);
    }
    for (const chain of delta.removedChains) {
      deferred.addObject({ kind: 'chain', family: chain.family, name: neededChainName(chain) });
    }
    if (i % 3 === 2) flush();
  }
  flush();
  flush();
  return { desired, deferred, elements, current };
}

/** What a daemon plans that is told of everything at once. */
function planAll(
  frontendsByService: ReadonlyMap<ServiceKey, readonly Frontend[]>,
  previous: Previous,
): Map<ServiceKey, PlannedFrontend[]> {
  return new Map(
    [...frontendsByService].map(([key, list]) => [key, list.map((one) => planFrontend(one, previous))]),
  );
}

describe('Desired', () => {
  test('a daemon that starts after any history plans what is there', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const { elements, current } = playHistory(steps);
        const seen = seenOf(elements);
        const observed = new Map(
          [...seen].map(([family, table]) => [
            family,
            {
              isDormant: false,
              isPersistent: false,
              owner: undefined,
              sets: new Map(),
              chains: new Map(),
              ...table,
            },
          ]),
        );
        const desired = new Desired();
        desired.learnShapeIds(observed);
        desired.update(planAll(current, previousIn(observed)));
        const waiting: ElementChange[] = [];
        const changes = [...reconcileElements(desired.elements(), seen, new Set(), (c) => waiting.push(c))];
        expect([...changes, ...waiting]).toEqual([]);
      }),
    );
  });

  test('deltas applied one by one give what planning from scratch gives', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const { elements, deferred, current } = playHistory(steps);
        expect(deferred.size).toBe(0);
        const scratch = new Desired();
        scratch.update(planAll(current, scratch));
        const expected = new Elements();
        expected.apply(scratch.elements());
        expect(elements.canonical()).toEqual(expected.canonical());
      }),
      { numRuns: 300 },
    );
  });

  test('after any history a full comparison with the kernel finds nothing to do', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const { desired, elements } = playHistory(steps);
        const seen = seenOf(elements);
        const waiting: ElementChange[] = [];
        const changes = [...reconcileElements(desired.elements(), seen, new Set(), (c) => waiting.push(c))];
        expect([...changes, ...waiting]).toEqual([]);
      }),
    );
  });

  test('a full comparison turns any kernel state into the desired one', () => {
    const junk = fc.array(
      fc.tuple(
        fc.constantFrom('services' as const, 'endpoints' as const, 'hairpin' as const),
        fc.string({ maxLength: 4, unit: 'binary-ascii' }),
        fc.string({ maxLength: 3 }),
      ),
      { maxLength: 5 },
    );
    fc.assert(
      fc.property(history, history, junk, (steps, otherSteps, foreign) => {
        const { desired, elements: expected } = playHistory(steps);
        const { elements } = playHistory(otherSteps);
        for (const [set, key, after] of foreign) {
          const change = { family: 4 as const, set, key, before: undefined, after, service: undefined };
          elements.byId.set(elementId(change), change);
        }
        const seen = seenOf(elements);
        const waiting: ElementChange[] = [];
        elements.apply([...reconcileElements(desired.elements(), seen, new Set(), (c) => waiting.push(c))]);
        // Clients that stick to a backend that is gone must miss it at once, where the frontend goes on with others.
        const frontendOf = ({ family, set, key }: ElementChange) => `${family}${set} ${key.slice(0, -4)}`;
        const isPicked = ({ set }: ElementChange) => PICKED_SETS.has(set);
        const going = new Set([...expected.byId.values()].filter(isPicked).map(frontendOf));
        expect(waiting.filter((one) => isPicked(one) && going.has(frontendOf(one)))).toEqual([]);
        elements.apply(waiting);
        expect(elements.canonical()).toEqual(expected.canonical());
      }),
    );
  });

  test('the networks around the node change by what differs, and together', () => {
    const cidr = fc
      .tuple(
        fc.constantFrom('10.0.0.0', '10.96.0.0', '10.112.0.0', 'fd00::', 'fd00:10::'),
        fc.integer({ min: 4, max: 20 }),
      )
      .map(([ip, prefix]) => parseCidr(`${ip}/${prefix}`)!);
    const networks = fc.record({
      nodePortCidrs: fc.array(cidr, { maxLength: 4 }),
      serviceCidrs: fc.array(cidr, { maxLength: 4 }),
    });
    fc.assert(
      fc.property(fc.array(networks, { minLength: 1, maxLength: 5 }), (steps) => {
        const desired = new Desired();
        const elements = new Elements();
        elements.apply(desired.elements());
        for (const step of steps) {
          const changes = desired.updateSurroundings(step);
          for (const { family, set, together } of changes) expect(together).toBe(`${family}${set}`);
          elements.apply(changes);
          expect(desired.updateSurroundings(step)).toEqual([]);
        }
        const scratch = new Desired();
        scratch.updateSurroundings(steps.at(-1)!);
        const expected = new Elements();
        expected.apply(scratch.elements());
        expect(elements.canonical()).toEqual(expected.canonical());
        const changes = reconcileElements(desired.elements(), seenOf(elements), new Set(), () => undefined);
        expect([...changes]).toEqual([]);
        // An address is in a set when the nearest element below it opens a range.
        const holds = (set: SetName, { ip, family }: Cidr): boolean => {
          const keys = [...elements.byId.values()]
            .filter((one) => one.set === set && one.family === family)
            .map(({ key }) => key)
            .filter((key) => key.slice(0, family === 4 ? 4 : 16) <= packIp(ip))
            .sort();
          const last = keys.at(-1);
          return last !== undefined && intervalEndAddress(last) === undefined;
        };
        const { nodePortCidrs, serviceCidrs } = steps.at(-1)!;
        for (const one of [...nodePortCidrs, ...serviceCidrs]) {
          const isIn = (list: readonly Cidr[]) => list.some((other) => cidrContains(other, one.ip));
          expect(holds('nodeport-addresses', one)).toBe(isIn(nodePortCidrs));
          expect(holds('service-cidrs', one)).toBe(isIn(serviceCidrs));
        }
      }),
    );
  });

  test('one endpoint more or less costs the same whatever the number of endpoints', () => {
    const costOf = (count: number): [number, number] => {
      const desired = new Desired();
      const service = 'n/a' as ServiceKey;
      const plan = (backends: Backend[]): DesiredDelta => {
        const frontend: Frontend = {
          kind: 'ClusterIP',
          family: 4,
          address: '10.96.0.1' as Ip,
          protocol: 'TCP',
          port: 80,
          service,
          displayName: service,
          backends,
          masquerade: 'never',
          whenEmpty: 'refuse',
          insideBackends: undefined,
          ...PLAIN,
        };
        return desired.update(new Map([[service, [planFrontend(frontend, desired)]]]));
      };
      const all = Array.from(
        { length: count },
        (_, i): Backend => ({
          ip: `10.1.${i >> 8}.${i & 255}` as Ip,
          port: 80,
          isMaybeLocal: false,
          weight: 1,
        }),
      );
      plan(all);
      const removal = plan(all.slice(1)).elements.length;
      const addition = plan(all).elements.length;
      return [removal, addition];
    };
    expect(costOf(1000)).toEqual(costOf(3));
    expect(costOf(3)[0]).toBeLessThanOrEqual(5);
  });

  test.each(['random', 'rr', 'sh', 'mh'] as const)(
    'a slot that is not covered any more leads to a backend that lives until it is deleted: %s',
    (scheduler) => {
      const desired = new Desired();
      const elements = new Elements();
      const deferred = new Deferred();
      const service = 'n/a' as ServiceKey;
      const picksTo = (): Set<boolean> => {
        const picks = [...elements.byId.values()].filter(({ set }) => set === 'picks');
        return new Set(
          picks.map(({ key, after }) => elements.get('picked', key.slice(0, -4) + after) !== undefined),
        );
      };
      const put = (numbers: readonly number[]): void => {
        const frontend: Frontend = {
          kind: 'ClusterIP',
          family: 4,
          address: '10.96.0.1' as Ip,
          protocol: 'TCP',
          port: 80,
          service,
          displayName: service,
          backends: numbers.map((n) => ({
            ip: `10.1.0.${n}` as Ip,
            port: 80,
            isMaybeLocal: false,
            weight: 1,
          })),
          masquerade: 'never',
          whenEmpty: 'refuse',
          insideBackends: undefined,
          ...PLAIN,
          scheduler,
          affinityTimeoutSeconds: 60,
        };
        const delta = desired.update(new Map([[service, [planFrontend(frontend, desired)]]]));
        for (const change of delta.elements) if (mustWait(change)) deferred.addElement(change);
        elements.apply(delta.elements.filter((change) => !mustWait(change)));
      };
      elements.apply(desired.elements());
      // Down from 21, where the table of mh is longer.
      put(Array.from({ length: 21 }, (_, n) => n + 1));
      const slotCount = [...elements.byId.values()].filter(({ set }) => set === 'picks').length;
      put([2, 4, 6]);
      expect([...elements.byId.values()].filter(({ set }) => set === 'picks')).toHaveLength(slotCount);
      expect([...elements.byId.values()].filter(({ set }) => set === 'picked')).toHaveLength(3);
      expect(picksTo()).toEqual(new Set([true]));
      deferred.take();
      elements.apply(deferred.take().elements);
      expect(picksTo()).toEqual(new Set([true]));
    },
  );

  test('the address of a Service that another one takes over is rewritten, not lost', () => {
    const desired = new Desired();
    const at = (service: string): PlannedFrontend[] => [
      planFrontend(
        {
          kind: 'ClusterIP',
          family: 4,
          address: '10.96.0.1' as Ip,
          protocol: 'TCP',
          port: 80,
          service: service as ServiceKey,
          displayName: service,
          backends: [],
          masquerade: 'never',
          whenEmpty: 'refuse',
          insideBackends: undefined,
          ...PLAIN,
        },
        desired,
      ),
    ];
    const elements = new Elements();
    elements.apply(desired.update(new Map([['n/a' as ServiceKey, at('n/a')]])).elements);
    elements.apply(
      desired.update(
        new Map([
          ['n/a' as ServiceKey, []],
          ['n/b' as ServiceKey, at('n/b')],
        ]),
      ).elements,
    );
    expect(
      [...elements.byId.values()]
        .filter(({ set }) => set === 'services')
        .map(({ after }) => serviceValueParts(after!).comment),
    ).toEqual(['n/b']);
    expect(
      [...elements.byId.values()].filter(({ set }) => set === 'cluster-ips').map(({ key }) => key),
    ).toEqual([packIp('10.96.0.1' as Ip)]);
  });
});
