// Any value at all, and valid objects with any value anywhere: builders answer, and what they build is valid.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildEndpointSlice } from '../../src/model/build-endpoint-slice.ts';
import { buildNode } from '../../src/model/build-node.ts';
import { buildService } from '../../src/model/build-service.ts';
import { buildServiceCidr } from '../../src/model/build-service-cidr.ts';
import type { Built } from '../../src/model/built.ts';
import { type Cidr, familyOf, formatCidr, parseCidr, parseIp } from '../../src/model/ip.ts';
import { mirrorEndpoints } from '../../src/model/mirror-endpoints.ts';
import { MAX_WEIGHT, SCHEDULERS } from '../../src/model/service-policy.ts';
import type { EndpointSlice, Node, Service, ServicePort } from '../../src/model/types.ts';

const service = {
  metadata: {
    name: 'web',
    namespace: 'default',
    labels: { a: 'b' },
    uid: 'u',
    creationTimestamp: '2024-01-01T00:00:00Z',
    annotations: {
      'kproxy-ts.io/scheduler': 'rr',
      'kproxy-ts.io/weights': '10.1.0.1=0,node/node-1=50,zone/zone-a=20,default=10',
      'kproxy-ts.io/removed-endpoint-tcp': 'reset-after=30s',
    },
  },
  spec: {
    type: 'LoadBalancer',
    clusterIP: '10.96.0.1',
    clusterIPs: ['10.96.0.1', 'fd00::1'],
    ipFamilies: ['IPv4', 'IPv6'],
    externalIPs: ['203.0.113.1'],
    internalTrafficPolicy: 'Local',
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: 32000,
    sessionAffinity: 'ClientIP',
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
    loadBalancerSourceRanges: ['192.0.2.0/24', 'fd00::/16'],
    ports: [
      { name: 'http', port: 80, nodePort: 30080 },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ],
  },
  status: { loadBalancer: { ingress: [{ ip: '203.0.113.80', ipMode: 'VIP' }] } },
};
const slice = {
  metadata: { name: 'web-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
  endpoints: [
    {
      addresses: ['10.1.0.1'],
      conditions: { ready: true, serving: true, terminating: false },
      hints: { forZones: [{ name: 'zone-a' }], forNodes: [{ name: 'node-1' }] },
      nodeName: 'node-1',
      zone: 'zone-a',
    },
  ],
};
const node = {
  metadata: { name: 'node-1', labels: { 'topology.kubernetes.io/zone': 'zone-a' } },
  spec: { podCIDR: '10.1.0.0/24', podCIDRs: ['10.1.0.0/24', 'fd00:1::/64'] },
  status: { addresses: [{ type: 'InternalIP', address: '10.0.0.1' }] },
};
const serviceCidr = {
  metadata: { name: 'kubernetes' },
  spec: { cidrs: ['10.96.0.0/16', 'fd00:10:96::/112'] },
};
const endpoints = {
  metadata: { name: 'web', namespace: 'default' },
  subsets: [
    { addresses: [{ ip: '10.1.0.1' }], notReadyAddresses: [{ ip: 'fd00::1' }], ports: [{ port: 80 }] },
  ],
};

const anything = fc.oneof(
  fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withNullPrototype: true,
    withSparseArray: true,
  }),
  fc.jsonValue(),
  fc.constantFrom<unknown>(
    '',
    '10.96.0.1',
    'fd00::1',
    'None',
    'IPv6',
    'SCTP',
    0,
    1,
    65536,
    -1,
    1e21,
    Number.NaN,
  ),
);

/** Every path of an object, its own included. */
function paths(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, one]) => paths(one, [...path, key]))];
}

function replaced(value: unknown, [key, ...rest]: readonly string[], by: unknown): unknown {
  if (key === undefined) return by;
  const copy: Record<string, unknown> = Array.isArray(value)
    ? ([...value] as never)
    : { ...(value as object) };
  copy[key] = replaced(copy[key], rest, by);
  return copy;
}

/** Anything, or the sample with one or two values in it replaced by anything. */
function hostile(sample: object): fc.Arbitrary<unknown> {
  const change = fc.tuple(fc.constantFrom(...paths(sample)), anything);
  const changed = fc.array(change, { minLength: 1, maxLength: 2 }).map((changes) =>
    changes.reduce<unknown>((value, [path, by]) => {
      try {
        return replaced(value, path, by);
      } catch {
        return by;
      }
    }, sample),
  );
  return fc.oneof({ weight: 1, arbitrary: anything }, { weight: 4, arbitrary: changed });
}

function check<T>(sample: object, build: (object: unknown) => Built<T>, isValid: (value: T) => void): void {
  expect(build(sample)).toMatchObject({ kind: 'built', warnings: [] });
  fc.assert(
    fc.property(hostile(sample), (object) => {
      const built = build(object);
      if (built.kind === 'built') isValid(built.value);
      else expect(built.reason).toMatch(/^.{1,400}$/);
    }),
    { numRuns: 3000 },
  );
}

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

