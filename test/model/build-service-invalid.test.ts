// What the API server would have refused, and how it is told: the field, the rule, the value.

import { describe, expect, it } from 'vitest';
import { buildService } from '../../src/model/build-service.ts';

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

describe('an invalid Service', () => {
  const port = (fields: object) => ({ spec: { ports: [{ port: 80, ...fields }] } });
  it.each<[string, Parts]>([
    ['spec.ports[0].port: must be an integer from 1 to 65535, got 70000', port({ port: 70000 })],
    ['spec.ports[0].port: must be an integer from 1 to 65535, got 0', port({ port: 0 })],
    ['spec.ports[0].port: must be an integer from 1 to 65535, got -1', port({ port: -1 })],
    ['spec.ports[0].port: must be an integer from 1 to 65535, got 80.5', port({ port: 80.5 })],
    ['spec.ports[0].port: must be an integer from 1 to 65535, got NaN', port({ port: Number.NaN })],
    ['spec.ports[0].port: must be an integer from 1 to 65535, got 1e+300', port({ port: 1e300 })],
    ['spec.ports[0].port: must be an integer from 1 to 65535, got "80"', port({ port: '80' })],
    ['spec.ports[0].port: must be an integer from 1 to 65535, got nothing', port({ port: null })],
    ['spec.ports[0].nodePort: must be an integer from 0 to 65535, got 65536', port({ nodePort: 65536 })],
    ['spec.ports[0].protocol: must be one of TCP, UDP, SCTP, got "ICMP"', port({ protocol: 'ICMP' })],
    ['spec.ports[0].name: must be a DNS label of at most 63 characters, got "A b"', port({ name: 'A b' })],
    ['spec.ports[1]: must be an object, got 80', { spec: { ports: [{ port: 80 }, 80] } }],
    ['spec.ports: must be a list, got an object', { spec: { ports: {} } }],
    ['spec.ports: must be a list, got "80"', { spec: { ports: '80' } }],
    [
      'spec.type: must be one of ClusterIP, NodePort, LoadBalancer, ExternalName, got "X"',
      { spec: { type: 'X' } },
    ],
    ['spec.clusterIP: must be an IP address, got "10.96.0.300"', { spec: { clusterIP: '10.96.0.300' } }],
    ['spec.clusterIP: must be a string, got 10', { spec: { clusterIP: 10 } }],
    [
      'spec.clusterIPs[0]: must equal spec.clusterIP, got "10.96.0.2"',
      { spec: { clusterIPs: ['10.96.0.2'] } },
    ],
    [
      'spec.clusterIPs[1]: must be the only one of its family, got "10.96.0.2"',
      { spec: { clusterIPs: ['10.96.0.1', '10.96.0.2'] } },
    ],
    [
      'spec.clusterIPs[0]: must be of the family that spec.ipFamilies[0] names, got "10.96.0.1"',
      { spec: { clusterIPs: ['10.96.0.1'], ipFamilies: ['IPv6'] } },
    ],
    ['spec.ipFamilies[0]: must be one of IPv4, IPv6, got "v4"', { spec: { ipFamilies: ['v4'] } }],
    [
      'spec.internalTrafficPolicy: must be one of Cluster, Local, got "local"',
      { spec: { internalTrafficPolicy: 'local' } },
    ],
    [
      'spec.externalTrafficPolicy: must be one of Cluster, Local, got 1',
      { spec: { externalTrafficPolicy: 1 } },
    ],
    [
      'spec.healthCheckNodePort: must be an integer from 0 to 65535, got "32000"',
      { spec: { healthCheckNodePort: '32000' } },
    ],
    [
      'spec.healthCheckNodePort: must be an integer from 0 to 65535, got 65536',
      { spec: { healthCheckNodePort: 65536 } },
    ],
    ['spec.externalIPs: must be a list, got "203.0.113.1"', { spec: { externalIPs: '203.0.113.1' } }],
    [
      'status.loadBalancer.ingress[0].ipMode: must be one of VIP, Proxy, got "vip"',
      { status: { loadBalancer: { ingress: [{ ip: '203.0.113.1', ipMode: 'vip' }] } } },
    ],
    [
      'metadata.name: must be a DNS label of at most 63 characters, got nothing',
      { metadata: { name: undefined } },
    ],
    ['metadata.name: must be a DNS label of at most 63 characters, got 5', { metadata: { name: 5 } }],
    [
      'metadata.namespace: must be a DNS label of at most 63 characters, got "a/b"',
      { metadata: { namespace: 'a/b' } },
    ],
    ['metadata.labels: must be an object, got a list', { metadata: { labels: [] } }],
    [
      'metadata.creationTimestamp: must be an RFC 3339 time, got "yesterday"',
      { metadata: { creationTimestamp: 'yesterday' } },
    ],
  ])('%s', (reason, parts) => {
    expect(buildService(raw(parts))).toEqual({ kind: 'invalid', code: 'INVALID_FIELD', reason });
  });

  it.each([
    [null, 'must be an object, got nothing'],
    [undefined, 'must be an object, got nothing'],
    ['text', 'must be an object, got "text"'],
    [[], 'must be an object, got a list'],
    [{ metadata: 'x' }, 'metadata: must be an object, got "x"'],
  ])('%j is no object', (object, reason) => {
    expect(buildService(object)).toEqual({ kind: 'invalid', code: 'INVALID_FIELD', reason });
  });

  it('tells a long value in one short line', () => {
    const built = buildService(raw({ metadata: { name: 'x\n'.repeat(1000) } }));
    expect(built.kind === 'invalid' && built.reason).toMatch(/^metadata\.name: must be .{1,220}$/);
  });

  it('is not fooled by inherited or __proto__ fields', () => {
    const text = '{"__proto__": {"metadata": {"name": "web"}}, "metadata": {"__proto__": {"name": "web"}}}';
    expect(buildService(JSON.parse(text)).kind).toBe('invalid');
    expect(buildService(Object.create(raw() as object)).kind).toBe('invalid');
  });
});
