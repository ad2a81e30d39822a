// Which flows are stale, and when anybody has to look.

import { beforeEach, describe, expect, test } from 'vitest';
import { type Ip, packIp } from '../../src/model/ip.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import type { Flow } from '../../src/netlink/conntrack/flow.ts';
import { Cluster, flow, NODE_IP } from './cluster.ts';

const VIP = '10.96.0.10';
const VIP6 = 'fd00:10:96::a';
const [A, B, C] = ['10.1.0.11', '10.1.0.12', '10.1.0.13'] as const;

const toA = flow(`${VIP} 53`, `${A} 5353`);
const toB = flow(`${VIP} 53`, `${B} 5353`);
const untranslated = flow(`${VIP} 53`, `${VIP} 53`);

let cluster: Cluster;

beforeEach(() => {
  cluster = new Cluster();
});

const pass = (...flows: Flow[]): Flow[] => cluster.pass(...flows);

const dns = { name: 'dns', clusterIps: [VIP] };

describe('what is stale', () => {
  test('a flow to an endpoint that is gone, and none to one that is there', () => {
    cluster.apply(cluster.service(dns), cluster.slice('dns', [A, B]));
    expect(pass(toA, toB)).toEqual([]);
    cluster.apply(cluster.slice('dns', [B]));
    expect(pass(toA, toB)).toEqual([toA]);
  });

  test('a flow to another port of an endpoint, when the target port has changed', () => {
    cluster.apply(cluster.service(dns), cluster.slice('dns', [A]));
    pass();
    cluster.apply(cluster.slice('dns', [A], { port: 5454 }));
    const toNew = flow(`${VIP} 53`, `${A} 5454`);
    expect(pass(toA, toNew)).toEqual([toA]);
  });

  test('all flows of a Service without endpoints', () => {
    cluster.apply(cluster.service(dns), cluster.slice('dns', [A, B]));
    pass();
    cluster.apply(cluster.slice('dns', []));
    expect(pass(toA, toB)).toEqual([toA, toB]);
  });

  test('the flows of a deleted Service to the endpoints it had; what else its address leads to is not ours', () => {
    cluster.apply(cluster.service(dns), cluster.slice('dns', [A]));
    pass();
    cluster.apply(cluster.remove('Service', 'dns'));
    expect(pass(toA, toB, untranslated)).toEqual([toA]);
  });

  test('of a Service that is deleted before anybody could look, every translated flow', () => {
    cluster.apply(cluster.service(dns), cluster.slice('dns', [A]));
    cluster.apply(cluster.remove('Service', 'dns'));
    expect(pass(toA, toB, untranslated)).toEqual([toA, toB]);
  });

  test('a flow from before the rules, once there are rules', () => {
    cluster.apply(cluster.service(dns), cluster.slice('dns', []));
    expect(pass(untranslated)).toEqual([untranslated]);
    cluster.apply(cluster.slice('dns', [A]));
    expect(pass(untranslated, toA)).toEqual([untranslated]);
  });

  test.each([
    ['serving, not ready: terminating', { ready: false, serving: true, terminating: true }, false],
    ['not serving, not ready', { ready: false, serving: false }, true],
    ['ready without serving: publishNotReadyAddresses', { ready: true, serving: false }, false],
  ])('a flow to an endpoint that is %s', (_, conditions, isStale) => {
    cluster.apply(cluster.service(dns), cluster.slice('dns', [[A, conditions], B]));
    expect(pass(toA)).toEqual(isStale ? [toA] : []);
  });

  test('an endpoint in several slices serves if any of them says so', () => {
    cluster.apply(
      cluster.service(dns),
      cluster.slice('dns', [[A, { ready: false, serving: false }]]),
      cluster.slice('dns', [A], { name: 'dns-2' }),
    );
    expect(pass(toA)).toEqual([]);
  });

  test('nothing of TCP or SCTP, of other addresses and of other ports', () => {
    cluster.apply(
      cluster.service(dns),
      cluster.slice('dns', []),
      cluster.service({ name: 'web', clusterIps: ['10.96.0.20'], protocol: 'TCP', port: 80 }),
      cluster.service({ name: 'diameter', clusterIps: ['10.96.0.21'], protocol: 'SCTP', port: 3868 }),
    );
    const others = [
      flow(`${VIP} 53`, `${A} 5353`, 6),
      flow(`${VIP} 53`, `${A} 5353`, 132),
      flow(`${VIP} 54`, `${A} 5353`),
      flow('10.96.0.11 53', `${A} 5353`),
      flow(`${A} 5353`, `${A} 5353`),
      flow('10.96.0.20 80', `${A} 8080`),
      flow('10.96.0.21 3868', `${A} 3868`),
    ];
    expect(pass(...others, toA)).toEqual([toA]);
  });

  test('external IPs and both families, each with its own endpoints', () => {
    const dual = { name: 'dns', clusterIps: [VIP, VIP6], externalIps: ['203.0.113.7', 'fd00:113::7'] };
    cluster.apply(
      cluster.service(dual),
      cluster.slice('dns', [A]),
      cluster.slice('dns', ['fd00:10:1::b'], { name: 'dns-6' }),
    );
    const kept = [
      flow('203.0.113.7 53', `${A} 5353`),
      flow(`${VIP6} 53`, 'fd00:10:1::b 5353'),
      flow('fd00:113::7 53', 'fd00:10:1::b 5353'),
    ];
    const stale = [
      flow('203.0.113.7 53', `${B} 5353`),
      flow(`${VIP6} 53`, 'fd00:10:1::c 5353'),
      flow('fd00:113::7 53', 'fd00:10:1::c 5353'),
    ];
    expect(pass(...kept, ...stale)).toEqual(stale);
  });

  test('load-balancer addresses', () => {
    cluster.apply(cluster.service({ ...dns, loadBalancerIp: '203.0.113.8' }), cluster.slice('dns', [A]));
    const [onA, onB] = [flow('203.0.113.8 53', `${A} 5353`), flow('203.0.113.8 53', `${B} 5353`)];
    expect(pass(onA, onB, flow('203.0.113.8 54', `${B} 5353`))).toEqual([onB]);
  });

  test('node ports on the addresses that serve them, and not what passes through to other hosts', () => {
    cluster.apply(cluster.service({ ...dns, nodePort: 30053 }), cluster.slice('dns', [A]));
    const stale = flow(`${NODE_IP} 30053`, `${B} 5353`);
    const elsewhere = flow('198.51.100.1 30053', '198.51.100.1 30053');
    expect(pass(flow(`${NODE_IP} 30053`, `${A} 5353`), stale, elsewhere)).toEqual([stale]);
  });

  test('a node port and an external IP of one address and port: the external IP has it', () => {
    cluster.apply(
      cluster.service({ ...dns, nodePort: 30053 }),
      cluster.slice('dns', [A]),
      cluster.service({ name: 'ext', clusterIps: ['10.96.0.30'], externalIps: [NODE_IP], port: 30053 }),
      cluster.slice('ext', [B]),
    );
    const [onA, onB] = [flow(`${NODE_IP} 30053`, `${A} 5353`), flow(`${NODE_IP} 30053`, `${B} 5353`)];
    expect(pass(onA, onB)).toEqual([onA]);
    // When only the node port is looked at, nothing there is its. Then it takes over.
    cluster.apply(cluster.slice('dns', [C]));
    expect(pass(onA, onB)).toEqual([]);
    cluster.apply(cluster.remove('Service', 'ext'));
    expect(pass(onA, onB, flow(`${NODE_IP} 30053`, `${C} 5353`))).toEqual([onA, onB]);
  });

  test('of two Services with one address the older has it', () => {
    const contested = '203.0.113.7';
    cluster.apply(
      cluster.service({ ...dns, externalIps: [contested], createdAt: '2024-01-01T00:00:00Z' }),
      cluster.slice('dns', [A]),
      cluster.service({
        name: 'late',
        clusterIps: ['10.96.0.30'],
        externalIps: [contested],
        createdAt: '2025-01-01T00:00:00Z',
      }),
      cluster.slice('late', [B]),
    );
    const [onA, onB] = [flow(`${contested} 53`, `${A} 5353`), flow(`${contested} 53`, `${B} 5353`)];
    expect(pass(onA, onB)).toEqual([onB]);
    cluster.apply(cluster.remove('Service', 'dns'));
    expect(pass(onA, onB)).toEqual([onA]);
  });
});

