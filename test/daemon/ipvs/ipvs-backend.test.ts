import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Ip } from '../../../src/model/ip.ts';
import { parseCidr } from '../../../src/model/ip.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import type { VirtualServer } from '../../../src/netlink/ipvs/virtual-server.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import { arbitraryServices } from '../../mode/ipvs/arbitrary.ts';
import { frontend } from '../../support/frontends.ts';
import { EVERYWHERE, InMemoryNode, NODE_IP } from './in-memory-node.ts';

const web = (...backends: string[]): Frontend => frontend('web', { address: '10.96.0.1', backends });
const nodePort = (...backends: string[]): Frontend => frontend('web', { port: 30080, backends });
const many = (count: number): Frontend[] =>
  Array.from({ length: count }, (_, i) =>
    frontend(`s${i}`, { address: `10.97.${i >> 8}.${i & 255}`, backends: [`10.2.${i >> 8}.${i & 255}:80`] }),
  );

/** Somebody else's: keepalived's, say. */
const foreign = (address: string, port = 443): VirtualServer => ({
  family: 4,
  protocol: 'TCP',
  address: address as Ip,
  port,
  scheduler: 'wlc',
  flags: 0,
  persistenceSeconds: undefined,
  persistencePrefix: 32,
});

async function addForeign(node: InMemoryNode, server: VirtualServer): Promise<string> {
  const realServer = {
    family: 4,
    address: '192.0.2.1' as Ip,
    port: 443,
    weight: 5,
    forwarding: 'route',
  } as const;
  await node.servers.apply([
    { kind: 'add virtual server', virtualServer: server },
    { kind: 'add real server', virtualServer: server, realServer },
  ]);
  return `${server.address}:${server.port}/TCP wlc 192.0.2.1:443*5 route`;
}

describe('what is asked of IPVS', () => {
  test('a virtual server for an address, and one for a node port at each address of the node', async () => {
    const node = new InMemoryNode();
    const { failures } = await node.set(web('10.1.0.11:8080', '10.1.0.12:8080'), nodePort('10.1.0.11:8080'));
    expect(failures).toEqual([]);
    expect(node.listing()).toEqual([
      '10.96.0.1:80/TCP rr 10.1.0.11:8080*1 10.1.0.12:8080*1',
      '192.168.50.10:30080/TCP rr 10.1.0.11:8080*1',
      '10.96.0.1',
    ]);
  });

  test('an address that another interface has is not put on the device', async () => {
    const node = new InMemoryNode();
    await node.set(frontend('lb', { kind: 'LoadBalancer', address: NODE_IP, backends: ['10.1.0.11:80'] }));
    expect(node.listing()).toEqual(['192.168.50.10:80/TCP rr 10.1.0.11:80*1']);
  });

  test('an external IP that is an address of the node is not taken for a node port', async () => {
    const node = new InMemoryNode();
    await node.set(nodePort('10.1.0.11:8080'));
    await node.set(
      frontend('ext', { kind: 'ExternalIP', address: NODE_IP, port: 30080, backends: ['10.1.0.99:80'] }),
    );
    await node.wait(1000);
    expect(node.listing()).toEqual(['192.168.50.10:30080/TCP rr 10.1.0.99:80*1']);
    await node.remove('default/ext');
    await node.wait(1000);
    expect(node.listing()).toEqual(['192.168.50.10:30080/TCP rr 10.1.0.11:8080*1']);
  });

  test('what only a proxy can do is told, and changes nothing', async () => {
    const node = new InMemoryNode();
    await node.set({ ...web('10.1.0.11:80'), maxConnections: 5, proxyProtocol: 'v2' });
    expect(node.listing()).toEqual(['10.96.0.1:80/TCP rr 10.1.0.11:80*1', '10.96.0.1']);
    expect(node.backend.problems().map(({ code }) => code)).toEqual([
      'NO_CONNECTION_LIMIT',
      'NO_PROXY_PROTOCOL',
    ]);
    await node.set(web('10.1.0.11:80'));
    expect(node.backend.problems()).toEqual([]);
  });

  test('an address goes with its last port', async () => {
    const node = new InMemoryNode();
    const other = frontend('web', { address: '10.96.0.1', port: 81, backends: ['10.1.0.11:81'] });
    await node.set(web('10.1.0.11:8080'), other);
    await node.set(web('10.1.0.11:8080'));
    expect([...node.device.bound]).toEqual(['10.96.0.1']);
    await node.remove('default/web');
    expect(node.listing()).toEqual([]);
  });

  test('node ports follow the addresses of the node', async () => {
    const node = new InMemoryNode();
    await node.set(nodePort('10.1.0.11:8080'));
    node.hostAddresses = ['192.168.50.99' as Ip];
    expect((await node.repair())?.failures).toEqual([]);
    expect(node.listing()).toEqual(['192.168.50.99:30080/TCP rr 10.1.0.11:8080*1']);
  });
});

