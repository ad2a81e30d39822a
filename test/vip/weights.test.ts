// Weights of endpoints: whose entry counts, and that one of weight 0 is as if it were not there.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEFAULT_POLICY, type EndpointWeights } from '../../src/model/service-policy.ts';
import type { Endpoint, Service } from '../../src/model/types.ts';
import { buildFrontends } from '../../src/vip/build-frontends.ts';
import type { Frontend } from '../../src/vip/frontend.ts';
import { buildHealthChecks } from '../../src/vip/health-checks.ts';
import { mergeEndpoints } from '../../src/vip/merge-endpoints.ts';
import { nodeFacts } from '../../src/vip/node-facts.ts';
import { weightOf } from '../../src/vip/weights.ts';
import { ELSEWHERE, endpoint, HERE, ip, type State, service, slice, states } from './objects.ts';

const weights = (some: Partial<EndpointWeights>): EndpointWeights => ({
  byAddress: {},
  byNode: {},
  byZone: {},
  default: 1,
  ...some,
});
const weighted = (some: Partial<EndpointWeights>, over: Partial<Service> = {}): Service =>
  service({ ...over, policy: { ...DEFAULT_POLICY, weights: weights(some) } });

const facts = nodeFacts(
  { kind: 'NodeCIDR' },
  { name: HERE, zone: 'zone-a', addresses: [], podCidrs: [], isEligible: true },
);
const build = (one: Service, endpoints: readonly Endpoint[]) =>
  buildFrontends(one, [slice(endpoints)], { nodeName: HERE, masqueradeAll: false }, facts);

/** `1x5,2x1`: endpoints by their last byte, with their weight; or what becomes of those who find none. */
function balance({ backends, whenEmpty }: Pick<Frontend, 'backends' | 'whenEmpty'>): string {
  const list = backends.map((one) => `${one.ip.split('.')[3]}x${one.weight}`);
  return list.length === 0 ? whenEmpty : list.join();
}

describe('the weight of an endpoint', () => {
  const all = weights({
    byAddress: { '10.1.0.1': 11 },
    byNode: { [ELSEWHERE]: 22 },
    byZone: { 'zone-b': 33 },
    default: 44,
  });
  const at = (address: string, over: Partial<Endpoint>) => endpoint(address, 'ready', over);
  test.each<[string, Endpoint, number]>([
    ['is by its address', at('10.1.0.1', { nodeName: ELSEWHERE, zone: 'zone-b' }), 11],
    ['else by its node', at('10.1.0.2', { nodeName: ELSEWHERE, zone: 'zone-b' }), 22],
    ['else by its zone', at('10.1.0.2', { nodeName: HERE, zone: 'zone-b' }), 33],
    ['else the default', at('10.1.0.2', { nodeName: HERE, zone: 'zone-a' }), 44],
    ['of no node and no zone is the default', at('10.1.0.2', { nodeName: undefined }), 44],
    ['on a node named like a property of every object', at('10.1.0.2', { nodeName: 'constructor' }), 44],
    ['in a zone named like one', at('10.1.0.2', { nodeName: HERE, zone: '__proto__' }), 44],
  ])('%s', (_, one, weight) => {
    expect(weightOf(one, all)).toBe(weight);
  });

  test('may be 0 by the entry that counts', () => {
    expect(weightOf(endpoint('10.1.0.1'), weights({ byAddress: { '10.1.0.1': 0 }, default: 5 }))).toBe(0);
  });

  test('is 1 without weights', () => {
    expect(weightOf(endpoint('10.1.0.1'), undefined)).toBe(1);
  });
});

