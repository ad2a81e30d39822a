// Which external IPs are served.

import { expect, test } from 'vitest';
import { parseCidr } from '../../src/model/ip.ts';
import { buildFrontends } from '../../src/vip/build-frontends.ts';
import { externalIpProblems } from '../../src/vip/external-ips.ts';
import { nodeFacts } from '../../src/vip/node-facts.ts';
import { HERE, ip, service, slice } from './objects.ts';

const facts = nodeFacts({ kind: 'NodeCIDR' }, undefined);
const cidrs = (...texts: string[]) => texts.map((text) => parseCidr(text)!);
const claimed = service({
  clusterIps: [ip('10.96.0.1'), ip('fd00::1')],
  ipFamilies: [4, 6],
  externalIps: [ip('192.0.2.1'), ip('198.51.100.1'), ip('2001:db8::1')],
});

const served = (one: typeof claimed, allowedExternalIps: ReturnType<typeof cidrs> | undefined) =>
  buildFrontends(
    one,
    [slice(['10.1.0.1'])],
    { nodeName: HERE, masqueradeAll: false, allowedExternalIps },
    facts,
  )
    .filter(({ kind }) => kind !== 'ClusterIP')
    .map(({ kind, address }) => `${kind} ${address}`);

test.each([
  ['all', undefined, ['192.0.2.1', '198.51.100.1', '2001:db8::1']],
  ['none', [], []],
  ['those within a network', cidrs('192.0.2.0/24'), ['192.0.2.1']],
  ['those within several', cidrs('198.51.100.1/32', '2001:db8::/32'), ['198.51.100.1', '2001:db8::1']],
])('%s', (_, allowed, expected) => {
  expect(served(claimed, allowed)).toEqual(expected.map((address) => `ExternalIP ${address}`));
});

test('one that is a load-balancer address too is served as that', () => {
  const both = { ...claimed, loadBalancerIps: [ip('192.0.2.1')] };
  expect(served(both, [])).toEqual(['LoadBalancer 192.0.2.1']);
});

test('many that are not allowed are told in one line', () => {
  const many = { ...claimed, externalIps: Array.from({ length: 200 }, (_, i) => ip(`203.0.113.${i}`)) };
  const [problem, ...others] = externalIpProblems(many, []);
  expect(others).toEqual([]);
  expect(problem!.reason).toContain('203.0.113.4 and 195 more');
  expect(problem!.reason.length).toBeLessThan(250);
});
