import { describe, expect, it } from 'vitest';
import { buildService } from '../../src/model/build-service.ts';
import { DEFAULT_POLICY } from '../../src/model/service-policy.ts';
import { UNRESTRICTED } from '../../src/model/source-ranges.ts';
import type { Service } from '../../src/model/types.ts';

interface Parts {
  readonly metadata?: object;
  readonly spec?: object;
  readonly status?: object;
}

/** A plain ClusterIP Service with some fields replaced. */
function raw({ metadata, spec, status }: Parts = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default', ...metadata },
    spec: { clusterIP: '10.96.0.1', ports: [{ port: 80 }], ...spec },
    ...(status === undefined ? {} : { status }),
  };
}

function build(parts?: Parts): Service {
  const built = buildService(raw(parts));
  if (built.kind !== 'built') throw new Error(built.reason);
  expect(built.warnings).toEqual([]);
  return built.value;
}

function warningsOf(parts: Parts): { service: Service; reasons: string[] } {
  const built = buildService(raw(parts));
  if (built.kind !== 'built') throw new Error(built.reason);
  expect(new Set(built.warnings.map(({ code }) => code))).toEqual(new Set(['SKIPPED_FIELD']));
  return { service: built.value, reasons: built.warnings.map(({ reason }) => reason) };
}

describe('a Service', () => {
  it('is reduced to what decides', () => {
    const service = build({
      metadata: { uid: 'u-1', creationTimestamp: '2024-02-03T04:05:06Z', labels: { app: 'web' } },
      spec: {
        type: 'NodePort',
        clusterIP: '10.96.0.1',
        clusterIPs: ['10.96.0.1', 'fd00:10:96::1'],
        ipFamilies: ['IPv4', 'IPv6'],
        externalIPs: ['203.0.113.1', '203.0.113.1', 'FD00::0001'],
        selector: { app: 'web' },
        ports: [
          { name: 'http', port: 80, targetPort: 'web', nodePort: 30080, protocol: 'TCP' },
          { name: 'dns', port: 53, protocol: 'UDP' },
        ],
      },
      status: { loadBalancer: { ingress: [{ ip: '198.51.100.1' }] } },
    });
    expect(service).toEqual({
      key: 'default/web',
      namespace: 'default',
      name: 'web',
      uid: 'u-1',
      createdAtMs: Date.UTC(2024, 1, 3, 4, 5, 6),
      type: 'NodePort',
      isProxied: true,
      clusterIps: ['10.96.0.1', 'fd00:10:96::1'],
      ipFamilies: [4, 6],
      externalIps: ['203.0.113.1', 'fd00::1'],
      loadBalancerIps: ['198.51.100.1'],
      isInternalLocal: false,
      isExternalLocal: false,
      healthCheckNodePort: 0,
      affinityTimeoutSeconds: undefined,
      sourceRanges: UNRESTRICTED,
      policy: DEFAULT_POLICY,
      ports: [
        { name: 'http', protocol: 'TCP', port: 80, nodePort: 30080 },
        { name: 'dns', protocol: 'UDP', port: 53, nodePort: 0 },
      ],
    });
  });

  it('has the defaults of the API where a manifest says nothing', () => {
    expect(build()).toMatchObject({
      type: 'ClusterIP',
      uid: '',
      createdAtMs: Number.POSITIVE_INFINITY,
      ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: 0 }],
      externalIps: [],
      loadBalancerIps: [],
      isInternalLocal: false,
      isExternalLocal: false,
      healthCheckNodePort: 0,
    });
  });

  it('takes null for absent, as the API does', () => {
    const spec = {
      type: null,
      externalIPs: null,
      internalTrafficPolicy: null,
      externalTrafficPolicy: null,
      sessionAffinity: null,
      sessionAffinityConfig: null,
      loadBalancerSourceRanges: null,
      healthCheckNodePort: null,
      ports: [{ name: null, protocol: null, port: 80, nodePort: null }],
    };
    expect(build({ metadata: { creationTimestamp: null, labels: null, annotations: null }, spec })).toEqual(
      build(),
    );
  });

  it.each([
    ['clusterIP None', { spec: { clusterIP: 'None' } }],
    ['clusterIP None and clusterIPs None', { spec: { clusterIP: 'None', clusterIPs: ['None'] } }],
    ['clusterIP empty', { spec: { clusterIP: '' } }],
    ['no clusterIP', { spec: { clusterIP: undefined } }],
    [
      'no clusterIP, although there is a node port',
      {
        spec: { clusterIP: undefined, type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] },
      },
    ],
    [
      'type ExternalName, although there is a clusterIP',
      {
        spec: { type: 'ExternalName', externalName: 'api.example.com' },
      },
    ],
    [
      'a service-proxy-name label',
      {
        metadata: { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } },
      },
    ],
    [
      'a null service-proxy-name label',
      {
        metadata: { labels: { 'service.kubernetes.io/service-proxy-name': null } },
      },
    ],
    [
      'an empty service-proxy-name label',
      {
        metadata: { labels: { 'service.kubernetes.io/service-proxy-name': '' } },
      },
    ],
  ])('with %s is known but not proxied', (_, parts) => {
    expect(build(parts)).toMatchObject({
      key: 'default/web',
      isProxied: false,
      clusterIps: [],
      ipFamilies: [],
      ports: [],
    });
  });
});

