// Service + slices → Frontends: which addresses, which traffic gets which endpoints, who is masqueraded.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseCidr } from '../../src/model/ip.ts';
import { DEFAULT_POLICY } from '../../src/model/service-policy.ts';
import type { Endpoint, EndpointSlice, Service } from '../../src/model/types.ts';
import { buildFrontends, type FrontendSettings } from '../../src/vip/build-frontends.ts';
import { type Frontend, frontendKey } from '../../src/vip/frontend.ts';
import { nodeFacts } from '../../src/vip/node-facts.ts';
import { ELSEWHERE, endpoint, HERE, ip, type State, service, slice, states } from './objects.ts';

const settings: FrontendSettings = { nodeName: HERE, masqueradeAll: false };

/** What the node says: its zone, and a pod network of IPv4. */
const facts = nodeFacts(
  { kind: 'ClusterCIDR', cidrs: [parseCidr('10.1.0.0/16')!] },
  { name: HERE, zone: 'zone-a', addresses: [], podCidrs: [], isEligible: true },
);

const build = (one: Service, slices: readonly EndpointSlice[], over: Partial<FrontendSettings> = {}) =>
  buildFrontends(one, slices, { ...settings, ...over }, facts);

const summary = (frontends: readonly Frontend[]) =>
  frontends.map(
    (one) =>
      `${one.kind} ${frontendKey(one)} ${one.masquerade} ${one.backends.map((b) => `${b.ip}:${b.port}`)}`,
  );

describe('addresses', () => {
  test('one frontend per address, port and family', () => {
    const frontends = build(
      service({
        clusterIps: [ip('10.96.0.1'), ip('fd00::1')],
        ipFamilies: [4, 6],
        externalIps: [ip('192.0.2.1'), ip('2001:db8::1')],
        loadBalancerIps: [ip('203.0.113.1')],
        ports: [
          { name: 'http', protocol: 'TCP', port: 80, nodePort: 30080 },
          { name: 'dns', protocol: 'UDP', port: 53, nodePort: 0 },
        ],
      }),
      [],
    );
    expect(summary(frontends)).toEqual([
      'ClusterIP 10.96.0.1:80/TCP off-cluster ',
      'ExternalIP 192.0.2.1:80/TCP always ',
      'LoadBalancer 203.0.113.1:80/TCP always ',
      'NodePort *v4:30080/TCP always ',
      'ClusterIP [fd00::1]:80/TCP never ',
      'ExternalIP [2001:db8::1]:80/TCP always ',
      'NodePort *v6:30080/TCP always ',
      'ClusterIP 10.96.0.1:53/UDP off-cluster ',
      'ExternalIP 192.0.2.1:53/UDP always ',
      'LoadBalancer 203.0.113.1:53/UDP always ',
      'ClusterIP [fd00::1]:53/UDP never ',
      'ExternalIP [2001:db8::1]:53/UDP always ',
    ]);
  });

  test('what only some modes can do is asked of every frontend, and absent where it is not asked for', () => {
    const policy = { ...DEFAULT_POLICY, maxConnections: 7, proxyProtocol: 'v2' as const };
    const asked = build(
      service({ clusterIps: [ip('10.96.0.1')], externalIps: [ip('192.0.2.1')], policy }),
      [],
    );
    expect(asked).toHaveLength(2);
    for (const one of asked) expect(one).toMatchObject({ maxConnections: 7, proxyProtocol: 'v2' });
    const [plain] = build(service({ clusterIps: [ip('10.96.0.1')] }), []);
    expect(Object.keys(plain!)).not.toContain('maxConnections');
    expect(Object.keys(plain!)).not.toContain('proxyProtocol');
  });

  test('a Service that is left alone has none', () => {
    expect(build(service({ isProxied: false }), [slice(['10.1.0.1'])])).toEqual([]);
  });

  test('an address named twice counts once, as what it is named first', () => {
    const both = service({ externalIps: [ip('192.0.2.1')], loadBalancerIps: [ip('192.0.2.1')] });
    expect(build(both, []).map(({ kind }) => kind)).toEqual(['ClusterIP', 'ExternalIP']);
  });

  test('--masquerade-all masquerades cluster IPs whoever asks', () => {
    const [frontend] = build(service(), [], { masqueradeAll: true });
    expect(frontend!.masquerade).toBe('always');
  });
});

