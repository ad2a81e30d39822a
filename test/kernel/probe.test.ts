// The probe of a real daemon: through rules that work, and through rules that lead nowhere.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const VIP = '10.96.0.1';
const PORTS = [{ name: 'http', port: 80 }];

let node: TestNode;
beforeAll(async () => {
  node = await TestNode.create(1);
});
afterAll(() => node?.delete());

const put = (...endpoints: string[]) =>
  node.manifests.put(
    'web',
    service('web', { clusterIps: [VIP], ports: PORTS }),
    slice('web', 'web-1', { ports: [{ name: 'http', port: 8080 }], endpoints }),
  );

const get = async (url: string): Promise<string> =>
  (await node.netns.tryExec(['curl', '-s', '-w', ' %{http_code}', `http://127.0.0.1:${url}`])).stdout;

test('readiness follows it, liveness and load balancers do not', async () => {
  put(podIp(1));
  const daemon = await node.start(`--probe-vip=${VIP}:80`);
  await daemon.waitForLog('probe passes');
  expect(await get('10256/readyz')).toMatch(
    /"probe":\{"address":"10\.96\.0\.1:80","passing":true,"outcome":"connected"\}.* 200$/,
  );
  expect(await get('10249/metrics')).toMatch(/^kproxy_ts_probe_passing 1$/m);

  put();
  await daemon.waitForLog('probe fails', { timeoutMs: 25_000 });
  expect(await get('10256/readyz')).toMatch(/"passing":false,"outcome":"refused".* 503$/);
  for (const path of ['livez', 'healthz']) expect(await get(`10256/${path}`)).toMatch(/ 200$/);
  expect(await get('10249/metrics')).toMatch(/^kproxy_ts_probe_passing 0$/m);
  expect(await get('10249/metrics')).toMatch(/^kproxy_ts_probes_total\{outcome="refused"\} [3-9]$/m);

  const from = daemon.log.length;
  put(podIp(1));
  await daemon.waitForLog('probe passes', { from });
  expect(await get('10256/readyz')).toMatch(/ 200$/);
}, 60_000);