describe('cluster IPs', () => {
  const both = ['10.96.0.1', 'fd00:10:96::1'];
  it.each([
    ['only clusterIP', { clusterIP: '10.96.0.1' }, ['10.96.0.1'], [4]],
    ['only an IPv6 clusterIP', { clusterIP: 'fd00:10:96::1' }, ['fd00:10:96::1'], [6]],
    ['clusterIPs and families', { clusterIPs: both, ipFamilies: ['IPv4', 'IPv6'] }, both, [4, 6]],
    ['clusterIPs without families', { clusterIPs: both }, both, [4, 6]],
    [
      'IPv6 first',
      {
        clusterIP: both[1],
        clusterIPs: both.toReversed(),
        ipFamilies: ['IPv6', 'IPv4'],
      },
      both.toReversed(),
      [6, 4],
    ],
    [
      'fewer clusterIPs than families',
      { clusterIPs: ['10.96.0.1'], ipFamilies: ['IPv4', 'IPv6'] },
      ['10.96.0.1'],
      [4],
    ],
    ['fewer families than clusterIPs', { clusterIPs: both, ipFamilies: ['IPv4'] }, ['10.96.0.1'], [4]],
    ['families without clusterIPs', { ipFamilies: ['IPv4'] }, ['10.96.0.1'], [4]],
    ['leading zeros', { clusterIP: '010.096.000.001' }, ['10.96.0.1'], [4]],
    [
      'the same address written in two ways',
      { clusterIP: '10.96.0.1', clusterIPs: ['010.96.0.1'] },
      ['10.96.0.1'],
      [4],
    ],
  ])('of %s', (_, spec, clusterIps, ipFamilies) => {
    expect(build({ spec })).toMatchObject({ isProxied: true, clusterIps, ipFamilies });
  });
});

describe('external and load balancer addresses', () => {
  it('are skipped when they are none, and the rest stays', () => {
    const { service, reasons } = warningsOf({ spec: { externalIPs: ['nonsense', '203.0.113.1', 7, null] } });
    expect(service.externalIps).toEqual(['203.0.113.1']);
    expect(reasons).toEqual([
      'spec.externalIPs[0]: must be an IP address, got "nonsense"; skipped',
      'spec.externalIPs[2]: must be an IP address, got 7; skipped',
      'spec.externalIPs[3]: must be an IP address, got nothing; skipped',
    ]);
  });

  it('are skipped when the Service has no cluster IP of their family', () => {
    const { service, reasons } = warningsOf({ spec: { externalIPs: ['fd00::1'] } });
    expect(service.externalIps).toEqual([]);
    expect(reasons[0]).toBe(
      'spec.externalIPs[0]: must be of a family that the Service has a cluster IP of, got "fd00::1"; skipped',
    );
  });

  it('are the ingress addresses that the node must serve', () => {
    const ingress = [
      { ip: '203.0.113.1' },
      { ip: '203.0.113.2', ipMode: 'VIP' },
      { ip: '203.0.113.3', ipMode: 'Proxy' },
      { hostname: 'lb.example.com' },
      { ip: '', hostname: 'lb.example.com' },
    ];
    const { loadBalancerIps } = build({
      spec: { type: 'LoadBalancer' },
      status: { loadBalancer: { ingress } },
    });
    expect(loadBalancerIps).toEqual(['203.0.113.1', '203.0.113.2']);
  });

  it('are skipped one by one when an ingress address does not parse', () => {
    const ingress = [{ ip: '203.0.113.999' }, { ip: '203.0.113.1' }];
    const { service, reasons } = warningsOf({ status: { loadBalancer: { ingress } } });
    expect(service.loadBalancerIps).toEqual(['203.0.113.1']);
    expect(reasons).toEqual([
      'status.loadBalancer.ingress[0].ip: must be an IP address, got "203.0.113.999"; skipped',
    ]);
  });

  it('are told in a bounded number of lines', () => {
    const externalIPs = Array.from({ length: 100_000 }, (_, i) => `bad-${i}`);
    const { reasons } = warningsOf({ spec: { externalIPs } });
    expect(reasons).toHaveLength(21);
    expect(reasons.at(-1)).toBe('99980 more entries are skipped like these');
  });
});

