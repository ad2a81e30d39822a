// What a mode cannot do for a Service is told, and told no more when it is not asked for.

import { expect, test } from 'vitest';
import { UnmetWishes } from '../../src/vip/unmet-wishes.ts';
import { frontend } from '../support/frontends.ts';

const web = frontend('web', { address: '10.96.0.1', backends: ['10.1.0.1:80'] });
const codes = (wishes: UnmetWishes): string[] =>
  wishes.problems().map(({ subject, code }) => `${subject} ${code}`);

test('a limit and the PROXY protocol, where connections do not end at this node', () => {
  const wishes = new UnmetWishes('nftables', () => true);
  wishes.note(web.service, [{ ...web, maxConnections: 5, proxyProtocol: 'v2' }]);
  expect(wishes.problems()).toEqual([
    {
      subject: 'Service default/web',
      code: 'NO_CONNECTION_LIMIT',
      reason: 'nftables mode does not limit connections; there is no limit',
    },
    {
      subject: 'Service default/web',
      code: 'NO_PROXY_PROTOCOL',
      reason: 'nftables mode has no PROXY protocol; endpoints are not told of clients',
    },
  ]);
  wishes.note(web.service, [web]);
  expect(wishes.problems()).toEqual([]);
});

test('neither where they do', () => {
  const wishes = new UnmetWishes('userspace', (scheduler) => scheduler === 'rr', true);
  wishes.note(web.service, [{ ...web, maxConnections: 5, proxyProtocol: 'v2', isDirect: true }]);
  expect(codes(wishes)).toEqual([
    'Service default/web UNSUPPORTED_SCHEDULER',
    'Service default/web NO_DIRECT_ROUTING',
  ]);
});