describe('when to look', () => {
  /** What a pass looks at, which then no longer is due. */
  const due = (): string[] => {
    const keys = cluster.due();
    cluster.pass();
    return keys;
  };

  beforeEach(() => {
    cluster.apply(cluster.service(dns), cluster.slice('dns', [A, B]));
    expect(due()).toEqual([`${VIP}:53/UDP`]);
  });

  test.each<[string, () => void]>([
    ['nothing', () => cluster.apply()],
    ['more endpoints', () => cluster.apply(cluster.slice('dns', [A, B, C]))],
    ['another slice with the same', () => cluster.apply(cluster.slice('dns', [B, A], { name: 'dns-2' }))],
    [
      'an endpoint that terminates',
      () => cluster.apply(cluster.slice('dns', [A, [B, { ready: false, serving: true, terminating: true }]])),
    ],
    [
      'a TCP Service',
      () =>
        cluster.apply(
          cluster.service({ name: 'web', clusterIps: ['10.96.0.20'], protocol: 'TCP', port: 80 }),
          cluster.slice('web', [A], { protocol: 'TCP' }),
        ),
    ],
  ])('not for %s', (_, change) => {
    change();
    expect(due()).toEqual([]);
  });

  test('for an address that a Service gains, or loses', () => {
    cluster.apply(cluster.service({ ...dns, externalIps: ['203.0.113.7'], nodePort: 30053 }));
    expect(due().sort()).toEqual(['*v4:30053/UDP', '203.0.113.7:53/UDP']);
    cluster.apply(cluster.service(dns));
    expect(due().sort()).toEqual(['*v4:30053/UDP', '203.0.113.7:53/UDP']);
  });

  test('for node ports whose addresses changed, and for everything after a repair', () => {
    cluster.apply(cluster.service({ ...dns, nodePort: 30053 }));
    due();
    cluster.targets.distrustNodePorts(0);
    expect(due()).toEqual(['*v4:30053/UDP']);
    cluster.targets.distrust(0);
    expect(due().sort()).toEqual(['*v4:30053/UDP', `${VIP}:53/UDP`]);
  });

  test('again after a failed pass, as things are then', () => {
    cluster.apply(cluster.slice('dns', [B]));
    expect(cluster.due()).toHaveLength(1);
    cluster.apply(cluster.slice('dns', [B, C]));
    expect(pass(toA, toB, flow(`${VIP} 53`, `${C} 5353`))).toEqual([toA]);

    cluster.apply(cluster.remove('Service', 'dns'));
    expect(cluster.due()).toHaveLength(1);
    cluster.apply(cluster.service({ ...dns, name: 'other', clusterIps: ['10.96.0.99'] }));
    expect(pass(toB)).toEqual([toB]);
    expect(due()).toEqual([]);
  });

  test('again for what changed while a pass went on', () => {
    cluster.apply(cluster.slice('dns', [B]));
    const taken = cluster.targets.due(0);
    cluster.apply(cluster.slice('dns', [C]));
    cluster.targets.settle(taken, 0);
    expect(pass(toA, toB)).toEqual([toA, toB]);
  });

  test('not while what is known of the Service is not in force', () => {
    cluster.apply(
      cluster.slice('dns', [B]),
      cluster.service({ name: 'ntp', clusterIps: ['10.96.0.20'], port: 123 }),
    );
    expect(cluster.due(new Set(['default/dns' as ServiceKey]))).toEqual(['10.96.0.20:123/UDP']);
    expect(due().sort()).toEqual(['10.96.0.10:53/UDP', '10.96.0.20:123/UDP']);
  });

  test('a Service that is deleted and comes back before the pass is looked at as it is now', () => {
    cluster.apply(cluster.remove('Service', 'dns'));
    cluster.apply(cluster.service(dns));
    expect(pass(toA, toB, untranslated)).toEqual([untranslated]);
  });

  test('lists no more than it must', () => {
    const scopes = () => cluster.index(cluster.targets.due(0)).scopes();
    cluster.targets.distrust(0);
    const udp = { protocol: 17, destinationPort: 53 };
    expect(scopes()).toEqual([{ family: 4, filter: { ...udp, destination: packIp(VIP as Ip) } }]);
    cluster.apply(cluster.service({ ...dns, externalIps: ['203.0.113.7'] }));
    expect(scopes()).toEqual([{ family: 4, filter: udp }]);
    cluster.apply(cluster.service({ ...dns, nodePort: 30053 }));
    expect(scopes()).toEqual([{ family: 4, filter: { protocol: 17 } }]);
    const web = { name: 'web', clusterIps: ['10.96.0.20', VIP6], protocol: 'TCP', port: 80 } as const;
    cluster.apply(
      cluster.service({ ...web, resetAfterS: 0 }),
      cluster.slice('web', [A], { protocol: 'TCP' }),
    );
    expect(scopes()).toEqual([
      { family: 4, filter: { protocol: 17 } },
      { family: 4, filter: { protocol: 6, destinationPort: 80, destination: packIp('10.96.0.20' as Ip) } },
      { family: 6, filter: { protocol: 6, destinationPort: 80, destination: packIp(VIP6 as Ip) } },
    ]);
  });
});