describe('traffic policies', () => {
  const local = { externalTrafficPolicy: 'Local' };
  const health = { ...local, healthCheckNodePort: 32000 };
  const externalIPs = ['203.0.113.1'];
  it.each<[string, object, boolean]>([
    ['LoadBalancer', { ...health, type: 'LoadBalancer' }, true],
    ['NodePort', { ...local, type: 'NodePort' }, true],
    ['ClusterIP with external IPs', { ...local, externalIPs }, true],
    ['ClusterIP without external IPs, which has none to bind', local, false],
    ['ExternalName', { ...local, type: 'ExternalName', externalIPs }, false],
    ['headless', { ...local, clusterIP: 'None', externalIPs }, false],
    ['NodePort with policy Cluster', { externalTrafficPolicy: 'Cluster', type: 'NodePort' }, false],
    ['NodePort with an empty policy', { externalTrafficPolicy: '', type: 'NodePort' }, false],
    ['NodePort without a policy', { type: 'NodePort' }, false],
    ['NodePort with internal Local only', { internalTrafficPolicy: 'Local', type: 'NodePort' }, false],
  ])('external Local counts: %s', (_, spec, isExternalLocal) => {
    expect(build({ spec }).isExternalLocal).toBe(isExternalLocal);
  });

  it.each<[string, object, boolean]>([
    ['Local', { internalTrafficPolicy: 'Local' }, true],
    ['Local, of a LoadBalancer', { internalTrafficPolicy: 'Local', type: 'LoadBalancer' }, true],
    ['Cluster', { internalTrafficPolicy: 'Cluster' }, false],
    ['empty', { internalTrafficPolicy: '' }, false],
    ['absent, while external is Local', { ...local, type: 'NodePort' }, false],
    ['Local, of a headless Service', { internalTrafficPolicy: 'Local', clusterIP: 'None' }, false],
  ])('internal policy %s', (_, spec, isInternalLocal) => {
    expect(build({ spec }).isInternalLocal).toBe(isInternalLocal);
  });

  it.each<[string, object, number]>([
    ['a LoadBalancer with external Local', { ...health, type: 'LoadBalancer' }, 32000],
    ['a LoadBalancer with external Cluster', { type: 'LoadBalancer', healthCheckNodePort: 32000 }, 0],
    ['a NodePort with external Local', { ...health, type: 'NodePort' }, 0],
    ['a ClusterIP with external IPs and Local', { ...health, externalIPs }, 0],
    ['a headless LoadBalancer', { ...health, type: 'LoadBalancer', clusterIP: 'None' }, 0],
  ])('healthCheckNodePort of %s', (_, spec, port) => {
    expect(build({ spec }).healthCheckNodePort).toBe(port);
  });

  it('a LoadBalancer with external Local that lacks a healthCheckNodePort is told, and works', () => {
    const { service, reasons } = warningsOf({ spec: { ...local, type: 'LoadBalancer' } });
    expect(service).toMatchObject({ isExternalLocal: true, healthCheckNodePort: 0 });
    expect(reasons).toEqual([
      'spec.healthCheckNodePort: must be a port, because externalTrafficPolicy is Local, got nothing; skipped',
    ]);
  });
});

describe('repeated ports', () => {
  it.each([
    [
      'port and protocol',
      [
        { name: 'a', port: 80 },
        { name: 'b', port: 80 },
      ],
      'spec.ports[1].port: must be the only TCP port of its number, got 80; skipped',
      ['a'],
    ],
    [
      'name and protocol',
      [{ port: 80 }, { port: 81 }],
      'spec.ports[1].name: must be the only TCP port of its name, got nothing; skipped',
      [''],
    ],
  ])('with the same %s: the second is skipped', (_, ports, reason, names) => {
    const { service, reasons } = warningsOf({ spec: { ports } });
    expect(reasons).toEqual([reason]);
    expect(service.ports.map(({ name }) => name)).toEqual(names);
  });

  it('with the same node port: the second loses only that', () => {
    const ports = [
      { name: 'a', port: 80, nodePort: 30080 },
      { name: 'b', port: 81, nodePort: 30080 },
    ];
    const { service, reasons } = warningsOf({ spec: { type: 'NodePort', ports } });
    expect(reasons).toEqual([
      'spec.ports[1].nodePort: must be the only TCP node port of its number, got 30080; skipped',
    ]);
    expect(service.ports.map(({ nodePort }) => nodePort)).toEqual([30080, 0]);
  });

  it('of different protocols are no repetition', () => {
    const ports = ['TCP', 'UDP', 'SCTP'].map((protocol) => ({
      name: 'x',
      port: 53,
      nodePort: 30053,
      protocol,
    }));
    expect(build({ spec: { type: 'NodePort', ports } }).ports).toHaveLength(3);
  });
});

