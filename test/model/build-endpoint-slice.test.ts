import { describe, expect, it } from 'vitest';
import { buildEndpointSlice } from '../../src/model/build-endpoint-slice.ts';
import type { EndpointSlice } from '../../src/model/types.ts';

/** A slice of `default/web` with some fields replaced. */
function raw(fields: object = {}, labels: object = { 'kubernetes.io/service-name': 'web' }): object {
  return {
    metadata: { name: 'web-abc.x', namespace: 'default', labels },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: [{ addresses: ['10.1.0.1'] }],
    ...fields,
  };
}

function build(fields?: object): { slice: EndpointSlice; reasons: string[] } {
  const built = buildEndpointSlice(raw(fields));
  if (built.kind !== 'built') throw new Error(built.reason);
  return { slice: built.value, reasons: built.warnings.map(({ reason }) => reason) };
}

describe('an EndpointSlice', () => {
  it('is reduced to what decides', () => {
    const { slice, reasons } = build({
      endpoints: [
        {
          addresses: ['10.1.0.1', '10.1.0.9'],
          conditions: { ready: true, serving: true },
          hints: { forZones: [{ name: 'zone-a' }], forNodes: [{ name: 'node-1' }] },
          nodeName: 'node-1',
          zone: 'zone-b',
        },
        { addresses: ['010.1.0.2'], conditions: { ready: false } },
      ],
    });
    expect(reasons).toEqual([]);
    expect(slice).toEqual({
      key: 'default/web-abc.x',
      serviceKey: 'default/web',
      family: 4,
      ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
      endpoints: [
        {
          ip: '10.1.0.1',
          isReady: true,
          isServing: true,
          isTerminating: false,
          zoneHints: ['zone-a'],
          nodeHints: ['node-1'],
          nodeName: 'node-1',
          zone: 'zone-b',
        },
        {
          ip: '10.1.0.2',
          isReady: false,
          isServing: true,
          isTerminating: false,
          zoneHints: undefined,
          nodeHints: undefined,
          nodeName: undefined,
        },
      ],
    });
  });

  it.each([
    ['no conditions', {}, [true, true, false]],
    ['null conditions', { conditions: null }, [true, true, false]],
    ['empty conditions', { conditions: {} }, [true, true, false]],
    ['all null', { conditions: { ready: null, serving: null, terminating: null } }, [true, true, false]],
    ['ready', { conditions: { ready: true } }, [true, true, false]],
    ['not ready', { conditions: { ready: false } }, [false, true, false]],
    ['not serving', { conditions: { serving: false } }, [true, false, false]],
    ['terminating', { conditions: { terminating: true } }, [true, true, true]],
    ['not terminating', { conditions: { terminating: false } }, [true, true, false]],
    ['draining', { conditions: { ready: false, serving: true, terminating: true } }, [false, true, true]],
  ])('with conditions: %s', (_, endpoint, expected) => {
    const { slice } = build({ endpoints: [{ addresses: ['10.1.0.1'], ...endpoint }] });
    const { isReady, isServing, isTerminating } = slice.endpoints[0]!;
    expect([isReady, isServing, isTerminating]).toEqual(expected);
  });

  it.each([
    ['no hints', {}, undefined, undefined],
    ['null hints', { hints: null }, undefined, undefined],
    ['empty hints', { hints: {} }, undefined, undefined],
    ['null lists', { hints: { forZones: null, forNodes: null } }, undefined, undefined],
    ['empty lists', { hints: { forZones: [], forNodes: [] } }, undefined, undefined],
    ['empty names', { hints: { forZones: [{ name: '' }, {}], forNodes: [{}] } }, undefined, undefined],
    ['zones', { hints: { forZones: [{ name: 'b' }, { name: 'a' }] } }, ['b', 'a'], undefined],
    ['nodes', { hints: { forNodes: [{ name: 'n' }] } }, undefined, ['n']],
    ['repetitions', { hints: { forZones: [{ name: 'a' }, { name: 'a' }] } }, ['a'], undefined],
  ])('with %s', (_, endpoint, zoneHints, nodeHints) => {
    const { slice } = build({ endpoints: [{ addresses: ['10.1.0.1'], ...endpoint }] });
    expect(slice.endpoints[0]).toMatchObject({ zoneHints, nodeHints });
  });

  it.each([
    ['no zone', {}],
    ['a null zone', { zone: null }],
    ['an empty zone', { zone: '' }],
  ])('with %s has no such field at all, which saves its memory', (_, endpoint) => {
    const { slice } = build({ endpoints: [{ addresses: ['10.1.0.1'], ...endpoint }] });
    expect(Object.keys(slice.endpoints[0]!)).not.toContain('zone');
  });

  it('has only ports with a number; an absent name is the empty one', () => {
    const ports = [
      { name: 'all' },
      { name: 'zero', port: 0 },
      { port: 53, protocol: 'UDP' },
      { name: '', port: 54 },
    ];
    expect(build({ ports }).slice.ports).toEqual([
      { name: '', protocol: 'UDP', port: 53 },
      { name: '', protocol: 'TCP', port: 54 },
    ]);
  });

  it('without ports or endpoints is an empty one', () => {
    expect(build({ ports: null, endpoints: null }).slice).toMatchObject({ ports: [], endpoints: [] });
  });

  it('passes over an endpoint without addresses', () => {
    const { slice, reasons } = build({ endpoints: [{ addresses: [] }, {}, { addresses: ['10.1.0.1'] }] });
    expect(slice.endpoints).toHaveLength(1);
    expect(reasons).toEqual([]);
  });

  it('skips an endpoint whose address is none, or of the other family', () => {
    const { slice, reasons } = build({
      endpoints: [
        { addresses: ['pod.example.com'] },
        { addresses: ['fd00::1'] },
        { addresses: ['10.1.0.1'] },
      ],
    });
    expect(slice.endpoints.map(({ ip }) => ip)).toEqual(['10.1.0.1']);
    expect(reasons).toEqual([
      'endpoints[0].addresses[0]: must be an IP address, got "pod.example.com"; skipped',
      'endpoints[1].addresses[0]: must be an IPv4 address as addressType says, got "fd00::1"; skipped',
    ]);
  });

  it('of IPv6 has IPv6 endpoints', () => {
    const { slice } = build({ addressType: 'IPv6', endpoints: [{ addresses: ['FD00:0::1'] }] });
    expect(slice).toMatchObject({ family: 6, endpoints: [{ ip: 'fd00::1' }] });
  });
});