function expectPort({ name, protocol, port }: Omit<ServicePort, 'nodePort'>): void {
  expect(name).toMatch(/^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$/);
  expect(['TCP', 'UDP', 'SCTP']).toContain(protocol);
  expect(Number.isInteger(port) && port >= 1 && port <= 65535).toBe(true);
}

function expectService(value: Service): void {
  expect(value.namespace).toMatch(LABEL);
  expect(value.name).toMatch(LABEL);
  expect(value.key).toBe(`${value.namespace}/${value.name}`);
  expect(value.createdAtMs).not.toBeNaN();
  expect(value.isProxied).toBe(value.clusterIps.length > 0);
  expect(value.ipFamilies).toEqual(value.clusterIps.map(familyOf));
  expect(new Set(value.ipFamilies).size).toBe(value.ipFamilies.length);
  for (const ip of [...value.clusterIps, ...value.externalIps, ...value.loadBalancerIps]) {
    expect(parseIp(ip)).toBe(ip);
    expect(value.ipFamilies).toContain(familyOf(ip));
  }
  expect(typeof value.isInternalLocal).toBe('boolean');
  expect(typeof value.isExternalLocal).toBe('boolean');
  const { healthCheckNodePort } = value;
  expect(
    Number.isInteger(healthCheckNodePort) && healthCheckNodePort >= 0 && healthCheckNodePort <= 65535,
  ).toBe(true);
  if (healthCheckNodePort !== 0) expect(value).toMatchObject({ type: 'LoadBalancer', isExternalLocal: true });
  expectPolicy(value);
  for (const port of value.ports) {
    expectPort(port);
    expect(Number.isInteger(port.nodePort) && port.nodePort >= 0 && port.nodePort <= 65535).toBe(true);
  }
  expect(new Set(value.ports.map((one) => `${one.port}/${one.protocol}`)).size).toBe(value.ports.length);
}

function expectCidrs(cidrs: readonly Cidr[]): void {
  for (const cidr of cidrs) expect(parseCidr(formatCidr(cidr))).toEqual(cidr);
}

function expectPolicy({ affinityTimeoutSeconds: seconds, sourceRanges, policy }: Service): void {
  if (seconds !== undefined)
    expect(Number.isInteger(seconds) && seconds >= 1 && seconds <= 86_400).toBe(true);
  expectCidrs([...(sourceRanges[4] ?? []), ...(sourceRanges[6] ?? [])]);
  expect(sourceRanges[4]?.every(({ family }) => family === 4)).not.toBe(false);
  expect(sourceRanges[6]?.every(({ family }) => family === 6)).not.toBe(false);
  expect(SCHEDULERS).toContain(policy.scheduler);
  const { weights, removedTcp } = policy;
  if (removedTcp.kind === 'reset') expect(Number.isSafeInteger(removedTcp.graceMs)).toBe(true);
  if (weights === undefined) return;
  const all = [weights.byAddress, weights.byNode, weights.byZone].flatMap((one) => Object.values(one));
  for (const weight of [...all, weights.default]) {
    expect(Number.isInteger(weight) && weight >= 0 && weight <= MAX_WEIGHT).toBe(true);
  }
}

function expectSlice(value: EndpointSlice): void {
  expect(value.serviceKey).toMatch(/^[-a-z0-9]+\/[-a-z0-9]+$/);
  value.ports.forEach(expectPort);
  for (const { ip, nodeName, zone, ...rest } of value.endpoints) {
    expect(parseIp(ip)).toBe(ip);
    expect(familyOf(ip)).toBe(value.family);
    for (const is of [rest.isReady, rest.isServing, rest.isTerminating]) expect(typeof is).toBe('boolean');
    for (const hints of [rest.zoneHints, rest.nodeHints]) {
      if (hints === undefined) continue;
      expect(hints).not.toHaveLength(0);
      for (const name of hints) expect(name).toMatch(/./s);
    }
    expect(['string', 'undefined']).toContain(typeof nodeName);
    expect(zone).not.toBe('');
  }
}

function expectNode(value: Node): void {
  expect(value.name).not.toBe('');
  expect(value.zone === undefined || (typeof value.zone === 'string' && value.zone !== '')).toBe(true);
  for (const ip of value.addresses) expect(parseIp(ip)).toBe(ip);
  expectCidrs(value.podCidrs);
}

describe('hostile input', () => {
  it('never yields an invalid Service', () => check(service, buildService, expectService));
  it('never yields an invalid EndpointSlice', () => check(slice, buildEndpointSlice, expectSlice));
  it('never yields an invalid Node', () => check(node, buildNode, expectNode));
  it('never yields an invalid ServiceCIDR', () =>
    check(serviceCidr, buildServiceCidr, ({ cidrs }) => expectCidrs(cidrs)));
  it('never yields mirrored slices that do not build', () => {
    check(endpoints, mirrorEndpoints, (slices) => {
      for (const one of slices)
        expect(buildEndpointSlice(one)).toMatchObject({ kind: 'built', warnings: [] });
    });
  });
});