describe('session affinity', () => {
  const affinity = (timeoutSeconds?: unknown) => ({
    spec: { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds } } },
  });
  it.each<[string, Parts, number | undefined]>([
    ['None', { spec: { sessionAffinity: 'None' } }, undefined],
    ['none given', {}, undefined],
    ['an empty one', { spec: { sessionAffinity: '' } }, undefined],
    ['a config without ClientIP', { spec: { sessionAffinityConfig: affinity(5) } }, undefined],
    ['ClientIP of a headless Service', { spec: { ...affinity(5).spec, clusterIP: 'None' } }, undefined],
    ['the least', affinity(1), 1],
    ['the most', affinity(86_400), 86_400],
    ['no config', { spec: { sessionAffinity: 'ClientIP' } }, 10_800],
    [
      'a null config',
      { spec: { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: null } } },
      10_800,
    ],
    ['a null timeout', affinity(null), 10_800],
  ])('%s', (_, parts, seconds) => {
    expect(build(parts).affinityTimeoutSeconds).toBe(seconds);
  });

  it.each([
    [0, '0'],
    [86_401, '86401'],
    [-1, '-1'],
    [1.5, '1.5'],
    ['60', '"60"'],
    [{}, 'an object'],
  ])('with a timeout of %j is there with the default, and that is told', (timeout, got) => {
    const { service, reasons } = warningsOf(affinity(timeout));
    expect(service.affinityTimeoutSeconds).toBe(10_800);
    expect(reasons).toEqual([
      `spec.sessionAffinityConfig.clientIP.timeoutSeconds: must be an integer from 1 to 86400, got ${got}; 10800 is used`,
    ]);
  });

  it('of an unknown kind is none, and that is told', () => {
    const { service, reasons } = warningsOf({ spec: { sessionAffinity: 'Cookie' } });
    expect(service).toMatchObject({ isProxied: true, affinityTimeoutSeconds: undefined });
    expect(reasons).toEqual([
      'spec.sessionAffinity: must be ClientIP or None, got "Cookie"; clients have no affinity',
    ]);
  });
});

describe('load balancers as kube-proxy takes them', () => {
  const ingress = (...list: object[]) => ({ status: { loadBalancer: { ingress: list } } });
  it('serves the address whatever the class is: the class says who programs the load balancer', () => {
    const spec = { type: 'LoadBalancer', loadBalancerClass: 'example.com/internal' };
    expect(build({ spec, ...ingress({ ip: '203.0.113.1' }) }).loadBalancerIps).toEqual(['203.0.113.1']);
  });

  it('has no node ports with allocateLoadBalancerNodePorts false, and those it has otherwise', () => {
    const spec = (nodePort?: number) => ({
      type: 'LoadBalancer',
      allocateLoadBalancerNodePorts: false,
      ports: [{ port: 80, nodePort }],
    });
    expect(build({ spec: spec() }).ports[0]!.nodePort).toBe(0);
    // The API server keeps those that were allocated before, or asked for.
    expect(build({ spec: spec(30080) }).ports[0]!.nodePort).toBe(30080);
  });

  it('leaves an address of ipMode Proxy to the load balancer, ranges and all', () => {
    const spec = { type: 'LoadBalancer', loadBalancerSourceRanges: ['192.0.2.0/24'] };
    const service = build({ spec, ...ingress({ ip: '203.0.113.1', ipMode: 'Proxy' }) });
    expect(service.loadBalancerIps).toEqual([]);
    expect(service.sourceRanges[4]).toHaveLength(1);
  });
});

it('Services without a word on it share one policy and one set of ranges', () => {
  expect(build().policy).toBe(DEFAULT_POLICY);
  expect(build().sourceRanges).toBe(UNRESTRICTED);
});
