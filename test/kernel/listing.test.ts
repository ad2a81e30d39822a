// What operators see and use: nft's listing, re-loaded by nft; and the commands table, diff and cleanup.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import { NODE, POD_CIDR } from '../support/netns/topology.ts';
import { podIp, podIp6, TestNode } from '../support/test-node.ts';

let node: TestNode;
let daemon: Daemon;

/** As long as Kubernetes allows. */
const LONG_NAME = `n${'a'.repeat(61)}z`;

beforeAll(async () => {
  node = await TestNode.create(3);
  const http = { name: 'http', port: 80 } as const;
  const target = [{ name: 'http', port: 8080 }];
  node.manifests.put(
    'services',
    service('web', {
      clusterIps: ['10.96.0.1', 'fd00:10:96::1'],
      ports: [{ ...http, nodePort: 30080 }],
      loadBalancerIps: ['203.0.113.7'],
    }),
    slice('web', 'web-4', { ports: target, endpoints: [podIp(1), podIp(2)] }),
    slice('web', 'web-6', { ports: target, endpoints: [podIp6(1)] }),
    service('empty', { clusterIps: ['10.96.0.2'], ports: [{ port: 53, protocol: 'UDP' }] }),
    service(LONG_NAME, { clusterIps: ['10.96.0.3'], ports: [{ port: 80 }] }),
    service('sctp', { clusterIps: ['10.96.0.4'], ports: [{ port: 3868, protocol: 'SCTP' }] }),
    slice('sctp', 'sctp', { ports: [{ port: 3868, protocol: 'SCTP' }], endpoints: [podIp(3)] }),
  );
  // nft can load a table again that nobody owns.
  daemon = await node.start('--nftables-own-table=false');
});

afterAll(() => node?.delete());

test('nft re-loads what it lists, and then there is nothing to write', async () => {
  const listing = await node.nft('list', 'ruleset');
  await node.nftInput(`flush ruleset\n${listing}`);
  expect(await node.diff()).toMatchObject({ status: 0, stdout: '', stderr: 'Nothing to write.\n' });
  expect((await node.nft('list', 'ruleset')).split('\n').sort()).toEqual(listing.split('\n').sort());
  const reply = await node.topology.client.agent().probe({ protocol: 'tcp', host: '10.96.0.1', port: 80 });
  expect(reply.outcome).toBe('reply');
});

test('table prints what the manifests say', async () => {
  const rows = await node.table();
  const backends = [1, 2].map((n) => ({ address: podIp(n), port: 8080 }));
  expect(rows.map(({ connections: _, ...row }) => row)).toEqual([
    {
      service: 'default/empty',
      kind: 'ClusterIP',
      address: '10.96.0.2',
      port: 53,
      protocol: 'UDP',
      action: 'refuse',
      backends: [],
    },
    {
      service: `default/${LONG_NAME}`,
      kind: 'ClusterIP',
      address: '10.96.0.3',
      port: 80,
      protocol: 'TCP',
      action: 'refuse',
      backends: [],
    },
    {
      service: 'default/sctp',
      kind: 'ClusterIP',
      address: '10.96.0.4',
      port: 3868,
      protocol: 'SCTP',
      action: 'balance',
      backends: [{ address: podIp(3), port: 3868 }],
    },
    {
      service: 'default/web:http',
      kind: 'ClusterIP',
      address: '10.96.0.1',
      port: 80,
      protocol: 'TCP',
      action: 'balance',
      backends,
    },
    {
      service: 'default/web:http',
      kind: 'ClusterIP',
      address: 'fd00:10:96::1',
      port: 80,
      protocol: 'TCP',
      action: 'balance',
      backends: [{ address: podIp6(1), port: 8080 }],
    },
    {
      service: 'default/web:http',
      kind: 'VIP',
      address: '203.0.113.7',
      port: 80,
      protocol: 'TCP',
      action: 'balance',
      backends,
    },
    {
      service: 'default/web:http',
      kind: 'NodePort',
      address: '*',
      port: 30080,
      protocol: 'TCP',
      action: 'balance',
      backends,
    },
    {
      service: 'default/web:http',
      kind: 'NodePort',
      address: '*',
      port: 30080,
      protocol: 'TCP',
      action: 'balance',
      backends: [{ address: podIp6(1), port: 8080 }],
    },
  ]);
});

