// What Events say.

import { expect, test } from 'vitest';
import {
  configurationRefused,
  notInForce,
  oddity,
  repaired,
  starting,
} from '../../../src/daemon/events/compose.ts';

test("the start is kube-proxy's own Event, and says what runs here and how", () => {
  expect(starting('1.2.3', 'iptables')).toEqual({
    type: 'Normal',
    reason: 'Starting',
    action: 'StartKubeProxy',
    note: 'kproxy-ts v1.2.3 is starting in iptables mode',
    related: undefined,
  });
});

test.each([
  ['Service default/web', { apiVersion: 'v1', kind: 'Service', namespace: 'default', name: 'web' }],
  [
    'EndpointSlice a/b-1',
    { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', namespace: 'a', name: 'b-1' },
  ],
  ['Node node-1', { apiVersion: 'v1', kind: 'Node', namespace: '', name: 'node-1' }],
  ['Service in API server', undefined],
  ['web.yaml document 2', undefined],
  ['constructor a/b', undefined],
])('a problem of %s is told by its code and is about that object', (subject, related) => {
  expect(oddity({ subject, code: 'VIP_CONFLICT', reason: 'taken' })).toEqual({
    type: 'Warning',
    reason: 'VipConflict',
    action: 'SyncProxyRules',
    note: `${subject}: taken`,
    related,
  });
});

test('repairs, failures and refused configurations are warnings of their own', () => {
  const events = [repaired('ipvs'), notInForce('EPERM'), configurationRefused('mode: "x"')];
  expect(events.map(({ type, reason, note }) => [type, reason, note])).toEqual([
    [
      'Warning',
      'RulesRepaired',
      'somebody else had changed rules of kproxy-ts (ipvs mode); they have been repaired',
    ],
    ['Warning', 'RulesNotInForce', 'rules are not up to date: EPERM'],
    ['Warning', 'ConfigurationRefused', 'the new configuration is refused, the old one stays: mode: "x"'],
  ]);
});