describe('frontends', () => {
  const [one, two] = [endpoint('10.1.0.1'), endpoint('10.1.0.2')];
  const here = endpoint('10.1.0.3', 'ready', { nodeName: HERE });
  const draining = endpoint('10.1.0.4', 'draining');
  const zone = (of: Endpoint, name: string): Endpoint => ({ ...of, zone: name, zoneHints: [name] });

  test.each<[string, Partial<EndpointWeights>, Endpoint[], string]>([
    ['carry the weights', { byAddress: { '10.1.0.1': 100 }, default: 7 }, [one, two], '1x100,2x7'],
    ['leave out what weighs nothing', { byAddress: { '10.1.0.1': 0 } }, [one, two], '2x1'],
    ['refuse when nothing weighs anything', { default: 0 }, [one, two], 'refuse'],
    ['let draining endpoints stand in', { byAddress: { '10.1.0.1': 0 } }, [one, draining], '4x1'],
    ['which may weigh nothing themselves', { default: 0 }, [draining], 'refuse'],
    [
      'look elsewhere when the zone is drained, hints or not',
      { byZone: { 'zone-a': 0 } },
      [zone(one, 'zone-a'), zone(two, 'zone-b')],
      '2x1',
    ],
    [
      'keep to the zone while one endpoint there weighs something',
      { byAddress: { '10.1.0.1': 0 } },
      [zone(one, 'zone-a'), zone(here, 'zone-a'), zone(two, 'zone-b')],
      '3x1',
    ],
  ])('%s', (_, some, endpoints, expected) => {
    expect(build(weighted(some), endpoints).map(balance)).toEqual([expected]);
  });

  const outward = {
    type: 'LoadBalancer',
    isExternalLocal: true,
    loadBalancerIps: [ip('203.0.113.1')],
    healthCheckNodePort: 32_000,
  } as const;

  test('of a Local policy drop when only other nodes have endpoints that weigh something', () => {
    const [inside, outside] = build(weighted({ byNode: { [HERE]: 0 } }, outward), [one, here]);
    expect(balance(inside!)).toBe('1x1');
    expect(balance(outside!)).toBe('drop');
    expect(balance({ ...outside!, backends: outside!.insideBackends! })).toBe('1x1');
  });

  test('and the health check tells the load balancer to send nothing here', () => {
    const local = (some: Partial<EndpointWeights>) =>
      buildHealthChecks(weighted(some, outward), [slice([one, here])], HERE).map(
        (check) => check.localEndpoints,
      );
    expect(local({})).toEqual([1]);
    expect(local({ byNode: { [HERE]: 0 } })).toEqual([0]);
    expect(local({ byNode: { [ELSEWHERE]: 0 } })).toEqual([1]);
  });

  test('of a Service without weights weigh all alike, in every list', () => {
    for (const { backends, insideBackends } of build(service(outward), [one, here])) {
      for (const { weight } of [...backends, ...(insideBackends ?? [])]) expect(weight).toBe(1);
    }
  });

  test('have the scheduler and the affinity of their Service, on every address', () => {
    const policy = { ...DEFAULT_POLICY, scheduler: 'mh' } as const;
    const frontends = build(service({ ...outward, policy, affinityTimeoutSeconds: 60 }), [one]);
    expect(frontends.map((some) => [some.kind, some.scheduler, some.affinityTimeoutSeconds])).toEqual([
      ['ClusterIP', 'mh', 60],
      ['LoadBalancer', 'mh', 60],
    ]);
  });
});

test('of two entries for one address only the one that is believed has a say', () => {
  const [winner, loser] = [
    endpoint('10.1.0.1', 'ready'),
    endpoint('10.1.0.1', 'draining', { nodeName: 'node-3' }),
  ];
  const http = { name: 'http', protocol: 'TCP' } as const;
  const merge = (byNode: Record<string, number>) =>
    mergeEndpoints(http, 4, [slice([loser, winner])], HERE, weights({ byNode })).map(
      ({ backend }) => backend.weight,
    );
  expect(merge({ [ELSEWHERE]: 0, 'node-3': 9 })).toEqual([]);
  expect(merge({ [ELSEWHERE]: 9, 'node-3': 0 })).toEqual([9]);
});

test('whatever the weights, endpoints are as if those of weight 0 were not there, and order does not matter', () => {
  const names = fc.constantFrom(HERE, ELSEWHERE, 'node-3', undefined);
  const zones = fc.constantFrom('zone-a', 'zone-b', undefined);
  const anyEndpoint = fc
    .record({
      address: fc.integer({ min: 1, max: 5 }).map((n) => `10.1.0.${n}`),
      state: fc.constantFrom(...(Object.keys(states) as State[])),
      nodeName: names,
      zone: zones,
      zoneHints: fc.constantFrom(undefined, ['zone-a'], ['zone-b']),
    })
    .map(({ address, state, zone, ...over }) =>
      endpoint(address, state, zone === undefined ? over : { ...over, zone }),
    );
  const weight = fc.constantFrom(0, 0, 1, 2, 100);
  const anyWeights = fc.record({
    byAddress: fc.dictionary(fc.constantFrom('10.1.0.1', '10.1.0.2'), weight),
    byNode: fc.dictionary(fc.constantFrom(HERE, ELSEWHERE, 'node-3'), weight),
    byZone: fc.dictionary(fc.constantFrom('zone-a', 'zone-b'), weight),
    default: weight,
  });
  const policies = fc.record({ isInternalLocal: fc.boolean(), isExternalLocal: fc.boolean() });
  const external = { loadBalancerIps: [ip('203.0.113.1')] };
  fc.assert(
    fc.property(fc.array(anyEndpoint, { maxLength: 8 }), anyWeights, policies, (endpoints, some, over) => {
      const one = weighted(some, { ...external, ...over });
      const built = build(one, endpoints);
      expect(build(one, endpoints.toReversed())).toEqual(built);
      const http = { name: 'http', protocol: 'TCP' } as const;
      const believed = mergeEndpoints(http, 4, [slice(endpoints)], HERE).map((merged) => merged.endpoint);
      const weighing = believed.filter((of) => weightOf(of, some) > 0);
      const without = build(service({ ...external, ...over }), weighing);
      const plain = (frontends: readonly Frontend[]) =>
        frontends.map(({ backends, insideBackends, whenEmpty }) => ({
          backends: backends.map((backend) => backend.ip),
          inside: insideBackends?.map((backend) => backend.ip),
          whenEmpty,
        }));
      expect(plain(built)).toEqual(plain(without));
      for (const { backends } of built) {
        for (const backend of backends) {
          expect(backend.weight).toBe(weightOf(believed.find((of) => of.ip === backend.ip)!, some));
        }
      }
    }),
    { numRuns: 1000 },
  );
});
