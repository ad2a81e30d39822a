import { expect, it } from 'vitest';
import { buildNode } from '../../src/model/build-node.ts';
import { formatCidr } from '../../src/model/ip.ts';

function raw(addresses: unknown, name: unknown = 'node-1.example'): object {
  return { metadata: { name }, status: { addresses } };
}

it('orders internal addresses before external ones and passes over names', () => {
  const addresses = [
    { type: 'Hostname', address: 'node-1' },
    { type: 'ExternalIP', address: '203.0.113.1' },
    { type: 'InternalIP', address: '192.168.50.10' },
    { type: 'InternalIP', address: 'FD00::0010' },
    { type: 'ExternalIP', address: '192.168.50.10' },
    { type: 'InternalDNS', address: 'node-1.internal' },
  ];
  const value = {
    name: 'node-1.example',
    zone: undefined,
    addresses: ['192.168.50.10', 'fd00::10', '203.0.113.1'],
    podCidrs: [],
    isEligible: true,
  };
  expect(buildNode(raw(addresses))).toEqual({ kind: 'built', value, warnings: [] });
});

it('skips an address that is none', () => {
  const built = buildNode(
    raw([
      { type: 'InternalIP', address: 'x' },
      { type: 'InternalIP', address: '10.0.0.1' },
    ]),
  );
  expect(built).toEqual({
    kind: 'built',
    value: {
      name: 'node-1.example',
      zone: undefined,
      addresses: ['10.0.0.1'],
      podCidrs: [],
      isEligible: true,
    },
    warnings: [
      {
        code: 'SKIPPED_FIELD',
        reason: 'status.addresses[0].address: must be an IP address, got "x"; skipped',
      },
    ],
  });
});

it('has no addresses before the kubelet reports them', () => {
  expect(buildNode({ metadata: { name: 'n' } })).toMatchObject({ value: { name: 'n', addresses: [] } });
});

it.each<[string, object, string[]]>([
  [
    'both fields',
    { podCIDR: '10.1.0.0/24', podCIDRs: ['10.1.0.0/24', 'fd00:1::/64'] },
    ['10.1.0.0/24', 'fd00:1::/64'],
  ],
  ['the list alone', { podCIDRs: ['fd00:1::/64', '10.1.0.0/24'] }, ['fd00:1::/64', '10.1.0.0/24']],
  ['the single field alone', { podCIDR: '10.1.0.0/24' }, ['10.1.0.0/24']],
  ['the single field and an empty list', { podCIDR: '10.1.0.0/24', podCIDRs: [] }, ['10.1.0.0/24']],
  ['host bits and leading zeros', { podCIDRs: ['010.1.0.7/24'] }, ['10.1.0.0/24']],
  ['null fields', { podCIDR: null, podCIDRs: null }, []],
  ['an empty one', { podCIDR: '' }, []],
])('with pod CIDRs: %s', (_, spec, expected) => {
  const built = buildNode({ metadata: { name: 'n' }, spec });
  if (built.kind !== 'built') throw new Error(built.reason);
  expect(built.value.podCidrs.map(formatCidr)).toEqual(expected);
  expect(built.warnings).toEqual([]);
});

it('skips a pod CIDR that is none', () => {
  const built = buildNode({ metadata: { name: 'n' }, spec: { podCIDRs: ['10.1.0.0', '10.2.0.0/24'] } });
  expect(built).toMatchObject({
    value: { podCidrs: [{ ip: '10.2.0.0', prefix: 24, family: 4 }], isEligible: true },
    warnings: [
      {
        code: 'SKIPPED_FIELD',
        reason: 'spec.podCIDRs[0]: must be a CIDR such as 192.0.2.0/24, got "10.1.0.0"; skipped',
      },
    ],
  });
});

it.each([
  ['the zone label', { 'topology.kubernetes.io/zone': 'zone-a' }, 'zone-a'],
  ['an empty zone label', { 'topology.kubernetes.io/zone': '' }, undefined],
  ['a null zone label', { 'topology.kubernetes.io/zone': null }, undefined],
  ['the beta label, which is not read', { 'failure-domain.beta.kubernetes.io/zone': 'zone-a' }, undefined],
  ['a region only', { 'topology.kubernetes.io/region': 'region-1' }, undefined],
  ['null labels', null, undefined],
])('with %s', (_, labels, zone) => {
  expect(buildNode({ metadata: { name: 'n', labels } })).toMatchObject({ kind: 'built', value: { zone } });
});

it.each([
  [{}, 'metadata.name: must be a DNS subdomain of at most 253 characters, got nothing'],
  [raw([], 'Node 1'), 'metadata.name: must be a DNS subdomain of at most 253 characters, got "Node 1"'],
  [raw([], 'a'.repeat(254)), /^metadata\.name: must be a DNS subdomain/],
  [
    { metadata: { name: 'n', labels: { 'topology.kubernetes.io/zone': 1 } } },
    'metadata.labels["topology.kubernetes.io/zone"]: must be a string, got 1',
  ],
  [raw('10.0.0.1'), 'status.addresses: must be a list, got "10.0.0.1"'],
])('refuses %j', (object, reason) => {
  expect(buildNode(object)).toEqual({
    kind: 'invalid',
    code: 'INVALID_FIELD',
    reason: typeof reason === 'string' ? reason : expect.stringMatching(reason),
  });
});
