import { describe, expect, it } from 'vitest';
import { buildEndpointSlice } from '../../src/model/build-endpoint-slice.ts';
import { mirrorEndpoints, type RawEndpointSlice } from '../../src/model/mirror-endpoints.ts';

const metadata = { name: 'db', namespace: 'prod' };

function mirror(subsets: unknown): readonly RawEndpointSlice[] {
  const built = mirrorEndpoints({ metadata, subsets });
  if (built.kind !== 'built') throw new Error(built.reason);
  return built.value;
}

describe('mirrorEndpoints', () => {
  it('makes slices that build into the endpoints of the Service', () => {
    const slices = mirror([
      {
        addresses: [{ ip: '10.1.0.1', nodeName: 'node-1' }, { ip: 'fd00::1' }],
        notReadyAddresses: [{ ip: '10.1.0.2' }],
        ports: [
          { name: 'sql', port: 3306 },
          { name: 'dns', port: 53, protocol: 'UDP' },
        ],
      },
      { addresses: [{ ip: '10.1.0.3' }], ports: [{ port: 80 }] },
    ]);
    const built = slices.map((slice) => buildEndpointSlice(JSON.parse(JSON.stringify(slice))));
    const ports = [
      { name: 'sql', protocol: 'TCP', port: 3306 },
      { name: 'dns', protocol: 'UDP', port: 53 },
    ];
    const serviceKey = 'prod/db';
    // What Endpoints do not say is what a slice means by saying nothing: a not-ready address is neither ready nor ending.
    const unsaid = { isServing: true, isTerminating: false, zoneHints: undefined, nodeHints: undefined };
    expect(built.map((one) => one.kind === 'built' && one.value)).toEqual([
      {
        key: 'prod/db-mirrored-0',
        serviceKey,
        family: 4,
        ports,
        endpoints: [
          { ...unsaid, ip: '10.1.0.1', isReady: true, nodeName: 'node-1' },
          { ...unsaid, ip: '10.1.0.2', isReady: false, nodeName: undefined },
        ],
      },
      {
        key: 'prod/db-mirrored-1',
        serviceKey,
        family: 6,
        ports,
        endpoints: [{ ...unsaid, ip: 'fd00::1', isReady: true, nodeName: undefined }],
      },
      {
        key: 'prod/db-mirrored-2',
        serviceKey,
        family: 4,
        ports: [{ name: '', protocol: 'TCP', port: 80 }],
        endpoints: [{ ...unsaid, ip: '10.1.0.3', isReady: true, nodeName: undefined }],
      },
    ]);
  });

  it('makes none of nothing', () => {
    expect(mirror(null)).toEqual([]);
    expect(mirror([])).toEqual([]);
    expect(mirror([{ addresses: [], ports: [{ port: 80 }] }])).toEqual([]);
  });

  it('keeps more than the 1,000 addresses that Kubernetes would', () => {
    const addresses = Array.from({ length: 2500 }, (_, i) => ({ ip: `10.1.${i >> 8}.${i & 255}` }));
    expect(mirror([{ addresses, ports: [{ port: 80 }] }])[0]?.endpoints).toHaveLength(2500);
  });

  it.each([
    ['the skip-mirror label', { labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } }],
    ['a leader election', { annotations: { 'control-plane.alpha.kubernetes.io/leader': '{}' } }],
  ])('passes over an object with %s', (_, more) => {
    expect(mirrorEndpoints({ metadata: { ...metadata, ...more }, subsets: [] }).kind).toBe('ignored');
  });

  it('does not pass over a skip-mirror label that is not true', () => {
    const labels = { 'endpointslice.kubernetes.io/skip-mirror': 'false' };
    expect(mirrorEndpoints({ metadata: { ...metadata, labels }, subsets: [] }).kind).toBe('built');
  });

  it('skips an address that is none', () => {
    const built = mirrorEndpoints({ metadata, subsets: [{ addresses: [{ ip: 'x' }, { ip: '10.1.0.1' }] }] });
    expect(built).toMatchObject({
      value: [{ endpoints: [{ addresses: ['10.1.0.1'] }] }],
      warnings: [{ reason: 'subsets[0].addresses[0].ip: must be an IP address, got "x"; skipped' }],
    });
  });

  it.each([
    [
      'metadata.name: must be a DNS label of at most 63 characters, got nothing',
      { metadata: { namespace: 'x' } },
    ],
    [
      'subsets[0].ports[0].port: must be an integer from 1 to 65535, got nothing',
      {
        metadata,
        subsets: [{ ports: [{ name: 'x' }] }],
      },
    ],
    ['subsets[1]: must be an object, got "x"', { metadata, subsets: [{}, 'x'] }],
  ])('refuses what the API would: %s', (reason, object) => {
    expect(mirrorEndpoints(object)).toEqual({ kind: 'invalid', code: 'INVALID_FIELD', reason });
  });
});
