// Incremental planning: however Services change, applying each delta gives what planning from scratch gives.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Deferred } from '../../../src/mode/nftables/deferred.ts';
import { Desired, type DesiredDelta } from '../../../src/mode/nftables/desired.ts';
import { type ElementChange, elementId, mustWait } from '../../../src/mode/nftables/element-change.ts';
import {
  ENDPOINT_SETS,
  intervalEndAddress,
  SERVICE_SETS,
  type SetName,
  SHAPE_SETS,
  serviceValueParts,
} from '../../../src/mode/nftables/names.ts';
import { noElements } from '../../../src/mode/nftables/observed.ts';
import { type PlannedFrontend, planFrontend } from '../../../src/mode/nftables/planned-frontend.ts';
import { reconcileElements, type SeenElements } from '../../../src/mode/nftables/reconcile-elements.ts';
import { shapeChain } from '../../../src/mode/nftables/shape.ts';
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
      expect(this.byId.get(elementId(change))?.after, 'deletes what is there').toBe(change.before);
      this.byId.delete(elementId(change));
    }
    for (const change of list) {
      if (change.after === undefined) continue;
      expect(this.byId.has(elementId(change)), 'adds what is not there').toBe(false);
      this.byId.set(elementId(change), change);
    }
  }

  /** Content with the slots of each frontend sorted: histories may place backends differently. */
  canonical(): string[] {
    const slots = new Map<string, string[]>();
    const rest: string[] = [];
    for (const { set, family, key, after } of this.byId.values()) {
      if (!ENDPOINT_SETS.has(set)) rest.push(`${family}${set} ${key} ${after}`);
      else {
        const frontend = `${family}${set} ${key.slice(0, -4)}`;
        slots.set(frontend, [...(slots.get(frontend) ?? []), after!]);
      }
    }
    return [
      ...rest,
      ...[...slots].map(([frontend, values]) => `${frontend} ${values.sort().join('|')}`),
    ].sort();
  }
}

const PLAIN = { scheduler: 'random', affinityTimeoutSeconds: undefined, sourceRanges: undefined } as const;

const backend = fc.record({
  ip: fc.constantFrom('10.1.0.1', '10.1.0.2', '10.1.0.3', '10.1.0.4').map((text) => text as Ip),
  port: fc.constantFrom(80, 8080),
  isMaybeLocal: fc.boolean(),
  weight: fc.constant(1),
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
        scheduler: fc.constant(PLAIN.scheduler),
        affinityTimeoutSeconds: fc.constant(PLAIN.affinityTimeoutSeconds),
        sourceRanges: fc.option(
          fc
            .subarray(['10.0.0.0/9', '10.128.0.0/9', '192.0.2.1/32'])
            .map((list) => list.map((text) => parseCidr(text)!)),
          { nil: undefined },
        ),
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
  const current = new Map<ServiceKey, readonly PlannedFrontend[]>();
  const flush = (): void => {
    const { elements: changes, objects } = deferred.take();
    elements.apply(changes);
    for (const { name } of objects) chains.delete(name);
  };
  for (const [i, { service, list }] of steps.entries()) {
    const held = new Set(
      [...current].filter(([key]) => key !== service).flatMap(([, planned]) => planned.map((p) => p.id)),
    );
    const planned = list
      .map((one) => planFrontend(one, (place) => desired.slots(place)))
      .filter(({ id }) => !held.has(id));
    current.set(service, planned);
    const delta: DesiredDelta = desired.update(new Map([[service, planned]]));
    for (const { family, shape } of delta.addedChains) {
      const name = shapeChain(shape);
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
    const shapes = new Map<string, string>();
    for (const { set, family, key, after } of elements.byId.values()) {
      if (SHAPE_SETS.has(set)) shapes.set(`${family}${set}${key}`, after!);
    }
    for (const { set, family, after } of elements.byId.values()) {
      if (!SERVICE_SETS.has(set)) continue;
      const chain = shapes.get(
        `${family}${set.startsWith('inside-') ? 'inside-' : ''}shapes${serviceValueParts(after!).shapeId}`,
      );
      expect(chains, 'a frontend leads to a chain that is there').toContain(chain);
    }
    for (const { family, shape } of delta.removedChains) {
      deferred.addObject({ kind: 'chain', family, name: shapeChain(shape) });
    }
    if (i % 3 === 2) flush();
  }
  flush();
  flush();
  return { desired, deferred, elements, current };
}

describe('Desired', () => {
  test('deltas applied one by one give what planning from scratch gives', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const { elements, deferred, current } = playHistory(steps);
        expect(deferred.size).toBe(0);
        const scratch = new Desired();
        scratch.update(new Map([...current].map(([key, planned]) => [key, planned])));
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
        return desired.update(
          new Map([[service, [planFrontend(frontend, (place) => desired.slots(place))]]]),
        );
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
        (place) => desired.slots(place),
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