const external = {
  type: 'LoadBalancer',
  externalIps: [ip('192.0.2.1')],
  loadBalancerIps: [ip('203.0.113.1')],
  ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 30080 }],
} as const;
const here = endpoint('10.1.0.1', 'ready', { nodeName: HERE });
const there = endpoint('10.1.0.2', 'ready', { nodeName: ELSEWHERE });
const hereDraining = endpoint('10.1.0.1', 'draining', { nodeName: HERE });
const thereDraining = endpoint('10.1.0.2', 'draining', { nodeName: ELSEWHERE });

/** What the clients of a Frontend get: `1,2 always`, `drop`, `2 never, inside 1,2`; endpoints by their last byte. */
function treatment({ backends, masquerade, whenEmpty, insideBackends }: Frontend): string {
  const list = (some: Frontend['backends']) =>
    some.length === 0 ? whenEmpty : some.map((one) => one.ip.split('.')[3]).join();
  const outside = backends.length === 0 ? whenEmpty : `${list(backends)} ${masquerade}`;
  return insideBackends === undefined ? outside : `${outside}, inside ${list(insideBackends)}`;
}

describe('traffic policies', () => {
  const internal = { isInternalLocal: true };
  const local = { isExternalLocal: true };
  const neither = {};
  const bothLocal = { ...internal, ...local };
  test.each<[string, Partial<Service>, Endpoint[], string, string]>([
    ['Cluster', neither, [here, there], '1,2 off-cluster', '1,2 always'],
    ['Cluster, none here', neither, [there], '2 off-cluster', '2 always'],
    ['Cluster, only draining ones', neither, [hereDraining, thereDraining], '1,2 off-cluster', '1,2 always'],
    ['Cluster, no endpoint', neither, [], 'refuse', 'refuse'],
    ['Cluster, none usable', neither, [endpoint('10.1.0.1', 'unready')], 'refuse', 'refuse'],
    ['internal Local', internal, [here, there], '1 off-cluster', '1,2 always'],
    ['internal Local, none here', internal, [there], 'drop', '2 always'],
    ['internal Local, only draining here', internal, [hereDraining, there], '1 off-cluster', '2 always'],
    ['internal Local, draining elsewhere', internal, [thereDraining], 'drop', '2 always'],
    ['internal Local, no endpoint', internal, [], 'refuse', 'refuse'],
    ['external Local', local, [here, there], '1,2 off-cluster', '1 never, inside 1,2'],
    ['external Local, all here', local, [here], '1 off-cluster', '1 never, inside 1'],
    ['external Local, none here', local, [there], '2 off-cluster', 'drop, inside 2'],
    [
      'external Local, only draining here',
      local,
      [hereDraining, there],
      '2 off-cluster',
      '1 never, inside 2',
    ],
    ['external Local, draining elsewhere', local, [thereDraining], '2 off-cluster', 'drop, inside 2'],
    ['external Local, no endpoint', local, [], 'refuse', 'refuse, inside refuse'],
    ['both Local', bothLocal, [here, there], '1 off-cluster', '1 never, inside 1,2'],
    ['both Local, none here', bothLocal, [there], 'drop', 'drop, inside 2'],
    ['both Local, no endpoint', bothLocal, [], 'refuse', 'refuse, inside refuse'],
  ])('%s', (_, policies, endpoints, clusterIp, others) => {
    const frontends = build(service({ ...external, ...policies }), [slice(endpoints)]);
    expect(frontends.map((one) => `${one.kind}: ${treatment(one)}`)).toEqual([
      `ClusterIP: ${clusterIp}`,
      `ExternalIP: ${others}`,
      `LoadBalancer: ${others}`,
      `NodePort: ${others}`,
    ]);
  });

  test.each<[string, Partial<Service>]>([
    ['an external IP', { externalIps: [ip('192.0.2.1')] }],
    ['a load balancer IP', { loadBalancerIps: [ip('203.0.113.1')] }],
    ['a node port', { ports: external.ports }],
  ])(
    '%s alone makes the cluster list needed under internal Local, and the local one under external Local',
    (_, over) => {
      const [, inward] = build(service({ ...over, ...internal }), [slice([here, there])]);
      expect(treatment(inward!)).toBe('1,2 always');
      const [, outward] = build(service({ ...over, ...local }), [slice([here, there])]);
      expect(treatment(outward!)).toBe('1 never, inside 1,2');
    },
  );

  test('topology holds for what may go anywhere, inside too, and not for what must stay', () => {
    const hinted = (one: Endpoint, zone: string) => ({ ...one, zoneHints: [zone] });
    const slices = [slice([hinted(here, 'zone-b'), hinted(there, 'zone-a')])];
    expect(build(service({ ...external, ...local }), slices).map(treatment)).toEqual([
      '2 off-cluster',
      ...Array(3).fill('1 never, inside 2'),
    ]);
  });

  test('--masquerade-all is about cluster IPs only', () => {
    const frontends = build(service({ ...external, ...local }), [slice([here])], { masqueradeAll: true });
    expect(frontends.map(({ masquerade }) => masquerade)).toEqual(['always', 'never', 'never', 'never']);
  });

  test('families are selected apart', () => {
    const dual = service({ ...internal, clusterIps: [ip('10.96.0.1'), ip('fd00::1')], ipFamilies: [4, 6] });
    const v6 = slice([endpoint('fd00:1::1', 'ready', { nodeName: ELSEWHERE })], { family: 6 });
    expect(build(dual, [slice([here]), v6]).map(treatment)).toEqual(['1 off-cluster', 'drop']);
    expect(build(dual, [slice([here])]).map(treatment)).toEqual(['1 off-cluster', 'refuse']);
  });
});

