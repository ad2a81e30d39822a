// Real packets through real rules: who is reached by which address, and whom the backend sees.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NODE_NAME, service, slice } from '../support/manifests.ts';
import { CLIENT, GATEWAY, NODE } from '../support/netns/topology.ts';
import type { Agent, Reply, Tally, Target } from '../support/netns/traffic.ts';
import { podIp, podIp6, TestNode } from '../support/test-node.ts';

const HTTP = { name: 'http', port: 80 } as const;
const DNS = { name: 'dns', protocol: 'UDP', port: 53 } as const;
const HTTP_TARGET = { name: 'http', port: 8080 } as const;
const DNS_TARGET = { name: 'dns', protocol: 'UDP', port: 5353 } as const;
const TARGETS = [HTTP_TARGET, DNS_TARGET];

const WEB = '10.96.0.1';
const WEB6 = 'fd00:10:96::1';
const EXTERNAL = '203.0.113.7';
const EXTERNAL6 = 'fd00:10:96::e';
const INGRESS = '203.0.113.8';
const INGRESS6 = 'fd00:10:96::f';
const HTTP_NODE_PORT = 30080;
const DNS_NODE_PORT = 30053;

let node: TestNode;
let client: Agent;
let host: Agent;
let visitor: Agent;

beforeAll(async () => {
  node = await TestNode.create(4);
  const { manifests } = node;
  client = node.topology.client.agent();
  host = node.netns.agent();
  visitor = node.topology.pod('pod-4').agent();
  manifests.put(
    'web',
    service('web', {
      clusterIps: [WEB, WEB6],
      ports: [
        { ...HTTP, nodePort: HTTP_NODE_PORT },
        { ...DNS, nodePort: DNS_NODE_PORT },
      ],
      externalIps: [EXTERNAL, EXTERNAL6],
      loadBalancerIps: [INGRESS, INGRESS6],
    }),
    slice('web', 'web-4', { ports: TARGETS, endpoints: [1, 2, 3].map(podIp) }),
    slice('web', 'web-6', { ports: TARGETS, endpoints: [1, 2, 3].map(podIp6) }),
  );
  manifests.put(
    'slices',
    service('slices', { clusterIps: ['10.96.0.2'], ports: [HTTP] }),
    // One name for two numbers, an endpoint in two slices, and one that is not ready.
    slice('slices', 'slices-a', { ports: [HTTP_TARGET], endpoints: [podIp(1), podIp(2)] }),
    slice('slices', 'slices-b', {
      ports: [{ name: 'http', port: 8081 }],
      endpoints: [podIp(3), { ip: podIp(4), ready: false, nodeName: NODE_NAME }],
    }),
    slice('slices', 'slices-c', { ports: [HTTP_TARGET], endpoints: [podIp(2)] }),
  );
  manifests.put(
    'empty',
    service('empty', { clusterIps: ['10.96.0.3', 'fd00:10:96::3'], ports: [HTTP, DNS] }),
  );
  manifests.put(
    'sctp',
    service('sctp', {
      clusterIps: ['10.96.0.4'],
      ports: [{ name: 'diameter', protocol: 'SCTP', port: 3868, nodePort: 30868 }],
    }),
    slice('sctp', 'sctp', {
      ports: [{ name: 'diameter', protocol: 'SCTP', port: 3868 }],
      endpoints: [podIp(1)],
    }),
  );
  manifests.put(
    'foreign',
    service('headless', { clusterIps: ['None'], ports: [HTTP] }),
    slice('headless', 'headless', { ports: TARGETS, endpoints: [podIp(1)] }),
    {
      ...service('alias', { clusterIps: [''], ports: [] }),
      spec: { type: 'ExternalName', externalName: 'x.org' },
    },
    service('elsewhere', {
      clusterIps: ['10.96.0.5'],
      ports: [{ ...HTTP, nodePort: 30905 }],
      labels: { 'service.kubernetes.io/service-proxy-name': 'other' },
    }),
    slice('elsewhere', 'elsewhere', { ports: TARGETS, endpoints: [podIp(1)] }),
  );
  await node.start();
});

afterAll(() => node?.delete());

const tcp = (address: string, port = 80): Target => ({
  protocol: 'tcp',
  host: address,
  port,
  timeoutMs: 1000,
});
const udp = (address: string, port = 53): Target => ({
  protocol: 'udp',
  host: address,
  port,
  timeoutMs: 1000,
});

