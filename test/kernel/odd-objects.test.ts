// Objects that are wrong or in each other's way: each is reported, and everything else is in force.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { compare, deletion, InProcessProxy, LISTED, upserts } from '../support/in-process-proxy.ts';
import { service, slice } from '../support/manifests.ts';
import { Netns } from '../support/netns/netns.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';
import { podIp, TestNode, written } from '../support/test-node.ts';

const HTTP = [{ name: 'http', port: 80 }];
const TARGET = [{ name: 'http', port: 8080 }];

describe('within one process', () => {
  let netns: Netns;
  let netlink: RemoteNetlink;
  let proxy: InProcessProxy;

  beforeAll(async () => {
    netns = await Netns.create('odd');
    netlink = await RemoteNetlink.open(netns);
  });

  afterAll(async () => {
    netlink?.close();
    await netns?.delete();
  });

  beforeEach(async () => {
    await netns.exec(['nft', 'flush', 'ruleset']);
    proxy = new InProcessProxy(netlink);
  });

  const web = (name: string, createdAt: string, pod: number): object[] => [
    service(name, { clusterIps: ['10.96.0.1'], ports: HTTP, createdAt }),
    slice(name, name, { ports: TARGET, endpoints: [podIp(pod)] }),
  ];

  async function ownerInKernel(): Promise<string | undefined> {
    await proxy.flush();
    expect(await compare(netlink, proxy.store)).toEqual({ now: [], later: [] });
    const map = await netns.exec(['nft', 'list', 'map', 'ip', 'kproxy-ts', 'services']);
    return /10\.96\.0\.1 .*comment "default\/(\w+)/.exec(map)?.[1];
  }

  const conflicts = (): string[] =>
    proxy.table.problems().map(({ subject, reason }) => `${subject}: ${reason}`);

  test('of Services with one address the oldest has it, the others are told, and it is handed down by age', async () => {
    const young = web('young', '2024-03-01T00:00:00Z', 1);
    const middle = web('middle', '2024-02-01T00:00:00Z', 2);
    const old = web('old', '2024-01-01T00:00:00Z', 3);
    const lost = (loser: string, winner: string): string =>
      `Service default/${loser}: ClusterIP 10.96.0.1:80/TCP belongs to the older Service default/${winner}`;

    expect((await proxy.apply(...LISTED, ...upserts(...young, ...middle))).failures).toEqual([]);
    expect(await ownerInKernel()).toBe('middle');
    expect(conflicts()).toEqual([lost('young', 'middle')]);

    expect((await proxy.apply(...upserts(...old))).failures).toEqual([]);
    expect(await ownerInKernel()).toBe('old');
    expect(conflicts().sort()).toEqual([lost('middle', 'old'), lost('young', 'old')]);

    expect((await proxy.apply(deletion('Service', 'old'))).failures).toEqual([]);
    expect(await ownerInKernel()).toBe('middle');
    expect(conflicts()).toEqual([lost('young', 'middle')]);

    expect((await proxy.apply(deletion('Service', 'middle'))).failures).toEqual([]);
    expect(await ownerInKernel()).toBe('young');
    expect(conflicts()).toEqual([]);
  });

  test('a node port that two Services have goes to the older one, their addresses to each', async () => {
    const withNodePort = (name: string, ip: string, createdAt: string): object =>
      service(name, { clusterIps: [ip], ports: [{ name: 'http', port: 80, nodePort: 30080 }], createdAt });
    const a = withNodePort('a', '10.96.0.1', '2024-02-01T00:00:00Z');
    const b = withNodePort('b', '10.96.0.2', '2024-01-01T00:00:00Z');
    await proxy.apply(...LISTED, ...upserts(a, b));
    const ruleset = await netns.exec(['nft', 'list', 'ruleset']);
    expect(ruleset).toMatch(/10\.96\.0\.1 .*default\/a:http/);
    expect(ruleset).toMatch(/10\.96\.0\.2 .*default\/b:http/);
    expect(ruleset).toMatch(/tcp \. 30080 .*default\/b:http/);
    expect(conflicts()).toEqual([
      expect.stringContaining(
        'Service default/a: NodePort *v4:30080/TCP belongs to the older Service default/b',
      ),
    ]);
  });

  test('deleted and made again within one batch: as it was, nothing is written; changed, the change is', async () => {
    await proxy.apply(...LISTED, ...upserts(...web('web', '2024-01-01T00:00:00Z', 1)));
    const gone = [deletion('Service', 'web'), deletion('EndpointSlice', 'web')];
    expect(await proxy.apply(...gone, ...upserts(...web('web', '2024-05-01T00:00:00Z', 1)))).toMatchObject({
      writes: 0,
      failures: [],
    });
    const changed = await proxy.apply(...gone, ...upserts(...web('web', '2024-06-01T00:00:00Z', 2)));
    // Its slot, and a hairpin pair for another.
    expect(changed).toMatchObject({ writes: 3, failures: [] });
    expect(await ownerInKernel()).toBe('web');
    const made = upserts(...web('web', '2024-01-01T00:00:00Z', 1));
    expect((await proxy.apply(...made, ...gone)).failures).toEqual([]);
    expect(await ownerInKernel()).toBeUndefined();
  });

  test('an address that moves to another Service within one batch is never without an owner', async () => {
    await proxy.apply(...LISTED, ...upserts(...web('a', '2024-01-01T00:00:00Z', 1)));
    const moved = await proxy.apply(
      deletion('Service', 'a'),
      ...upserts(...web('b', '2024-01-01T00:00:00Z', 2)),
    );
    expect(moved).toMatchObject({ failures: [], transactions: 1 });
    expect(await ownerInKernel()).toBe('b');
  });
});

