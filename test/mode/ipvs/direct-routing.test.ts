import { expect, test } from 'vitest';
import { routed, routingProblem } from '../../../src/mode/ipvs/direct-routing.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import { frontend } from '../../support/frontends.ts';

const BACKENDS = ['10.1.0.11:80', '10.1.0.12:80'];
const direct = (some: Partial<Parameters<typeof frontend>[1]> = {}): Frontend => ({
  ...frontend('web', { kind: 'ExternalIP', address: '198.51.100.7', port: 80, backends: BACKENDS, ...some }),
  masquerade: 'always',
  isDirect: true,
});

test('an external IP is answered by its backends, but to this node and its pods', () => {
  const asked = direct();
  expect(routingProblem([asked])).toBeUndefined();
  expect(routed(asked)).toEqual({ ...asked, masquerade: 'never', insideBackends: asked.backends });
});

test('what has an inside already keeps it', () => {
  const asked = { ...direct(), insideBackends: [] };
  expect(routed(asked).insideBackends).toEqual([]);
});

test('a tunnel changes no port', () => {
  const asked = direct({ backends: ['10.1.0.11:80', '10.1.0.12:8080'] });
  const { isDirect: _, ...plain } = asked;
  expect(routed(asked)).toEqual(plain);
  expect(routingProblem([direct(), asked])).toEqual({
    subject: 'Service default/web',
    code: 'NO_DIRECT_ROUTING',
    reason:
      'direct routing: port 80 leads to port 8080 of 10.1.0.12, and a tunnel changes no port; answers come through this node',
  });
});

test.each([
  ['a cluster IP', { kind: 'ClusterIP', address: '10.96.0.1' }],
  ['a node port', { kind: 'NodePort', address: undefined, port: 80 }],
] as const)('%s is answered from here, which is told of a Service with nothing else', (_, some) => {
  const asked: Frontend = { ...direct(), ...(some as Partial<Frontend>) };
  const { isDirect: __, ...plain } = asked;
  expect(routed(asked)).toEqual(plain);
  expect(routingProblem([asked])?.reason).toMatch(/^direct routing: it has no external or load-balancer IP/);
  expect(routingProblem([asked, direct()])).toBeUndefined();
});

test('who does not ask is left alone', () => {
  const { isDirect: _, ...plain } = direct({ backends: ['10.1.0.11:8080'] });
  expect(routed(plain)).toBe(plain);
  expect(routingProblem([plain])).toBeUndefined();
  expect(routingProblem([])).toBeUndefined();
});
