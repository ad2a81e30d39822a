// Connections per Service and endpoint, counted by the kernel, of real clients.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import { NODE } from '../support/netns/topology.ts';
import { podIp, podIp6, TestNode } from '../support/test-node.ts';

const HTTP = [{ name: 'http', port: 80, nodePort: 30080 }];
const ON_PODS = [{ name: 'http', port: 8080 }];

const GET = `console.log(await (await fetch('http://127.0.0.1:10249/metrics/connections')).text())`;

let node: TestNode;

beforeAll(async () => {
  node = await TestNode.create(2);
  node.manifests.put(
    'web',
    service('web', { clusterIps: ['10.96.0.9', 'fd00:10:96::9'], ports: HTTP }),
    slice('web', 'web-4', { ports: ON_PODS, endpoints: [podIp(1), podIp(2)] }),
    slice('web', 'web-6', { ports: ON_PODS, endpoints: [podIp6(1)] }),
    service('idle', { clusterIps: ['10.96.0.10'], ports: [{ port: 80 }] }),
  );
}, 30_000);
afterAll(() => node.delete());

/** Samples by name and labels. */
async function scrape(): Promise<Map<string, number>> {
  const text = await node.netns.exec([process.execPath, '--input-type=module', '-e', GET]);
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

const SERVICE = 'kproxy_ts_service_connections_total{namespace="default",service=';
const WEB = `${SERVICE}"web",port="http",protocol="TCP"}`;

/** Connections that got an answer, by pod. */
async function dial(count: number, host: string, port: number): Promise<Readonly<Record<string, number>>> {
  const { servers } = await node.topology.client.agent().burst({ protocol: 'tcp', host, port, count });
  expect(Object.values(servers).reduce((sum, one) => sum + one, 0)).toBe(count);
  return servers;
}

describe.each(['nftables', 'iptables', 'userspace'])('%s mode', (mode) => {
  test('counts what clients do, over all addresses and families', async () => {
    const daemon = await node.start(`--proxy-mode=${mode}`);
    try {
      const before = await scrape();
      expect(before.get(WEB)).toBe(0);
      expect(before.get(`${SERVICE}"idle",port="",protocol="TCP"}`)).toBe(0);
      const [atVip, atPort] = [await dial(5, '10.96.0.9', 80), await dial(3, NODE.ip, 30080)];
      await dial(2, 'fd00:10:96::9', 80);
      const after = await scrape();
      expect(after.get(WEB)).toBe(10);
      const endpoints = [...after].filter(([name]) => name.startsWith('kproxy_ts_endpoint_connections'));
      if (mode !== 'nftables') {
        const labels = 'namespace="default",service="web",port="http",protocol="TCP"';
        const of = (endpoint: string) =>
          after.get(`kproxy_ts_endpoint_connections_total{${labels},endpoint="${endpoint}"}`);
        for (const n of [1, 2]) {
          const got = (atVip[`pod-${n}`] ?? 0) + (atPort[`pod-${n}`] ?? 0);
          expect(of(`${podIp(n)}:8080`)).toBe(got);
        }
        expect(of(`[${podIp6(1)}]:8080`)).toBe(2);
        expect(endpoints).toHaveLength(3);
        if (mode === 'iptables') return;
        const labels6 = `${labels},endpoint="[${podIp6(1)}]:8080"`;
        // A request is a line, and so is an answer.
        expect(
          after.get(`kproxy_ts_endpoint_bytes_total{${labels6},direction="to_endpoint"}`),
        ).toBeGreaterThan(1);
        expect(after.get(`kproxy_ts_endpoint_bytes_total{${labels6},direction="to_client"}`)).toBeGreaterThan(
          50,
        );
        expect(after.get(`kproxy_ts_endpoint_connect_failures_total{${labels6}}`)).toBe(0);
        expect(after.get('kproxy_ts_proxy_strangers_total')).toBe(0);
      } else expect(endpoints).toEqual([]);
    } finally {
      await daemon.stop();
      await node.kproxy('cleanup');
    }
  }, 60_000);
});
