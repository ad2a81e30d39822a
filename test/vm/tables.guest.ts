// What the commands say of a real IPVS, compared with what ipvsadm says of it; and that others' virtual servers stay.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import { GATEWAY, NODE } from '../support/netns/topology.ts';
import { patient } from '../support/patience.ts';
import { podIp, podIp6, type Row, TestNode, written } from '../support/test-node.ts';
import { type ListedServer, listServers } from './ipvsadm.ts';

const WEB = '10.96.0.1';
const IPVS = '--proxy-mode=ipvs';
/** Keepalived's, say: on an address of nobody here, and at a port of this node's own. */
const FOREIGN = ['TCP 198.51.100.7:443', `UDP ${NODE.ip}:500`];
/** One that somebody keeps on our device, and tells us so. */
const EXCLUDED = 'TCP 203.0.113.200:443';

let node: TestNode;
let daemon: Daemon | undefined;

beforeAll(async () => {
  node = await TestNode.create(3);
});

beforeEach(() => putServices([1, 2, 3]));

/** An empty kernel for each test. */
afterEach(async () => {
  await daemon?.stop();
  await node.netns.tryExec(['ip', 'link', 'delete', 'kube-ipvs0']);
  await ipvsadm('-C');
  await node.nft('flush', 'ruleset');
});

afterAll(() => node?.delete());

function putServices(pods: readonly number[]): void {
  const ports = [
    { name: 'http', port: 8080 },
    { name: 'dns', protocol: 'UDP', port: 5353 },
  ] as const;
  node.manifests.put(
    'services',
    service('web', {
      clusterIps: [WEB, 'fd00:10:96::1'],
      ports: [
        { name: 'http', port: 80, nodePort: 30080 },
        { name: 'dns', protocol: 'UDP', port: 53 },
      ],
      externalIps: ['203.0.113.7'],
    }),
    slice('web', 'web-4', { ports, endpoints: pods.map(podIp) }),
    slice('web', 'web-6', { ports, endpoints: pods.map(podIp6) }),
    service('sticky', { clusterIps: ['10.96.0.2'], ports: [{ port: 80 }], affinitySeconds: 600 }),
    slice('sticky', 'sticky', { ports: [{ port: 8081 }], endpoints: [podIp(1)] }),
    service('empty', { clusterIps: ['10.96.0.3'], ports: [{ port: 80 }] }),
  );
}

const start = async (...flags: string[]): Promise<Daemon> => {
  daemon = await node.start(IPVS, ...flags);
  return daemon;
};

const writesAtStart = async (one: Daemon): Promise<number> => Number((await one.rulesInForce())['writes']);

const formatted = (address: string, port: number): string =>
  `${address.includes(':') ? `[${address}]` : address}:${port}`;

/** Where `kproxy-ts table` says that connections go, by `TCP 10.96.0.1:80`; a node port is at every address of the node. */
function serversOf(rows: readonly Row[]): Record<string, string[]> {
  const at = ({ address, backends }: Row): readonly string[] => {
    if (address !== '*') return [address];
    return backends[0]?.address.includes(':') ? [NODE.ip6, GATEWAY.ip6] : [NODE.ip, GATEWAY.ip];
  };
  return Object.fromEntries(
    rows
      .filter(({ backends }) => backends.length > 0)
      .flatMap((row) =>
        at(row).map((address) => [
          `${row.protocol} ${formatted(address, row.port)}`,
          row.backends.map((backend) => formatted(backend.address, backend.port)).sort(),
        ]),
      ),
  );
}

const realServersOf = (listed: Record<string, ListedServer>): Record<string, string[]> =>
  Object.fromEntries(
    Object.entries(listed)
      .filter(([, { realServers }]) => Object.keys(realServers).length > 0)
      .map(([id, { realServers }]) => [id, Object.keys(realServers).sort()]),
  );

const ipvsadm = (...args: string[]): Promise<string> => node.netns.exec(['ipvsadm', ...args]);

async function addServer(id: string, realServer = '192.0.2.1:443'): Promise<void> {
  const [protocol, address = ''] = id.split(' ');
  const flag = protocol === 'TCP' ? '-t' : '-u';
  await ipvsadm('-A', flag, address, '-s', 'wlc');
  await ipvsadm('-a', flag, address, '-r', realServer, '-g', '-w', '7');
}