test('table counts connections, one each', async () => {
  const count = async (address: string, isIp6 = false): Promise<number> =>
    (await node.table()).find(
      (row) => row.address === address && row.backends.some((one) => one.address.includes(':')) === isIp6,
    )!.connections;
  const client = node.topology.client.agent();
  for (const [address, host, port, isIp6] of [
    ['10.96.0.1', '10.96.0.1', 80, false],
    ['fd00:10:96::1', 'fd00:10:96::1', 80, true],
    ['*', NODE.ip, 30080, false],
    ['*', NODE.ip6, 30080, true],
  ] as const) {
    const before = await count(address, isIp6);
    const tally = await client.burst({ protocol: 'tcp', host, port, count: 25 });
    expect(tally.outcomes).toEqual({ reply: 25 });
    expect(await count(address, isIp6)).toBe(before + 25);
  }
});

test('diff exits 0 without a difference, 1 with one, and 2 when it cannot tell', async () => {
  expect(await node.diff()).toMatchObject({ status: 0, stdout: '' });
  const other = await node.diff('--nodeport-addresses=10.0.0.0/8');
  expect(other.status).toBe(1);
  expect(other.stdout).toMatch(/^\+ ip nodeport-addresses 10\.0\.0\.0$/m);
  expect(other.stderr).toBe(`${other.stdout.trimEnd().split('\n').length} to write.\n`);
  for (const args of [
    ['--source=/nonexistent'],
    ['--nonsense'],
    ['--cluster-cidr=x', ...node.flags.slice(0, 1)],
  ]) {
    const { status, stdout, stderr } = await node.kproxy('diff', ...args);
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^kproxy-ts: .+\n$/);
  }
  expect((await node.diff()).status, 'nothing was written').toBe(0);
});

test('other flags are differences too, and a restart with them writes just those', async () => {
  const flags = ['--masquerade-all', '--iptables-masquerade-bit=3', `--cluster-cidr=${POD_CIDR}`];
  const { status, stdout } = await node.diff(...flags);
  expect(status).toBe(1);
  await daemon.stop();
  daemon = await node.start(...flags);
  const inForce = await daemon.rulesInForce();
  await expect.poll(async () => (await node.diff(...flags)).status, { timeout: 5000 }).toBe(0);
  expect(Number(inForce['writes'])).toBeLessThanOrEqual(stdout.trimEnd().split('\n').length);
  const tally = await node.topology
    .pod('pod-3')
    .agent()
    .burst({ protocol: 'tcp', host: '10.96.0.1', port: 80, count: 10 });
  expect(tally.peers).toEqual({ '10.1.0.1': 10 });
});

test('cleanup removes exactly what is ours, and does so twice', async () => {
  await daemon.stop();
  await node.nftInput(`
    table ip kproxy-ts2 { chain services { type nat hook prerouting priority -101; counter; }; }
    table inet kproxy-ts { set services { type ipv4_addr; elements = { 10.96.0.1 }; }; }
  `);
  const others = async (): Promise<string> =>
    (await node.nft('-a', 'list', 'table', 'ip', 'kproxy-ts2')) +
    (await node.nft('-a', 'list', 'table', 'inet', 'kproxy-ts'));
  const before = await others();
  expect(await node.kproxy('cleanup')).toEqual({
    status: 0,
    stdout: 'removed table ip kproxy-ts\nremoved table ip6 kproxy-ts\n',
    stderr: '',
  });
  expect((await node.nft('list', 'tables')).trim().split('\n')).toEqual([
    'table ip kproxy-ts2',
    'table inet kproxy-ts',
  ]);
  expect(await others()).toBe(before);
  const generation = await node.generation();
  for (const args of [['cleanup'], ['--cleanup']]) {
    expect(await node.kproxy(...args)).toEqual({ status: 0, stdout: 'Nothing to remove.\n', stderr: '' });
  }
  expect(await node.generation()).toBe(generation);
  expect(await node.table()).toEqual([]);
});
