// userspace mode as a whole: the daemon, its portals and real connections through its proxies.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import { GATEWAY, NODE } from '../support/netns/topology.ts';
import type { Agent, Target } from '../support/netns/traffic.ts';
import { podIp, podIp6, TestNode, written } from '../support/test-node.ts';

const MODE = '--proxy-mode=userspace';
const VIP = '10.96.0.1';
const VIP6 = 'fd00:10:96::1';
const HTTP = { name: 'http', port: 80 } as const;
const DNS = { name: 'dns', port: 53, protocol: 'UDP' } as const;
const TARGETS = [
  { name: 'http', port: 8080 },
  { name: 'dns', port: 5353, protocol: 'UDP' },
] as const;
const TCP: Target = { protocol: 'tcp', host: VIP, port: 80 };
const TCP6: Target = { ...TCP, host: VIP6 };
const UDP: Target = { protocol: 'udp', host: VIP, port: 53 };
const UDP6: Target = { ...UDP, host: VIP6 };
const TCP_NODE_PORT: Target = { protocol: 'tcp', host: NODE.ip, port: 30080 };
const UDP_NODE_PORT: Target = { protocol: 'udp', host: NODE.ip6, port: 30053 };

let node: TestNode;
let daemon: Daemon | undefined;
let client: Agent;
let host: Agent;
let pod: Agent;

beforeAll(async () => {
  node = await TestNode.create(3);
  client = node.topology.client.agent();
  host = node.netns.agent();
  pod = node.topology.pod('pod-3').agent();
});
afterEach(async () => {
  await daemon?.stop('SIGKILL');
  daemon = undefined;
});
afterAll(() => node?.delete());

const web = (pods: readonly number[]): void =>
  node.manifests.put(
    'web',
    service('web', {
      clusterIps: [VIP, VIP6],
      ports: [
        { ...HTTP, nodePort: 30080 },
        { ...DNS, nodePort: 30053 },
      ],
      type: 'NodePort',
    }),
    slice('web', 'web-4', { ports: [...TARGETS], endpoints: pods.map(podIp) }),
    slice('web', 'web-6', { ports: [...TARGETS], endpoints: pods.map(podIp6) }),
  );
const start = async (...flags: string[]): Promise<Daemon> => {
  daemon = await node.start(MODE, ...flags);
  return daemon;
};
const tables = () => node.nft('list', 'tables');

test('all ways in, over both families, to every endpoint, which see the node', async () => {
  web([1, 2]);
  await start();
  for (const [agent, targets] of [
    [client, [TCP, TCP6, UDP, UDP6, TCP_NODE_PORT, UDP_NODE_PORT]],
    [host, [TCP, TCP6, UDP, UDP6, TCP_NODE_PORT, UDP_NODE_PORT]],
    [pod, [TCP, TCP6, UDP, UDP6, { ...TCP_NODE_PORT, host: GATEWAY.ip }]],
  ] as const) {
    for (const target of targets) {
      const { outcomes, servers, peers } = await agent.burst({ ...target, count: 20 });
      expect({ target, outcomes }).toEqual({ target, outcomes: { reply: 20 } });
      expect(Object.keys(servers).sort()).toEqual(['pod-1', 'pod-2']);
      const seen = Object.keys(peers);
      expect(seen).toEqual([seen[0]!.includes(':') ? GATEWAY.ip6 : GATEWAY.ip]);
    }
  }
  // An unused port of a cluster IP is refused at once.
  expect(await pod.probe({ ...TCP, port: 81 })).toMatchObject({ outcome: 'refused' });
  expect(await node.diff(MODE)).toMatchObject({ status: 0, stdout: '' });

  const rows = await node.table();
  expect(
    rows.map(({ service, address, port, action }) => `${service} ${address}:${port} ${action}`),
  ).toContain(`default/web:http ${VIP}:80 proxy`);
  const { stdout } = await node.kproxy('table');
  expect(stdout).toMatch(new RegExp(`default/web:http +${VIP}:80/TCP +proxy ${NODE.ip}:\\d+ +60\n`));
});

