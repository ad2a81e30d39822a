// Health and metrics as a kubelet, a load balancer and a scraper see them, of the real daemon.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NODE_NAME, node as nodeObject, slice } from '../support/manifests.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import { NODE } from '../support/netns/topology.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const GET = `
  const answer = await fetch(process.argv[1]);
  console.log(JSON.stringify([answer.status, await answer.text()]));
`;

let node: TestNode;
let daemon: Daemon;

/** [status, body], asked on the node itself, or from outside; undefined when nobody listens. */
async function get(url: string, from: 'node' | 'client' = 'node'): Promise<[number, string] | undefined> {
  const argv = [process.execPath, '--input-type=module', '-e', GET, url];
  const { status, stdout } = await node.topology[from].tryExec(argv, { timeoutMs: 5000 });
  return status === 0 ? JSON.parse(stdout) : undefined;
}

const health = async (path: string) => (await get(`http://127.0.0.1:10256/${path}`))?.[0];

async function metric(name: string): Promise<number> {
  const [, text] = (await get('http://127.0.0.1:10249/metrics')) ?? [];
  const line = text?.split('\n').find((one) => one.startsWith(`${name} `) || one.startsWith(`${name}{`));
  return Number(line?.slice(line.lastIndexOf(' ') + 1));
}

beforeAll(async () => {
  node = await TestNode.create(1);
  node.manifests.put(
    'web',
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace: 'default', name: 'web' },
      spec: { clusterIP: '10.96.0.9', ports: [{ name: 'http', port: 80 }], internalTrafficPolicy: 'Local' },
    },
    slice('web', 'web-1', {
      ports: [{ name: 'http', port: 8080 }],
      endpoints: [{ ip: podIp(1), nodeName: NODE_NAME }],
    }),
  );
  daemon = await node.start('--sync-period=1s', '--nftables-own-table=false');
}, 30_000);
afterAll(() => node.delete());

test('healthy, live and ready; health is for others, too, metrics are for this node', async () => {
  expect(await Promise.all(['healthz', 'livez', 'readyz'].map(health))).toEqual([200, 200, 200]);
  expect((await get(`http://${NODE.ip}:10256/healthz`, 'client'))?.[0]).toBe(200);
  expect(await get(`http://${NODE.ip}:10249/metrics`, 'client')).toBeUndefined();
  expect(await get('http://127.0.0.1:10249/proxyMode')).toEqual([200, 'nftables']);
  expect(await get('http://127.0.0.1:10249/healthz')).toEqual([200, 'ok']);
});

test('syncs, changes and drift are counted', async () => {
  expect(await metric('kubeproxy_sync_proxy_rules_duration_seconds_count')).toBeGreaterThan(0);
  expect(await metric('kubeproxy_sync_proxy_rules_service_changes_total')).toBe(1);
  expect(await metric('kubeproxy_sync_proxy_rules_service_changes_pending')).toBe(0);
  expect(await metric('kproxy_ts_drift_repaired_total')).toBe(0);
  await node.netns.exec(['nft', 'flush', 'chain', 'ip', 'kproxy-ts', 'services']);
  await expect.poll(() => metric('kproxy_ts_drift_repaired_total'), { timeout: 10_000 }).toBe(1);
  expect(await metric('kubeproxy_proxy_healthz_total')).toBeGreaterThan(0);
});

test('a Local policy without local endpoints is counted', async () => {
  const lacking = () =>
    metric('kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy="internal",ip_family="IPv4"}');
  expect(await lacking()).toBe(0);
  node.manifests.put(
    'elsewhere',
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace: 'default', name: 'elsewhere' },
      spec: { clusterIP: '10.96.0.10', ports: [{ name: 'http', port: 80 }], internalTrafficPolicy: 'Local' },
    },
    slice('elsewhere', 'elsewhere-1', {
      ports: [{ name: 'http', port: 8080 }],
      endpoints: [{ ip: '10.1.9.9', nodeName: 'node-2' }],
    }),
  );
  await expect.poll(lacking, { timeout: 10_000 }).toBe(1);
});

describe('a node that is about to go', () => {
  test('is live and ready, and no longer for load balancers', async () => {
    const object = nodeObject(NODE.ip, NODE.ip6) as { spec?: object };
    node.manifests.put('node', {
      ...object,
      spec: { ...object.spec, taints: [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }] },
    });
    await expect.poll(() => health('healthz'), { timeout: 10_000 }).toBe(503);
    expect(await Promise.all(['livez', 'readyz'].map(health))).toEqual([200, 200]);
  });
});

test('nobody listens once it has stopped, and a port that is taken is an error with hard fail', async () => {
  expect(await daemon.stop()).toBe(0);
  expect(await health('livez')).toBeUndefined();
  await node.netns.agent().serve({ protocol: 'tcp', port: 10256, name: 'other' });
  const hard = node.kproxy(...node.flags, '--bind-address-hard-fail', '--metrics-bind-address=');
  expect(await hard).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('health server: listen on 0.0.0.0:10256: EADDRINUSE'),
  });
}, 30_000);