/** Every request answered, and each of three pods within five standard deviations of a third of 300 requests. */
function expectSpread(tally: Tally): void {
  expect(tally).toMatchObject({ outcomes: { reply: 300 }, failures: [] });
  expect(Object.keys(tally.servers).sort()).toEqual(['pod-1', 'pod-2', 'pod-3']);
  for (const count of Object.values(tally.servers)) {
    expect(count).toBeGreaterThan(60);
    expect(count).toBeLessThan(140);
  }
}

describe('a cluster IP', () => {
  test.each([
    ['TCP', tcp(WEB), CLIENT.ip, podIp(4)],
    ['UDP', udp(WEB), CLIENT.ip, podIp(4)],
    ['TCP over IPv6', tcp(WEB6), CLIENT.ip6, podIp6(4)],
    ['UDP over IPv6', udp(WEB6), CLIENT.ip6, podIp6(4)],
  ])('%s: from a pod, with its own address', async (_, target, __, own) => {
    const tally = await visitor.burst({ ...target, count: 300 });
    expectSpread(tally);
    expect(tally.peers).toEqual({ [own]: 300 });
  });

  test.each([
    ['TCP', tcp(WEB), GATEWAY.ip],
    ['UDP', udp(WEB), GATEWAY.ip],
    ['TCP over IPv6', tcp(WEB6), GATEWAY.ip6],
    ['UDP over IPv6', udp(WEB6), GATEWAY.ip6],
  ])('%s: from outside and from the node, masqueraded', async (_, target, gateway) => {
    for (const from of [client, host]) {
      const tally = await from.burst({ ...target, count: 300 });
      expectSpread(tally);
      expect(tally.peers).toEqual({ [gateway]: 300 });
    }
  });

  test.each([
    ['IPv4', tcp(WEB), GATEWAY.ip, podIp(1)],
    ['IPv6', tcp(WEB6), GATEWAY.ip6, podIp6(1)],
    ['UDP', udp(WEB), GATEWAY.ip, podIp(1)],
  ])('%s: a pod that is sent back to itself sees the node as its client', async (_, target, gateway, own) => {
    const backend = node.topology.pod('pod-1').agent();
    const tally = await backend.burst({ ...target, count: 90 });
    expect(tally.outcomes).toEqual({ reply: 90 });
    expect(tally.servers['pod-1']).toBeGreaterThan(0);
    expect(tally.peers).toEqual({ [gateway]: tally.servers['pod-1'], [own]: 90 - tally.servers['pod-1']! });
  });
});

describe('several slices', () => {
  test('are one set of backends: each port number of a name, each endpoint once, only those that are ready', async () => {
    const tally = await visitor.burst({ ...tcp('10.96.0.2'), count: 300 });
    expect(tally.failures).toEqual([]);
    expect(Object.keys(tally.servers).sort()).toEqual(['pod-1', 'pod-2', 'pod-3:8081']);
    const row = (await node.table()).find(({ address }) => address === '10.96.0.2');
    expect(row?.backends).toEqual([
      { address: podIp(1), port: 8080 },
      { address: podIp(2), port: 8080 },
      { address: podIp(3), port: 8081 },
    ]);
  });
});

describe.each([
  ['TCP', tcp, HTTP_NODE_PORT, 80],
  ['UDP', udp, DNS_NODE_PORT, 53],
])('%s from elsewhere, always masqueraded', (_, to, nodePort, port) => {
  test.each([
    ['node port', NODE.ip, nodePort, GATEWAY.ip],
    ['node port over IPv6', NODE.ip6, nodePort, GATEWAY.ip6],
    ['external IP', EXTERNAL, port, GATEWAY.ip],
    ['external IP over IPv6', EXTERNAL6, port, GATEWAY.ip6],
    ['load balancer IP', INGRESS, port, GATEWAY.ip],
    ['load balancer IP over IPv6', INGRESS6, port, GATEWAY.ip6],
  ])('%s', async (__, address, number, gateway) => {
    expectSpread(await client.burst({ ...to(address, number), count: 300 }));
    for (const from of [client, host, visitor]) {
      const tally = await from.burst({ ...to(address, number), count: 20 });
      expect(tally).toMatchObject({ outcomes: { reply: 20 }, peers: { [gateway]: 20 } });
    }
  });
});

