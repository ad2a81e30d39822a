// Ports with a Local policy and endpoints elsewhere only, counted.

import { expect, test } from 'vitest';
import type { ServiceKey } from '../../src/model/types.ts';
import type { Frontend } from '../../src/vip/frontend.ts';
import { LackingLocal } from '../../src/vip/lacking-local.ts';
import { frontend } from '../support/frontends.ts';

const [A, B] = ['default/a', 'default/b'] as ServiceKey[];

const counts = (lacking: LackingLocal, service: ServiceKey, ...frontends: Frontend[]) =>
  Object.fromEntries(
    lacking
      .update(new Map([[service, frontends]]))
      .map(({ family, policy, count }) => [`IPv${family} ${policy}`, count]),
  );

test('a port counts once however many addresses it has, until it has an endpoint here or is gone', () => {
  const lacking = new LackingLocal();
  const none = { backends: [], trafficPolicy: 'Local', whenEmpty: 'drop' } as const;
  const external = [
    frontend('a', { ...none, kind: 'ExternalIP', address: '203.0.113.1' }),
    frontend('a', { ...none, kind: 'LoadBalancer', address: '198.51.100.1' }),
    frontend('a', { ...none, kind: 'ExternalIP', address: '2001:db8::1' }),
  ];
  const all = { 'IPv4 internal': 0, 'IPv4 external': 1, 'IPv6 internal': 0, 'IPv6 external': 1 };
  expect(counts(lacking, A!, ...external)).toEqual(all);
  const internal = frontend('b', { ...none, address: '10.96.0.1' });
  expect(counts(lacking, B!, internal)).toEqual({ ...all, 'IPv4 internal': 1 });
  // Without endpoints anywhere the policy keeps nothing away.
  expect(counts(lacking, B!, { ...internal, whenEmpty: 'refuse' })).toEqual(all);
  expect(counts(lacking, A!)).toEqual({ ...all, 'IPv4 external': 0, 'IPv6 external': 0 });
});