describe('an EndpointSlice that is none of our business', () => {
  const service = { 'kubernetes.io/service-name': 'web' };
  it.each([
    ['no labels', raw({}, {}), 'it has no label kubernetes.io/service-name'],
    [
      'an empty label',
      raw({}, { 'kubernetes.io/service-name': '' }),
      'it has no label kubernetes.io/service-name',
    ],
    [
      'a headless label',
      raw({}, { ...service, 'service.kubernetes.io/headless': '' }),
      'it has label service.kubernetes.io/headless',
    ],
    [
      'host names',
      raw({ addressType: 'FQDN', endpoints: [{ addresses: ['a.example.com'] }] }),
      'addressType FQDN has no addresses to send traffic to',
    ],
  ])('with %s is ignored', (_, object, reason) => {
    expect(buildEndpointSlice(object)).toEqual({ kind: 'ignored', reason });
  });
});

describe('an invalid EndpointSlice', () => {
  it.each([
    ['addressType: must be one of IPv4, IPv6, FQDN, got nothing', raw({ addressType: null })],
    ['addressType: must be one of IPv4, IPv6, FQDN, got "ipv4"', raw({ addressType: 'ipv4' })],
    ['ports[0].port: must be an integer from 0 to 65535, got "http"', raw({ ports: [{ port: 'http' }] })],
    [
      'ports[0].protocol: must be one of TCP, UDP, SCTP, got "tcp"',
      raw({ ports: [{ port: 1, protocol: 'tcp' }] }),
    ],
    ['endpoints: must be a list, got an object', raw({ endpoints: {} })],
    [
      'endpoints[0].addresses: must be a list, got "10.1.0.1"',
      raw({ endpoints: [{ addresses: '10.1.0.1' }] }),
    ],
    [
      'endpoints[0].conditions.ready: must be true or false, got "yes"',
      raw({ endpoints: [{ addresses: ['10.1.0.1'], conditions: { ready: 'yes' } }] }),
    ],
    [
      'endpoints[0].conditions.serving: must be true or false, got 1',
      raw({ endpoints: [{ addresses: ['10.1.0.1'], conditions: { serving: 1 } }] }),
    ],
    [
      'endpoints[0].conditions.terminating: must be true or false, got "false"',
      raw({ endpoints: [{ addresses: ['10.1.0.1'], conditions: { terminating: 'false' } }] }),
    ],
    [
      'endpoints[0].hints: must be an object, got "zone-a"',
      raw({ endpoints: [{ addresses: ['10.1.0.1'], hints: 'zone-a' }] }),
    ],
    [
      'endpoints[0].hints.forZones: must be a list, got "zone-a"',
      raw({ endpoints: [{ addresses: ['10.1.0.1'], hints: { forZones: 'zone-a' } }] }),
    ],
    [
      'endpoints[0].hints.forNodes[0]: must be an object, got "node-1"',
      raw({ endpoints: [{ addresses: ['10.1.0.1'], hints: { forNodes: ['node-1'] } }] }),
    ],
    [
      'endpoints[0].hints.forZones[1].name: must be a string, got 1',
      raw({ endpoints: [{ addresses: ['10.1.0.1'], hints: { forZones: [{ name: 'a' }, { name: 1 }] } }] }),
    ],
    [
      'endpoints[0].nodeName: must be a string, got 1',
      raw({ endpoints: [{ addresses: ['10.1.0.1'], nodeName: 1 }] }),
    ],
    [
      'metadata.labels["kubernetes.io/service-name"]: must be a DNS label of at most 63 characters, got 123',
      raw({}, { 'kubernetes.io/service-name': 123 }),
    ],
    [
      'metadata.name: must be a DNS subdomain of at most 253 characters, got "web_abc"',
      raw({
        metadata: { name: 'web_abc', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
      }),
    ],
  ])('%s', (reason, object) => {
    expect(buildEndpointSlice(object)).toEqual({ kind: 'invalid', code: 'INVALID_FIELD', reason });
  });
});

describe('size', () => {
  it('builds a service of 100,000 endpoints', () => {
    const endpoints = Array.from({ length: 100_000 }, (_, i) => ({
      addresses: [`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`],
    }));
    expect(build({ endpoints }).slice.endpoints).toHaveLength(100_000);
  });
});