describe('cost', () => {
  test('one endpoint more is one request, and one less two, however many Services there are', async () => {
    for (const count of [3, 300]) {
      const node = new InMemoryNode();
      await node.set(...many(count), web('10.1.0.11:8080'));
      const count0 = { changes: node.servers.changes, questions: node.servers.questions };
      // It may be on this node, and so dial itself: an element of the gate.
      const { transactions } = await node.set(web('10.1.0.11:8080', '10.1.0.12:8080'));
      expect(node.servers.changes - count0.changes).toBe(1);
      await node.set(web('10.1.0.12:8080'));
      await node.wait(1000);
      expect({ transactions, changes: node.servers.changes - count0.changes }).toEqual({
        transactions: 1,
        changes: 3,
      });
      expect(node.servers.questions - count0.questions).toBe(1);
      expect(node.device.writes).toBe(count + 1);
    }
  });

  test('a restart with nothing changed writes nothing', async () => {
    const node = new InMemoryNode();
    const local = {
      port: 30090,
      insideBackends: ['10.1.0.11:80', '10.1.1.11:80'],
      trafficPolicy: 'Local',
    } as const;
    await node.set(
      ...many(20),
      web('10.1.0.11:8080'),
      frontend('web', { ...local, backends: ['10.1.0.11:80'] }),
    );
    const before = { changes: node.servers.changes, device: node.device.writes };
    const { writes, isFull } = await node.restart();
    expect({ writes, isFull, changes: node.servers.changes, device: node.device.writes }).toEqual({
      writes: 0,
      isFull: true,
      ...before,
    });
  });
});

describe('draining', () => {
  const LONG = 3_600_000;
  const drain = async (): Promise<InMemoryNode> => {
    const node = new InMemoryNode({ drainTimeoutMs: LONG });
    await node.set(web('10.1.0.11:8080', '10.1.0.12:8080'));
    node.servers.connections.set('10.1.0.12 8080', 2);
    await node.set(web('10.1.0.11:8080'));
    return node;
  };
  const DRAINING = '10.96.0.1:80/TCP rr 10.1.0.11:8080*1 10.1.0.12:8080*0';
  const DRAINED = '10.96.0.1:80/TCP rr 10.1.0.11:8080*1';

  test('an endpoint that goes takes no new connections, and is deleted with its last one', async () => {
    const node = await drain();
    await node.wait(600_000);
    expect(node.listing()[0]).toBe(DRAINING);
    node.servers.connections.clear();
    await node.wait(31_000);
    expect(node.listing()[0]).toBe(DRAINED);
  });

  test('or when its time is up', async () => {
    const node = await drain();
    await node.wait(LONG - 1);
    expect(node.listing()[0]).toBe(DRAINING);
    await node.wait(1);
    expect(node.listing()[0]).toBe(DRAINED);
  });

  test('one that comes back has its weight again, and the next time its whole time', async () => {
    const node = await drain();
    await node.wait(LONG / 2);
    await node.set(web('10.1.0.11:8080', '10.1.0.12:8080'));
    expect(node.listing()[0]).toBe('10.96.0.1:80/TCP rr 10.1.0.11:8080*1 10.1.0.12:8080*1');
    await node.set(web('10.1.0.11:8080'));
    await node.wait(LONG - 1);
    expect(node.listing()[0]).toBe(DRAINING);
  });

  test('goes on with a new bound after a restart', async () => {
    const node = await drain();
    await node.restart();
    await node.wait(LONG - 1);
    expect(node.listing()[0]).toBe(DRAINING);
    await node.wait(1);
    expect(node.listing()[0]).toBe(DRAINED);
  });

  test('one that is wanted again has its weight after a restart', async () => {
    const node = new InMemoryNode();
    await node.set(web('10.1.0.11:8080'));
    const virtualServer = node.servers.byId('10.96.0.1:80/TCP')!.server;
    const realServer = {
      family: 4,
      address: '10.1.0.11' as Ip,
      port: 8080,
      weight: 0,
      forwarding: 'masquerade',
    } as const;
    await node.servers.apply([{ kind: 'edit real server', virtualServer, realServer }]);
    await node.restart();
    expect(node.listing()[0]).toBe('10.96.0.1:80/TCP rr 10.1.0.11:8080*1');
  });

  test('UDP is not waited for', async () => {
    const node = new InMemoryNode();
    const dns = (...backends: string[]): Frontend =>
      frontend('dns', { address: '10.96.0.1', protocol: 'UDP', backends });
    await node.set(dns('10.1.0.11:53', '10.1.0.12:53'));
    node.servers.connections.set('10.1.0.12 53', 2);
    await node.set(dns('10.1.0.11:53'));
    expect(node.listing()[0]).toBe('10.96.0.1:80/UDP rr 10.1.0.11:53*1');
  });
});