describe('the daemon', () => {
  let node: TestNode;

  beforeAll(async () => {
    node = await TestNode.create(2);
  });

  afterAll(() => node?.delete());

  test('serves what is good among what is not, and says what is wrong with the rest', async () => {
    const { manifests } = node;
    const good = (n: number): object[] => [
      service(`good-${n}`, { clusterIps: [`10.96.1.${n}`], ports: HTTP }),
      slice(`good-${n}`, `good-${n}`, { ports: TARGET, endpoints: [podIp(1)] }),
    ];
    const endless = (depth: number): object => (depth === 0 ? {} : { metadata: endless(depth - 1) });
    manifests.put('1-good', ...good(1));
    manifests.putText('2-text', '{"apiVersion": "v1", "kind": "Service", "metadata": {');
    manifests.put(
      '3-objects',
      service('bad-ip', { clusterIps: ['10.96.0.999'], ports: HTTP }),
      service('bad-port', { clusterIps: ['10.96.0.10'], ports: [{ port: 70_000 }] }),
      service('bad-protocol', {
        clusterIps: ['10.96.0.11'],
        ports: [{ port: 1, protocol: 'ICMP' as 'TCP' }],
      }),
      service('Bad Name"; flush ruleset', { clusterIps: ['10.96.0.12'], ports: HTTP }),
      service('x'.repeat(300), { clusterIps: ['10.96.0.13'], ports: HTTP }),
      { ...service('bad-spec', { clusterIps: ['10.96.0.14'], ports: HTTP }), spec: 'none' },
      { apiVersion: 'v1', kind: 'Service' },
      { apiVersion: 'v1', kind: 'Service', metadata: { name: ['a'], namespace: 7 } },
      endless(200),
      ...good(2),
      // Half good: an external IP that is none, an endpoint that is none, a port that is none.
      service('half', { clusterIps: ['10.96.0.15'], ports: HTTP, externalIps: ['nonsense', '203.0.113.9'] }),
      slice('half', 'half-bad', { ports: [{ name: 'http', port: -1 }], endpoints: ['10.1.0.66'] }),
      slice('half', 'half', { ports: TARGET, endpoints: ['300.1.2.3', podIp(2)] }),
      slice('nobody', 'orphan', { ports: TARGET, endpoints: [podIp(2)] }),
    );
    manifests.put('4-good', ...good(3));
    const daemon = await node.start();

    const client = node.topology.client.agent();
    const dial = (host: string) => client.probe({ protocol: 'tcp', host, port: 80, timeoutMs: 500 });
    for (const n of [1, 2, 3]) {
      expect(await dial(`10.96.1.${n}`)).toMatchObject({ outcome: 'reply', server: 'pod-1' });
    }
    for (const host of ['10.96.0.15', '203.0.113.9']) {
      expect(await dial(host)).toMatchObject({ outcome: 'reply', server: 'pod-2' });
    }
    expect([...new Set((await node.table()).map((row) => row.service))].sort()).toEqual([
      'default/good-1:http',
      'default/good-2:http',
      'default/good-3:http',
      'default/half:http',
    ]);
    expect((await node.diff()).status).toBe(0);

    const told = daemon.log.filter(({ msg }) => msg === 'problem').map((line) => JSON.stringify(line));
    for (const [subject, reason] of [
      ['2-text', 'line'],
      ['default/bad-ip', 'spec.clusterIP'],
      ['default/bad-port', 'spec.ports[0].port'],
      ['default/bad-protocol', 'spec.ports[0].protocol'],
      ['default/bad-spec', 'spec'],
      ['default/half', 'spec.externalIPs[0]'],
      ['half', 'endpoints[0]'],
    ] as const) {
      expect(
        told.filter((line) => line.includes(subject) && line.includes(reason)),
        subject,
      ).not.toEqual([]);
    }

    // Put right, they are served, and the problem is said to be over.
    const from = daemon.log.length;
    await written(daemon, () =>
      manifests.put('9-later', service('bad-port', { clusterIps: ['10.96.0.10'], ports: HTTP })),
    );
    expect((await dial('10.96.0.10')).outcome).toBe('refused');
    manifests.put('3-objects', ...good(2));
    await daemon.waitForLog('problem solved', { from });
    await expect.poll(async () => (await node.diff()).status).toBe(0);
    expect((await dial('10.96.1.2')).outcome).toBe('reply');
  });
});