describe('a node port', () => {
  test('is served on the primary address only', async () => {
    await node.netns.ip('address add 192.168.50.11/24 dev eth0', 'address add fd00:50::11/64 dev eth0 nodad');
    for (const address of ['192.168.50.11', 'fd00:50::11', GATEWAY.ip, GATEWAY.ip6]) {
      expect((await host.probe(tcp(address, HTTP_NODE_PORT))).outcome).toBe('refused');
    }
    for (const address of ['192.168.50.11', 'fd00:50::11']) {
      expect((await client.probe(tcp(address, HTTP_NODE_PORT))).outcome).toBe('refused');
    }
    expect((await visitor.probe(tcp(GATEWAY.ip, HTTP_NODE_PORT))).outcome).toBe('refused');
    for (const address of ['127.0.0.1', '::1']) {
      expect((await host.probe(tcp(address, HTTP_NODE_PORT))).outcome).toBe('refused');
    }
  });

  test('swallows no listener of the node on another address', async () => {
    const listen = { protocol: 'tcp', port: HTTP_NODE_PORT, name: 'listener' } as const;
    const stops = await Promise.all(
      ['127.0.0.1', GATEWAY.ip].map((address) => host.serve({ ...listen, address })),
    );
    expect((await host.probe(tcp('127.0.0.1', HTTP_NODE_PORT))).server).toBe('listener');
    expect((await visitor.probe(tcp(GATEWAY.ip, HTTP_NODE_PORT))).server).toBe('listener');
    expect((await client.probe(tcp(NODE.ip, HTTP_NODE_PORT))).server).toMatch(/^pod-/);
    await Promise.all(stops.map((stop) => stop()));
  });

  test('of another node is none of ours', async () => {
    const stop = await client.serve({
      protocol: 'tcp',
      port: HTTP_NODE_PORT,
      name: 'other node',
      address: CLIENT.ip,
    });
    for (const from of [visitor, host]) {
      expect((await from.probe(tcp(CLIENT.ip, HTTP_NODE_PORT))).server).toBe('other node');
    }
    await stop();
  });
});

/** A datagram that is rejected on its way out of the host fails right in sendto(2), as with any firewall. */
function refusal(from: Agent, { protocol }: Target): Partial<Reply> {
  return from === host && protocol === 'udp' ? { code: 'EPERM' } : { outcome: 'refused' };
}

describe('nothing behind it', () => {
  test.each([
    ['IPv4', '10.96.0.3'],
    ['IPv6', 'fd00:10:96::3'],
  ])('a Service without endpoints refuses at once: %s', async (_, address) => {
    for (const from of [visitor, client, host]) {
      for (const target of [tcp(address), udp(address)]) {
        const reply = await from.probe(target);
        expect(reply).toMatchObject(refusal(from, target));
        expect(reply.latencyMs).toBeLessThan(100);
      }
    }
  });

  test('so does an unused port of a live cluster IP, and only that', async () => {
    for (const from of [visitor, client, host]) {
      for (const target of [tcp(WEB, 81), tcp(WEB6, 81), udp(WEB, 54), udp(WEB6, 54), tcp('10.96.0.3', 81)]) {
        expect(await from.probe(target)).toMatchObject(refusal(from, target));
      }
    }
    // The other ports of an external IP are not ours.
    await node.topology.client.ip(`address add ${EXTERNAL}/32 dev lo`);
    const direct = await client.serve({ protocol: 'tcp', port: 82, name: 'outside', address: EXTERNAL });
    expect((await host.probe(tcp(EXTERNAL, 82))).server).toBe('outside');
    await direct();
    await node.topology.client.ip(`address delete ${EXTERNAL}/32 dev lo`);
  });
});

describe('what is programmed', () => {
  test('SCTP, of which this kernel may have no sockets', async () => {
    const services = await node.nft('list', 'map', 'ip', 'kproxy-ts', 'services');
    expect(services).toMatch(/10\.96\.0\.4 \. sctp \. 3868 .*comment "default\/sctp:diameter" : 100:1/);
    const rows = (await node.table()).filter(({ protocol }) => protocol === 'SCTP');
    expect(rows).toMatchObject([
      { address: '10.96.0.4', port: 3868, kind: 'ClusterIP', backends: [{ address: podIp(1), port: 3868 }] },
      { address: '*', port: 30868, kind: 'NodePort', backends: [{ address: podIp(1), port: 3868 }] },
    ]);
  });

  test('nothing for headless and ExternalName Services, nor for one of another proxy', async () => {
    const owners = new Set((await node.table()).map((row) => row.service.split(':')[0]));
    expect([...owners].sort()).toEqual(['default/empty', 'default/sctp', 'default/slices', 'default/web']);
    expect((await visitor.probe({ ...tcp('10.96.0.5'), timeoutMs: 300 })).outcome).not.toBe('reply');
  });
});
