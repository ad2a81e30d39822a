// Which Frontends let in whom: load-balancer addresses, whatever else they are, and nothing else.

import { describe, expect, test } from 'vitest';
import { formatCidr, parseCidr } from '../../src/model/ip.ts';
import type { SourceRanges } from '../../src/model/source-ranges.ts';
import type { Service } from '../../src/model/types.ts';
import { buildFrontends } from '../../src/vip/build-frontends.ts';
import { nodeFacts } from '../../src/vip/node-facts.ts';
import { HERE, ip, service, slice } from './objects.ts';

const ranges = (v4: readonly string[] | undefined, v6?: readonly string[]): SourceRanges => ({
  4: v4?.map((text) => parseCidr(text)!),
  6: v6?.map((text) => parseCidr(text)!),
});

/** `KIND ADDRESS: who is let in`, of a Service on a node with these addresses. */
function admitted(over: Partial<Service>, nodeAddresses: readonly string[] = [], endpoints = ['10.1.0.1']) {
  const facts = nodeFacts(
    { kind: 'NodeCIDR' },
    { name: HERE, zone: undefined, addresses: nodeAddresses.map(ip), podCidrs: [], isEligible: true },
  );
  const frontends = buildFrontends(
    service(over),
    [slice(endpoints)],
    { nodeName: HERE, masqueradeAll: false },
    facts,
  );
  return frontends.map(
    ({ kind, address, sourceRanges }) =>
      `${kind} ${address ?? '*'}: ${sourceRanges === undefined ? 'all' : sourceRanges.map(formatCidr).join() || 'nobody'}`,
  );
}

const balanced = {
  clusterIps: [ip('10.96.0.1'), ip('fd00::1')],
  ipFamilies: [4, 6],
  externalIps: [ip('192.0.2.1')],
  loadBalancerIps: [ip('203.0.113.1'), ip('203.0.113.2'), ip('2001:db8::1')],
  ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 30080 }],
} as const;

describe('source ranges', () => {
  test('concern load-balancer addresses of their family; cluster IPs, external IPs and node ports are open', () => {
    expect(admitted({ ...balanced, sourceRanges: ranges(['198.51.100.0/24']) })).toEqual([
      'ClusterIP 10.96.0.1: all',
      'ExternalIP 192.0.2.1: all',
      'LoadBalancer 203.0.113.1: 198.51.100.0/24',
      'LoadBalancer 203.0.113.2: 198.51.100.0/24',
      'NodePort *: all',
      'ClusterIP fd00::1: all',
      'LoadBalancer 2001:db8::1: all',
      'NodePort *: all',
    ]);
  });

  test('hold without endpoints', () => {
    const over = { loadBalancerIps: [ip('203.0.113.1')], sourceRanges: ranges(['198.51.100.0/24']) };
    expect(admitted(over, [], [])).toContain('LoadBalancer 203.0.113.1: 198.51.100.0/24');
  });

  test('that could not be read let nobody in', () => {
    expect(admitted({ ...balanced, sourceRanges: ranges([], []) }, ['198.51.100.9'])).toEqual(
      expect.arrayContaining(['LoadBalancer 203.0.113.1: nobody', 'LoadBalancer 2001:db8::1: nobody']),
    );
  });

  test.each([
    ['an external IP', { externalIps: [ip('203.0.113.1')] }, 'ExternalIP 203.0.113.1: 198.51.100.0/24'],
    ['a cluster IP', { clusterIps: [ip('203.0.113.1')] }, 'ClusterIP 203.0.113.1: 198.51.100.0/24'],
  ])('hold for a load-balancer address that is %s as well', (_, over, line) => {
    const sourceRanges = ranges(['198.51.100.0/24']);
    expect(admitted({ loadBalancerIps: [ip('203.0.113.1')], sourceRanges, ...over })).toContain(line);
  });

  describe('with this node in one of them', () => {
    const over = {
      ...balanced,
      sourceRanges: ranges(['198.51.100.0/24', '203.0.113.2/32'], ['fd00:50::/64']),
    };
    const v4 = 'LoadBalancer 203.0.113.1: 198.51.100.0/24,203.0.113.1/32,203.0.113.2/32';
    const v6 = 'LoadBalancer 2001:db8::1: 2001:db8::1/128,fd00:50::/64';
    test('let the load-balancer addresses in, which the node may take for its own', () => {
      expect(admitted(over, ['198.51.100.9', 'fd00:50::9'])).toEqual(expect.arrayContaining([v4, v6]));
    });

    test('by any of its addresses', () => {
      expect(admitted(over, ['10.0.0.1', '198.51.100.9'])).toContain(v4);
    });

    test('family by family', () => {
      const lines = admitted(over, ['198.51.100.9']);
      expect(lines).toContain(v4);
      expect(lines).toContain('LoadBalancer 2001:db8::1: fd00:50::/64');
    });

    test('name no address that lies in another range', () => {
      const wide = { ...balanced, sourceRanges: ranges(['198.51.100.0/24', '203.0.113.0/24']) };
      expect(admitted(wide, ['198.51.100.9'])).toContain(
        'LoadBalancer 203.0.113.1: 198.51.100.0/24,203.0.113.0/24',
      );
    });
  });
});