test('an endpoint that comes or goes is met by the next connection; without any they are refused', async () => {
  web([1]);
  await start();
  expect(await pod.probe(TCP)).toMatchObject({ server: 'pod-1' });
  // To the kernel that is nothing.
  web([2]);
  await expect.poll(async () => (await pod.probe(TCP)).server).toBe('pod-2');
  await written(daemon!, () => web([]));
  expect(await pod.probe(TCP)).toMatchObject({ outcome: 'refused' });
  expect(await pod.probe(UDP)).toMatchObject({ outcome: 'refused' });
  await written(daemon!, () => web([1]));
  expect(await pod.probe(TCP)).toMatchObject({ server: 'pod-1' });
  expect(await pod.probe(UDP)).toMatchObject({ server: 'pod-1' });
});

test('connections to an endpoint that is gone are reset where the Service asks for it, and only those', async () => {
  const show = (
    name: string,
    vip: string,
    annotations: Record<string, string>,
    pods: readonly number[],
  ): void =>
    node.manifests.put(
      name,
      service(name, { clusterIps: [vip], ports: [HTTP], annotations }),
      slice(name, name, { ports: [TARGETS[0]], endpoints: pods.map(podIp) }),
    );
  const asks = { 'kproxy-ts.io/removed-endpoint-tcp': 'reset-after=0s' };
  show('web', VIP, asks, [1]);
  show('kept', '10.96.0.2', {}, [1]);
  await start();
  const [gone, kept] = [await client.hold(TCP), await client.hold({ ...TCP, host: '10.96.0.2' })];
  show('web', VIP, asks, [1, 2]);
  await expect
    .poll(async () => Object.keys((await client.burst({ ...TCP, count: 4 })).servers))
    .toContain('pod-2');
  // In turn: of two one is to pod 2.
  const [one, other] = [await client.hold(TCP), await client.hold(TCP)];
  const [lasting, going] = one.first.server === 'pod-2' ? [one, other] : [other, one];
  show('web', VIP, asks, [2]);
  show('kept', '10.96.0.2', {}, [2]);
  await expect.poll(async () => (await pod.probe({ ...TCP, host: '10.96.0.2' })).server).toBe('pod-2');
  await sleep(200);
  expect(await kept.release()).toMatchObject({ outcome: 'reply', server: 'pod-1' });
  expect(await lasting.release()).toMatchObject({ outcome: 'reply', server: 'pod-2' });
  expect(await going.release()).toMatchObject({ outcome: 'reset' });
  expect(await gone.release()).toMatchObject({ outcome: 'reset' });
  node.manifests.remove('kept');
});