describe('virtual servers of others', () => {
  test('stay, at start and afterwards, wherever they are', async () => {
    const node = new InMemoryNode({ excludedCidrs: [parseCidr('198.51.100.0/24')!] });
    const theirs = [
      await addForeign(node, foreign('198.51.100.1')),
      await addForeign(node, foreign('203.0.113.1')),
      await addForeign(node, foreign(NODE_IP)),
    ];
    await node.set(web('10.1.0.11:8080'), nodePort('10.1.0.11:8080'));
    await node.remove('default/web');
    await node.restart();
    expect(node.listing()).toEqual(theirs.sort());
  });

  test('on our device are ours, unless their network is excluded', async () => {
    const node = new InMemoryNode({ excludedCidrs: [parseCidr('198.51.100.0/24')!] });
    const kept = await addForeign(node, foreign('198.51.100.1'));
    await addForeign(node, foreign('10.96.0.77'));
    node.device.bound.add('10.96.0.77' as Ip).add('198.51.100.1' as Ip);
    await node.set(web('10.1.0.11:8080'));
    expect(node.listing()).toEqual([
      '10.96.0.1:80/TCP rr 10.1.0.11:8080*1',
      kept,
      '10.96.0.1',
      '198.51.100.1',
    ]);
  });

  test('a daemon that starts finds which node ports were ours', async () => {
    const node = new InMemoryNode();
    const kept = await addForeign(node, foreign(NODE_IP));
    await node.set(nodePort('10.1.0.11:8080'), web('10.1.0.11:8080'));
    const { servers, device, nftables } = node;
    const successor = new InMemoryNode();
    Object.assign(successor, { servers, device, nftables });
    await successor.restart();
    expect(successor.listing()).toEqual([kept]);
  });
});

describe('drift', () => {
  const ready = async (): Promise<InMemoryNode> => {
    const node = new InMemoryNode();
    await node.set(web('10.1.0.11:8080', '10.1.0.12:8080'), ...many(200));
    return node;
  };
  const broken: readonly [string, (node: InMemoryNode) => Promise<unknown>][] = [
    [
      'a virtual server deleted',
      (node) =>
        node.servers.apply([
          { kind: 'delete virtual server', virtualServer: node.servers.byId('10.96.0.1:80/TCP')!.server },
        ]),
    ],
    [
      'another scheduler',
      (node) => {
        const { server } = node.servers.byId('10.97.0.7:80/TCP')!;
        return node.servers.apply([
          { kind: 'edit virtual server', virtualServer: { ...server, scheduler: 'lc' } },
        ]);
      },
    ],
    ['an address taken away', async (node) => node.device.bound.delete('10.96.0.1' as Ip)],
  ];

  test.each(broken)('%s is found by the next check and repaired', async (_, harm) => {
    const node = await ready();
    const before = node.listing();
    expect(await node.repair()).toBeUndefined();
    await harm(node);
    expect(node.listing()).not.toEqual(before);
    expect((await node.repair())?.failures).toEqual([]);
    expect(node.listing()).toEqual(before);
  });

  test('a real server that is gone is found as checks come round, each at a bounded cost', async () => {
    const node = await ready();
    const before = node.listing();
    const { server, realServers } = node.servers.byId('10.97.0.150:80/TCP')!;
    await node.servers.apply([
      { kind: 'delete real server', virtualServer: server, realServer: realServers[0]! },
    ]);
    let checks = 1;
    const asked = node.servers.questions;
    while ((await node.repair()) === undefined) checks++;
    expect(checks).toBeLessThanOrEqual(4);
    expect(node.servers.questions - asked).toBeLessThan(4 * 65 + 300);
    expect(node.listing()).toEqual(before);
  });
});

test('whatever happened before, the kernel holds what a new daemon would write', async () => {
  const property = fc.asyncProperty(arbitraryServices, async (steps) => {
    const node = new InMemoryNode();
    const theirs = await addForeign(node, foreign('192.0.2.77'));
    const now = new Map<ServiceKey, readonly Frontend[]>();
    for (const [i, { frontends, surroundings }] of steps.entries()) {
      for (const [service, list] of frontends) now.set(service, list);
      const last = i === steps.length - 1 ? EVERYWHERE : surroundings;
      expect((await node.update(frontends, last)).failures).toEqual([]);
    }
    await node.wait(120_000);
    const fresh = new InMemoryNode();
    await fresh.update(now);
    expect(node.listing()).toEqual([...fresh.listing(), theirs].sort(byServerFirst));
    expect((await node.restart()).writes).toBe(0);
  });
  await fc.assert(property, { numRuns: 50 });
}, 120_000);

/** As `listing` sorts. */
function byServerFirst(a: string, b: string): number {
  const rank = (line: string): string => `${line.includes('/') ? 0 : 1}${line}`;
  return rank(a) < rank(b) ? -1 : 1;
}
