// healthCheckNodePort as a load balancer outside sees it: 200 while the node has ready endpoints, 503 while it has none.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { NODE_NAME, slice } from '../support/manifests.ts';
import { NODE } from '../support/netns/topology.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const PORT = 32_100;
const ASK = `
  const answer = await fetch(process.argv[1]);
  console.log(JSON.stringify([answer.status, answer.headers.get('x-load-balancing-endpoint-weight'), await answer.json()]));
`;

let node: TestNode;

/** Asks from the client outside, with a fresh process: [status, weight, body], or undefined when nobody listens. */
async function ask(): Promise<unknown> {
  const url = `http://${NODE.ip}:${PORT}/`;
  const argv = [process.execPath, '--input-type=module', '-e', ASK, url];
  const { status, stdout } = await node.topology.client.tryExec(argv, { timeoutMs: 5000 });
  return status === 0 ? JSON.parse(stdout) : undefined;
}

function putWeb(nodeName: string, extra: object = {}): void {
  node.manifests.put(
    'web',
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace: 'default', name: 'web' },
      spec: {
        type: 'LoadBalancer',
        clusterIP: '10.96.0.9',
        clusterIPs: ['10.96.0.9'],
        externalTrafficPolicy: 'Local',
        healthCheckNodePort: PORT,
        ports: [{ name: 'http', port: 80 }],
        ...extra,
      },
      status: { loadBalancer: { ingress: [{ ip: '203.0.113.9' }] } },
    },
    slice('web', 'web-1', {
      ports: [{ name: 'http', port: 8080 }],
      endpoints: [1, 2].map((n) => ({ ip: podIp(n), nodeName })),
    }),
  );
}

beforeAll(async () => {
  node = await TestNode.create(2);
});
afterAll(() => node.delete());

test('follows the endpoints of this node, and goes with the policy', async () => {
  putWeb(NODE_NAME);
  const daemon = await node.start();
  const service = { namespace: 'default', name: 'web' };
  await expect
    .poll(ask, { timeout: 10_000 })
    .toEqual([200, '2', { service, localEndpoints: 2, serviceProxyHealthy: true }]);
  putWeb('node-2');
  await expect
    .poll(ask, { timeout: 10_000 })
    .toEqual([503, '0', { service, localEndpoints: 0, serviceProxyHealthy: true }]);
  putWeb(NODE_NAME, { externalTrafficPolicy: 'Cluster', healthCheckNodePort: undefined });
  await expect.poll(ask, { timeout: 10_000 }).toBeUndefined();
  await daemon.stop();
}, 60_000);