describe('a proxy of its own accord', () => {
  /** The ports that proxies listen at, as the rules have them. */
  const portals = async (): Promise<readonly { protocol: string; port: number }[]> => {
    const text = await node.nft('list', 'set', 'ip', 'kproxy-ts-userspace', 'portals');
    return [...text.matchAll(/ \. (tcp|udp) \. (\d+)/g)].map(([, protocol = '', port]) => ({
      protocol,
      port: Number(port),
    }));
  };

  test('serves nobody who dials it directly, and so gets past source ranges', async () => {
    node.manifests.put(
      'web',
      service('web', {
        clusterIps: [VIP],
        ports: [HTTP, DNS],
        loadBalancerIps: ['203.0.113.8'],
        sourceRanges: ['198.51.100.0/24'],
      }),
      slice('web', 'web-4', { ports: [...TARGETS], endpoints: [podIp(1)] }),
    );
    await start();
    expect(await client.probe({ ...TCP, host: '203.0.113.8', timeoutMs: 300 })).toMatchObject({
      outcome: 'timeout',
    });
    expect(await client.probe({ ...UDP, host: '203.0.113.8', timeoutMs: 300 })).toMatchObject({
      outcome: 'timeout',
    });
    const found = await portals();
    expect(found.map(({ protocol }) => protocol).sort()).toEqual(['tcp', 'udp', 'udp']);
    for (const { protocol, port } of found) {
      for (const agent of [client, pod, host]) {
        const target = { protocol: protocol as 'tcp' | 'udp', host: NODE.ip, port };
        expect(await agent.probe(target)).toMatchObject({ outcome: 'refused' });
      }
    }
  });

  test('is not led to itself by an endpoint that is a virtual address, or has the number of a node port', async () => {
    // A Service whose endpoint is its own address, and one whose endpoint is a server of this node on its own node port.
    const stop = await host.serve({ protocol: 'tcp', port: 30081, name: 'node', address: NODE.ip });
    node.manifests.put(
      'web',
      service('loop', { clusterIps: ['10.96.0.7'], ports: [HTTP] }),
      slice('loop', 'loop', { ports: [{ name: 'http', port: 80 }], endpoints: ['10.96.0.7'] }),
      service('own', { clusterIps: ['10.96.0.8'], ports: [{ ...HTTP, nodePort: 30081 }], type: 'NodePort' }),
      slice('own', 'own', { ports: [{ name: 'http', port: 30081 }], endpoints: [NODE.ip] }),
    );
    await start();
    expect(await client.probe({ ...TCP_NODE_PORT, port: 30081 })).toMatchObject({ server: 'node' });
    expect(await host.probe({ ...TCP_NODE_PORT, port: 30081 })).toMatchObject({ server: 'node' });
    expect(await pod.probe({ ...TCP, host: '10.96.0.8' })).toMatchObject({ server: 'node' });
    await pod.probe({ ...TCP, host: '10.96.0.7', timeoutMs: 1000 });
    // One client and a few attempts, not one connection after the other for ever.
    const flows = (await node.netns.exec(['conntrack', '-L', '-d', '10.96.0.7'])).trim().split('\n');
    expect(flows.length).toBeLessThan(8);
    await stop();
  });
});

describe('the end of the daemon', () => {
  test('by kill -9: the portals are gone with it, and nothing points at a dead port', async () => {
    web([1, 2]);
    await start();
    expect(await tables()).toContain('kproxy-ts-userspace\n');
    await daemon!.stop('SIGKILL');
    await expect.poll(tables).not.toContain('kproxy-ts-userspace\n');
    await start();
    expect(await pod.probe(TCP)).toMatchObject({ outcome: 'reply' });
    // The flow of a UDP client that goes on from the same port led to a port of the former daemon.
    expect(await pod.probe(UDP)).toMatchObject({ outcome: 'reply' });
  });

  test('a UDP client that goes on finds the proxies of the next daemon', async () => {
    web([1]);
    await start();
    const held = await pod.hold({ ...UDP, intervalMs: 60_000 });
    await daemon!.stop('SIGKILL');
    await sleep(200);
    await start();
    await sleep(200);
    expect(await held.release()).toMatchObject({ outcome: 'reply', server: 'pod-1' });
  });

  test('by a signal: nobody new is led here, and what is established has its time', async () => {
    web([1, 2]);
    await start('--userspace-drain-timeout=2s');
    const held = await client.hold({ ...TCP, intervalMs: 50 });
    const startMs = performance.now();
    const stopping = daemon!.stop();
    await expect.poll(tables).not.toContain('kproxy-ts-userspace\n');
    expect(await pod.probe({ ...TCP, timeoutMs: 300 })).not.toMatchObject({ outcome: 'reply' });
    await sleep(500);
    const { asked, outcome } = await held.release();
    expect(outcome).toBe('reply');
    expect(asked).toBeGreaterThan(5);
    expect(await stopping).toBe(0);
    // Not longer than they take.
    expect(performance.now() - startMs).toBeLessThan(1900);
    expect(await tables()).toBe('');
  });

  test('by a signal: what does not end in time is cut off', async () => {
    web([1, 2]);
    await start('--userspace-drain-timeout=300ms');
    const held = await client.hold({ ...TCP, intervalMs: 50 });
    expect(await daemon!.stop()).toBe(0);
    expect(await held.release()).toMatchObject({ outcome: 'reset' });
    expect(await tables()).toBe('');
  });
});