test('table lists what ipvsadm lists, and counts what it counts', async () => {
  await start();
  const client = node.topology.client.agent();
  await client.burst({ protocol: 'tcp', host: WEB, port: 80, count: 9 });
  await client.burst({ protocol: 'tcp', host: NODE.ip, port: 30080, count: 4 });
  await client.burst({ protocol: 'tcp', host: NODE.ip6, port: 30080, count: 3 });

  const rows = await node.table();
  const listed = await listServers(node.netns);
  expect(realServersOf(listed)).toEqual(serversOf(rows));
  expect(Object.keys(realServersOf(listed))).toHaveLength(11);
  expect(listed['TCP 10.96.0.2:80']).toMatchObject({ scheduler: 'rr', flags: 'persistent 600' });
  const connections = rows.filter((row) => row.protocol === 'TCP' && row.connections > 0);
  expect(connections.map(({ address, connections: count }) => [address, count]).sort()).toEqual([
    ['*', 3],
    ['*', 4],
    [WEB, 9],
  ]);
  const stats = await ipvsadm('-Ln', '--stats', '-t', `${WEB}:80`);
  expect(stats).toMatch(new RegExp(`^TCP +${WEB}:80 +9 `, 'm'));
});

test('a restart writes nothing, and diff finds nothing to write', async () => {
  const first = await start();
  expect(await writesAtStart(first)).toBeGreaterThan(0);
  for (const pods of [[1, 2], [2], [2, 3, 1]]) await written(first, () => putServices(pods));
  const before = await ipvsadm('-Sn');
  expect((await node.diff(IPVS)).stderr).toBe('Nothing to write.\n');
  await first.stop();
  const generation = await node.generation();

  expect(await writesAtStart(await start())).toBe(0);
  expect(await ipvsadm('-Sn')).toBe(before);
  // It has taken over the gate's table, and no more.
  expect(await node.generation()).toBeLessThanOrEqual(generation + 1);
});

test("what others have changed is told by diff in ipvsadm's words, and repaired", async () => {
  const one = await start('--ipvs-sync-period=1s');
  await daemon!.stop();
  await ipvsadm('-e', '-t', `${WEB}:80`, '-r', `${podIp(1)}:8080`, '-m', '-w', '5');
  await ipvsadm('-d', '-t', `${WEB}:80`, '-r', `${podIp(2)}:8080`);
  const { stdout, status } = await node.diff(IPVS);
  expect(status).toBe(1);
  expect(stdout.trimEnd().split('\n')).toHaveLength(2);
  expect(stdout).toContain(`${podIp(1)}:8080`);
  expect(stdout).toContain(`${podIp(2)}:8080`);

  const repaired = await start('--ipvs-sync-period=1s');
  expect(await writesAtStart(repaired)).toBe(2);
  expect(one.hasEnded).toBe(true);
  const { length } = Object.keys(await listServers(node.netns));
  await ipvsadm('-D', '-t', `${WEB}:80`);
  await expect
    .poll(async () => Object.keys(await listServers(node.netns)), { timeout: patient(5000), interval: 200 })
    .toHaveLength(length);
  expect((await node.diff(IPVS)).status).toBe(0);
});

test("a start, changes and a cleanup leave others' virtual servers alone", async () => {
  await node.netns.ip('link add kube-ipvs0 type dummy', 'address add 203.0.113.200/32 dev kube-ipvs0');
  for (const id of [...FOREIGN, EXCLUDED]) await addServer(id);
  const foreign = await listServers(node.netns);

  const one = await start('--ipvs-exclude-cidrs=203.0.113.200/32');
  expect(await listServers(node.netns)).toMatchObject(foreign);
  await written(one, () => putServices([2]));
  await written(one, () => node.manifests.remove('services'));
  expect(await listServers(node.netns)).toEqual(foreign);
  putServices([1]);
  await one.stop();
  await start('--ipvs-exclude-cidrs=203.0.113.200/32');
  expect(Object.keys(await listServers(node.netns)).length).toBeGreaterThan(3);
  await daemon!.stop();

  const { status, stderr } = await node.kproxy('cleanup', '--ipvs-exclude-cidrs=203.0.113.200/32');
  expect([status, stderr]).toEqual([
    0,
    'kept address 203.0.113.200 of kube-ipvs0, and its virtual servers\n',
  ]);
  expect(await listServers(node.netns)).toEqual(foreign);
  const addresses = await node.netns.exec(['ip', '-brief', 'address', 'show', 'dev', 'kube-ipvs0']);
  expect(addresses.trim().split(/\s+/)).toEqual(['kube-ipvs0', 'DOWN', '203.0.113.200/32']);
  expect(await node.nft('list', 'tables')).toBe('');
});
