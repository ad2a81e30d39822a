// /metrics/connections as a scraper reads it.

import { expect, test } from 'vitest';
import { connectionsPage } from '../../../src/daemon/metrics/connections-page.ts';
import type { ProxyCounts } from '../../../src/daemon/userspace/proxies.ts';
import { ConnectionCounts } from '../../../src/vip/connection-counts.ts';

test('Services and endpoints are lines of their own, sums over addresses, with names that cannot break a line', async () => {
  const counts = new ConnectionCounts();
  const web = { service: 'default/web:http', protocol: 'TCP', endpoint: undefined } as const;
  counts.add({ ...web, connections: 3n });
  counts.add({ ...web, connections: 2n ** 60n });
  counts.add({ ...web, protocol: 'UDP', connections: 1n });
  counts.add({ ...web, service: 'a/b', connections: 7n });
  counts.add({ ...web, service: 'a/b:"\\\n', connections: 8n });
  counts.add({ ...web, endpoint: '[fd00::1]:80', connections: 9n });
  expect(await connectionsPage(async () => counts.values())()).toBe(`\
# HELP kproxy_ts_service_connections_total Connections made to a port of a Service, over all of its addresses
# TYPE kproxy_ts_service_connections_total counter
kproxy_ts_service_connections_total{namespace="default",service="web",port="http",protocol="TCP"} 1152921504606846979
kproxy_ts_service_connections_total{namespace="default",service="web",port="http",protocol="UDP"} 1
kproxy_ts_service_connections_total{namespace="a",service="b",port="",protocol="TCP"} 7
kproxy_ts_service_connections_total{namespace="a",service="b",port="\\"\\\\\\n",protocol="TCP"} 8
# HELP kproxy_ts_endpoint_connections_total Connections that an endpoint of a Service got
# TYPE kproxy_ts_endpoint_connections_total counter
kproxy_ts_endpoint_connections_total{namespace="default",service="web",port="http",protocol="TCP",endpoint="[fd00::1]:80"} 9
`);
});

test('proxies have lines for what they count besides', async () => {
  const endpoint = {
    endpoint: '10.1.0.11:80',
    open: 1,
    connections: 5,
    failures: 2,
    bytesToEndpoint: 70,
    bytesToClient: 900,
  };
  const proxies: ProxyCounts = {
    ports: [{ service: 'default/web:http', protocol: 'TCP', refused: 3, endpoints: [endpoint] }],
    descriptors: { used: 12, limit: Number.POSITIVE_INFINITY },
    refusedForDescriptors: 0,
    strangers: 4,
  };
  const text = await connectionsPage(
    async () => [],
    () => proxies,
  )();
  const labels = 'namespace="default",service="web",port="http",protocol="TCP"';
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  expect(samples).toEqual([
    `kproxy_ts_endpoint_connections_total{${labels},endpoint="10.1.0.11:80"} 5`,
    `kproxy_ts_endpoint_open_connections{${labels},endpoint="10.1.0.11:80"} 1`,
    `kproxy_ts_endpoint_connect_failures_total{${labels},endpoint="10.1.0.11:80"} 2`,
    `kproxy_ts_endpoint_bytes_total{${labels},endpoint="10.1.0.11:80",direction="to_endpoint"} 70`,
    `kproxy_ts_endpoint_bytes_total{${labels},endpoint="10.1.0.11:80",direction="to_client"} 900`,
    `kproxy_ts_service_refused_connections_total{${labels}} 3`,
    'kproxy_ts_proxy_descriptors 12',
    'kproxy_ts_proxy_descriptors_limit +Inf',
    'kproxy_ts_proxy_refused_for_descriptors_total 0',
    'kproxy_ts_proxy_strangers_total 4',
  ]);
  const typed = text.split('\n').filter((line) => line.startsWith('# TYPE'));
  expect(new Set(samples.map((line) => line.split(/[{ ]/)[0])).size).toBe(typed.length - 1);
});

test('who asks meanwhile gets the same answer, who asks later another', async () => {
  let reads = 0;
  const page = connectionsPage(async () => {
    reads++;
    await new Promise((resolve) => setImmediate(resolve));
    return [];
  });
  await Promise.all([page(), page(), page()]);
  expect(reads).toBe(1);
  await page();
  expect(reads).toBe(2);
});

test('a failure is told to everybody who asked, and the next one is asked anew', async () => {
  let reads = 0;
  const page = connectionsPage(async () => {
    if (reads++ === 0) throw new Error('no');
    return undefined;
  });
  const [one, other] = await Promise.allSettled([page(), page()]);
  expect([one?.status, other?.status]).toEqual(['rejected', 'rejected']);
  expect(await page()).toContain('# TYPE');
});