describe('of any Service and endpoints', () => {
  const anyEndpoint = fc
    .record({
      address: fc.integer({ min: 1, max: 6 }).map((n) => `10.1.0.${n}`),
      state: fc.constantFrom(...(Object.keys(states) as State[])),
      nodeName: fc.constantFrom(HERE, ELSEWHERE, undefined),
      zoneHints: fc.constantFrom(undefined, ['zone-a'], ['zone-b']),
    })
    .map(({ address, state, ...over }) => endpoint(address, state, over));
  const anySlices = fc
    .array(fc.array(anyEndpoint, { maxLength: 4 }), { maxLength: 4 })
    .map((lists) => lists.map((list, i) => slice(list, { key: `s${i}` })));
  const anyService = fc
    .record({ isInternalLocal: fc.boolean(), isExternalLocal: fc.boolean() })
    .map((policies) => service({ ...external, ...policies }));

  test('nothing depends on the order of slices and endpoints', () => {
    fc.assert(
      fc.property(anyService, anySlices, (one, slices) => {
        const backward = slices.map((s) => ({ ...s, endpoints: s.endpoints.toReversed() })).reverse();
        expect(build(one, backward)).toEqual(build(one, slices));
      }),
    );
  });

  test('policy Cluster never drops, and only a Service without usable endpoints refuses', () => {
    fc.assert(
      fc.property(anyService, anySlices, (one, slices) => {
        const frontends = build(one, slices);
        const refusing = frontends.filter(
          ({ backends, whenEmpty }) => backends.length === 0 && whenEmpty === 'refuse',
        );
        expect([0, frontends.length]).toContain(refusing.length);
        for (const { kind, backends, whenEmpty, insideBackends } of frontends) {
          const isLocal = kind === 'ClusterIP' ? one.isInternalLocal : one.isExternalLocal;
          if (backends.length === 0 && whenEmpty === 'drop') expect(isLocal).toBe(true);
          if (insideBackends !== undefined) expect(insideBackends.length > 0).toBe(whenEmpty === 'drop');
        }
      }),
    );
  });

  test('policy Local sends outside traffic to this node, and keeps its source', () => {
    fc.assert(
      fc.property(anySlices, (slices) => {
        for (const frontend of build(service({ ...external, isExternalLocal: true }), slices).slice(1)) {
          expect(frontend.masquerade).toBe('never');
          const local = slices.flatMap((s) => s.endpoints.filter(({ nodeName }) => nodeName === HERE));
          for (const backend of frontend.backends) expect(local.map((one) => one.ip)).toContain(backend.ip);
        }
      }),
    );
  });
});
