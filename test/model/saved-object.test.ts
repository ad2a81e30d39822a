// What is kept over a restart is what was known, key by key.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type KnownObject, loadObject, SAVED_VERSION, saveObject } from '../../src/model/saved-object.ts';
import { DEFAULT_POLICY } from '../../src/model/service-policy.ts';
import type { ObjectKind, SourceEvent } from '../../src/model/source-event.ts';
import { UNRESTRICTED } from '../../src/model/source-ranges.ts';
import { Store } from '../../src/model/store.ts';
import { arbitraryScenario } from '../behaviour/arbitrary-cluster.ts';
import { service, slice } from '../support/manifests.ts';

const upsert = (object: object): SourceEvent => ({
  type: 'upsert',
  kind: (object as { kind: ObjectKind }).kind,
  object,
  origin: '',
});
const knownOf = (objects: readonly object[]): KnownObject[] => {
  const store = new Store();
  store.apply(objects.map(upsert));
  return [...store.known()];
};
const serviceOf = (options: object): KnownObject[] =>
  knownOf([service('a', { clusterIps: ['10.96.0.1'], ports: [{ port: 80 }], ...options })]);

test('everything comes back as it was, keys in their order, undefined and Infinity included', () => {
  fc.assert(
    fc.property(arbitraryScenario, ({ objects }) => {
      const known = knownOf(objects);
      const loaded = known.map((object) => loadObject(saveObject(object)));
      expect(loaded).toStrictEqual(known);
      expect(loaded.map(keysOf)).toEqual(known.map(keysOf));
    }),
    { numRuns: 200 },
  );
});

test.each([
  ['no creation time', {}],
  ['a creation time', { createdAt: '2024-01-01T00:00:00Z' }],
  ['a source range that lets nobody in', { loadBalancerIps: ['192.0.2.1'], sourceRanges: ['10.0.0.300/8'] }],
  ['a limit', { annotations: { 'kproxy-ts.io/max-connections': '7' } }],
  ['the PROXY protocol', { annotations: { 'kproxy-ts.io/proxy-protocol': 'v2' } }],
  ['removed endpoints', { annotations: { 'kproxy-ts.io/removed-endpoint-tcp': 'reset-after=5s' } }],
])('a Service with %s', (_, options) => {
  const known = serviceOf(options);
  expect(known).toHaveLength(1);
  expect(known.map((object) => loadObject(saveObject(object)))).toStrictEqual(known);
});

test('what many Services share is shared again', () => {
  const { value } = loadObject(saveObject(serviceOf({})[0]!)) as Extract<KnownObject, { kind: 'Service' }>;
  expect(value.policy).toBe(DEFAULT_POLICY);
  expect(value.sourceRanges).toBe(UNRESTRICTED);
});

test('a line that is none of ours', () => {
  for (const line of ['', '{}', '["Pod",{}]', '["Service",{"key":"n/a"}]', '["toString",{}]', '[]', 'null']) {
    expect(() => loadObject(line), line).toThrow();
  }
});

describe('the form of this version', () => {
  // When one of these changes, SAVED_VERSION has to.
  test.each([
    [
      'Service',
      () => serviceOf({ createdAt: '2024-01-01T00:00:00Z', affinitySeconds: 10 }),
      '["Service",{"key":"default/a","namespace":"default","name":"a","uid":"","createdAtMs":1704067200000,"type":"ClusterIP",' +
        '"isProxied":true,"clusterIps":["10.96.0.1"],"ipFamilies":[4],"externalIps":[],"loadBalancerIps":[],' +
        '"isInternalLocal":false,"isExternalLocal":false,"healthCheckNodePort":0,"affinityTimeoutSeconds":10,' +
        '"sourceRanges":{},"policy":{"scheduler":"random","schedulerFlags":[],"isDirect":false,"removedTcp":{"kind":"keep"},"proxyProtocol":"none"},' +
        '"ports":[{"name":"","protocol":"TCP","port":80,"nodePort":0}]}]',
    ],
    [
      'EndpointSlice',
      () =>
        knownOf([
          slice('a', 'a-1', {
            ports: [{ name: 'x', port: 80 }],
            endpoints: [{ ip: '10.1.0.1', zone: 'z', nodeName: 'n', zoneHints: ['z'] }],
          }),
        ]),
      '["EndpointSlice",{"key":"default/a-1","serviceKey":"default/a","family":4,"ports":[{"name":"x","protocol":"TCP","port":80}],' +
        '"endpoints":[{"ip":"10.1.0.1","isReady":true,"isServing":true,"isTerminating":false,"zoneHints":["z"],"nodeName":"n","zone":"z"}]}]',
    ],
    [
      'Node',
      () =>
        knownOf([
          {
            kind: 'Node',
            metadata: { name: 'n' },
            spec: { podCIDRs: ['10.1.0.0/24'] },
            status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] },
          },
        ]),
      '["Node",{"name":"n","addresses":["192.0.2.1"],"podCidrs":[{"ip":"10.1.0.0","prefix":24,"family":4}],"isEligible":true}]',
    ],
    [
      'ServiceCIDR',
      () => knownOf([{ kind: 'ServiceCIDR', metadata: { name: 's' }, spec: { cidrs: ['fd00::/112'] } }]),
      '["ServiceCIDR",{"name":"s","cidrs":[{"ip":"fd00::","prefix":112,"family":6}]}]',
    ],
  ])('%s', (_, known, line) => {
    expect(SAVED_VERSION).toBe(3);
    expect(known().map(saveObject)).toEqual([line]);
  });
});

/** All keys of a tree, in order. */
function keysOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.entries(value).map(([key, inner]) => [key, keysOf(inner)]);
}
