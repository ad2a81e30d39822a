// The removal of stale flows against the kernel's table in a network namespace, filled by the conntrack tool: what a pass
// that is interrupted, refused or overtaken leaves behind, the next one does.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { forgetStaleFlows } from '../../src/daemon/after-sync.ts';
import { ConntrackReconciler } from '../../src/daemon/conntrack-reconciler.ts';
import { ConntrackSession } from '../../src/daemon/conntrack-session.ts';
import { createLog } from '../../src/daemon/log.ts';
import { type Ip, packIp, unpackIp } from '../../src/model/ip.ts';
import type { SourceEvent } from '../../src/model/source-event.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import { flowEnd } from '../../src/vip/conntrack/flow-target.ts';
import { type Frontend, frontendKey } from '../../src/vip/frontend.ts';
import { VipTable } from '../../src/vip/vip-table.ts';
import { DisturbedNetlink, failure, interrupted } from '../support/disturbed-netlink.ts';
import { hostCidrs } from '../support/in-process-proxy.ts';
import { Netns } from '../support/netns/netns.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';
import { Cluster, NODE_IP } from './cluster.ts';

const QUIET = createLog({
  format: 'json',
  verbosity: 0,
  isTty: false,
  destination: { write: () => undefined },
});
const CT_DELETE = (1 << 8) | 2;
const VIP = '10.96.0.10';
const [A, B] = ['10.1.0.11', '10.1.0.12'];

let netns: Netns;
let netlink: RemoteNetlink;
let disturbed: DisturbedNetlink;
let cluster: Cluster;
let table: VipTable;
let reconciler: ConntrackReconciler;
let nowMs = 0;
let isPickingUp: boolean;

beforeAll(async () => {
  netns = await Netns.create('conntrack');
  netlink = await RemoteNetlink.open(netns);
});

afterAll(async () => {
  netlink?.close();
  await netns?.delete();
});

beforeEach(async () => {
  await netns.exec(['conntrack', '-F']);
  disturbed = new DisturbedNetlink(netlink);
  cluster = new Cluster();
  table = new VipTable({ nodeName: 'node-1', detectLocal: { kind: 'NodeCIDR' }, masqueradeAll: false });
  isPickingUp = true;
  reconciler = new ConntrackReconciler({
    objects: cluster.store,
    isClaimed: (key) => table.has(key),
    session: new ConntrackSession(disturbed),
    hasTcpPickup: () => isPickingUp,
    localAddresses: () => [NODE_IP as Ip, '127.0.0.1' as Ip],
  });
  reconciler.note(
    {
      frontends: new Map(),
      surroundings: { nodePortCidrs: hostCidrs(NODE_IP), serviceCidrs: [], localPods: new Map() },
    },
    nowMs,
  );
});

function note(...events: SourceEvent[]): void {
  const { services } = cluster.store.apply(events);
  reconciler.note({ frontends: table.refresh(cluster.store, services), surroundings: undefined }, nowMs);
}

/** Adds UDP flows: the client's port, what it dialled, and who answers; then further options of the tool. */
const add = (...flows: [port: number, dialled: string, answered: string, ...string[]][]): Promise<void> =>
  addAll(
    ...flows.map(([port, dialled, answered, ...options]) => {
      const [ip, dialledPort] = dialled.split(' ');
      return `-p udp --sport ${port} -d ${ip} --dport ${dialledPort} -g ${answered} ${options.join(' ')}`;
    }),
  );

/** Adds flows as the tool's options have them. */
async function addAll(...flows: string[]): Promise<void> {
  const lines = flows.map((options) => `-I -s 10.1.0.99 -t 300 ${options}`);
  // The tool opens its standard input by name, which a socket does not allow.
  await netns.exec(['sh', '-c', 'cat | conntrack --load-file -'], { input: `${lines.join('\n')}\n` });
}

/** The flows there are: the client's port and who answers. */
async function present(): Promise<string[]> {
  const { flows } = await new ConntrackSession(netlink).find(4, { protocol: 17 }, () => true);
  return flows.map(({ original, reply }) => `${original.sourcePort} ${unpackIp(reply.source)}`).sort();
}

/** The number of flows of every protocol. */
async function presentByProtocol(): Promise<Record<string, number>> {
  const lines = (await netns.exec(['conntrack', '-L'])).trim().split('\n').filter(Boolean);
  const counts: Record<string, number> = {};
  for (const line of lines) {
    const protocol = line.split(' ')[0]!;
    counts[protocol] = (counts[protocol] ?? 0) + 1;
  }
  return counts;
}

const isDeletion = (request: Uint8Array): boolean => Buffer.from(request).readUInt16LE(4) === CT_DELETE;

const dns = (): SourceEvent[] => [
  cluster.service({ name: 'dns', clusterIps: [VIP], nodePort: 30053 }),
  cluster.slice('dns', [A]),
];

test('deletes what is stale and nothing else, in every zone, and then costs nothing', async () => {
  note(...dns());
  await add(
    [1, `${VIP} 53`, `${A}:5353`],
    [2, `${VIP} 53`, `${B}:5353`],
    [3, `${VIP} 53`, `${B}:5353`, '--zone 5'],
    [4, `${VIP} 53`, `${B}:5353`, '--orig-zone 6'],
    [5, `${VIP} 53`, `${B}:5353`, '--reply-zone 7'],
    [6, `${NODE_IP} 30053`, `${B}:5353`],
    [7, '127.0.0.1 30053', `${B}:5353`],
    [8, '198.51.100.1 30053', `${B}:5353`],
    [9, `${VIP} 54`, `${B}:5353`],
  );
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 5 });
  expect(await present()).toEqual([`1 ${A}`, `7 ${B}`, `8 ${B}`, `9 ${B}`]);

  disturbed.disturb = () => Promise.reject(new Error('asked the kernel'));
  note(cluster.slice('dns', [A, B]));
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 0, isIdle: true });
});

test('asks the kernel for the flows of one destination only', async () => {
  note(cluster.service({ name: 'dns', clusterIps: [VIP] }), cluster.slice('dns', []));
  await add([1, `${VIP} 53`, `${A}:5353`], [2, '10.96.0.99 53', `${B}:5353`], [3, `${VIP} 54`, `${B}:5353`]);
  let listedBytes = 0;
  disturbed.disturb = async (request, pass) => {
    const replies = await pass(request);
    if (!isDeletion(request)) listedBytes += replies.reduce((sum, { length }) => sum + length, 0);
    return replies;
  };
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 1 });
  // One flow and the end of the dump.
  expect(listedBytes).toBeLessThan(300);
});

test('a change of the Service alone: flows to an address that it gains, and to one that it loses', async () => {
  const of = (externalIps: string[]) =>
    cluster.service({ name: 'dns', clusterIps: [VIP], externalIps, nodePort: 30053 });
  note(of([]), cluster.slice('dns', [A]));
  await reconciler.reconcile(nowMs);
  await add([1, '203.0.113.7 53', '203.0.113.7:53'], [2, `${VIP} 53`, `${A}:5353`]);
  note(of(['203.0.113.7']));
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 1 });
  await add([1, '203.0.113.7 53', `${A}:5353`]);
  note(of([]));
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 1 });
  expect(await present()).toEqual([`2 ${A}`]);
});

test('a flow that took the place of a stale one meanwhile is not hit', async () => {
  note(...dns());
  await add([1, `${VIP} 53`, `${B}:5353`]);
  disturbed.disturb = async (request, pass) => {
    if (isDeletion(request)) {
      await netns.exec(['conntrack', '-D', '-p', 'udp', '--orig-port-src', '1']);
      await add([1, `${VIP} 53`, `${A}:5353`]);
    }
    return pass(request);
  };
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 0 });
  expect(await present()).toEqual([`1 ${A}`]);
});

test('a listing that fails is made good by the next pass', async () => {
  note(...dns());
  await add([1, `${VIP} 53`, `${B}:5353`]);
  disturbed.disturb = () => Promise.reject(failure('ENOBUFS', 105));
  expect(await reconciler.reconcile(nowMs)).toMatchObject({ deleted: 0, failure: { code: 'ENOBUFS' } });
  disturbed.disturb = undefined;
  note(cluster.slice('dns', [A], { name: 'dns-2' }));
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 1 });
});

test('an interrupted listing is begun anew, and in the end given up until the next pass', async () => {
  note(...dns());
  await add([1, `${VIP} 53`, `${B}:5353`]);
  let interruptions = 1;
  let listings = 0;
  disturbed.disturb = async (request, pass) => {
    const replies = await pass(request);
    if (isDeletion(request)) return replies;
    listings++;
    return interruptions-- > 0 ? interrupted(replies) : replies;
  };
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 1 });
  expect(listings).toBe(2);

  reconciler.distrust(nowMs);
  await add([1, `${VIP} 53`, `${B}:5353`]);
  interruptions = 5;
  expect(await reconciler.reconcile(nowMs)).toMatchObject({ deleted: 1, failure: { code: 'EINTR' } });
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 0 });
});

test('a deletion that is refused names the flow; the others are deleted', async () => {
  note(...dns());
  await add([1, `${VIP} 53`, `${B}:5353`], [2, `${VIP} 53`, `${B}:5353`]);
  disturbed.disturb = async (request, pass) => {
    const bytes = Buffer.from(request);
    // The first of two deletions becomes a request that the kernel does not know.
    if (isDeletion(bytes)) bytes.writeUInt16LE((1 << 8) | 0x7f, 4);
    return pass(bytes);
  };
  const { deleted, failure: refusal } = await reconciler.reconcile(nowMs);
  expect(deleted).toBe(1);
  expect(refusal?.message).toMatch(
    /^delete flow 10\.1\.0\.99 [12] -> 10\.96\.0\.10 53, answered by 10\.1\.0\.12 5353: EINVAL$/,
  );
  disturbed.disturb = undefined;
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 1 });
});

test('more flows than fit into one request are all deleted', async () => {
  note(...dns());
  await add(
    ...Array.from({ length: 1000 }, (_, i) => [i + 1, `${VIP} 53`, `${B}:5353`] as [number, string, string]),
  );
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 1000 });
  expect(await present()).toEqual([]);
});

test('touches no protocol but the one that a Service serves at an address', async () => {
  note(...dns());
  const to = `-d ${VIP} -g ${B}`;
  await addAll(
    `-p udp --sport 1 --dport 53 ${to}:5353`,
    `-p tcp --sport 1 --dport 53 --state ESTABLISHED ${to}:5353`,
    `-p sctp --sport 1 --dport 53 --state ESTABLISHED --orig-vtag 1 --reply-vtag 2 ${to}`,
    `-p udplite --sport 1 --dport 53 ${to}`,
    `-p icmp --icmp-type 8 --icmp-code 0 --icmp-id 53 ${to}`,
  );
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 1 });
  expect(await presentByProtocol()).toEqual({ tcp: 1, sctp: 1, udplite: 1, icmp: 1 });
});

describe('TCP of a Service that asks for it', () => {
  const web = (pods: readonly string[]): SourceEvent[] => [
    cluster.service({ name: 'web', clusterIps: [VIP], protocol: 'TCP', port: 80, resetAfterS: 30 }),
    cluster.slice('web', pods, { port: 8080, protocol: 'TCP' }),
  ];
  const connections = (...states: string[]): string[] =>
    states.flatMap((state, i) => [
      `-p tcp --sport ${i + 1} -d ${VIP} --dport 80 -g ${A}:8080 --state ${state}`,
      `-p tcp --sport ${i + 11} -d ${VIP} --dport 80 -g ${B}:8080 --state ${state}`,
    ]);
  /** Which endpoints are connected to. */
  const answeredBy = async (): Promise<string[]> => {
    const { flows } = await new ConntrackSession(netlink).find(4, { protocol: 6 }, () => true);
    return flows.map(({ reply }) => unpackIp(reply.source)).sort();
  };

  test('in whatever state, after the grace period, with nothing asked of the kernel before', async () => {
    note(...web([A, B]));
    nowMs += 30_000;
    expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 0 });
    await addAll(...connections('SYN_SENT', 'ESTABLISHED', 'FIN_WAIT', 'CLOSE_WAIT'));
    await add([1, `${VIP} 80`, `${A}:8080`]);

    disturbed.disturb = () => Promise.reject(new Error('asked the kernel'));
    note(...web([B]));
    expect(reconciler.nextDueMs(nowMs)).toBe(nowMs + 30_000);
    nowMs += 29_999;
    expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 0, isIdle: true });
    disturbed.disturb = undefined;
    nowMs += 1;
    expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 4 });
    expect(await answeredBy()).toEqual([B, B, B, B]);
    expect(await presentByProtocol()).toEqual({ tcp: 4, udp: 1 });
    expect(reconciler.nextDueMs(nowMs)).toBeUndefined();
  });

  test.each([
    ['listing', (request: Uint8Array) => !isDeletion(request)],
    ['deletion', isDeletion],
  ])('a %s that fails is made good by the next pass', async (_, isConcerned) => {
    note(...web([A, B]));
    nowMs += 30_000;
    await reconciler.reconcile(nowMs);
    await addAll(...connections('ESTABLISHED'));
    note(...web([B]));
    nowMs += 30_000;
    disturbed.disturb = (request, pass) =>
      isConcerned(request) ? Promise.reject(failure('ENOMEM', 12)) : pass(request);
    expect(await reconciler.reconcile(nowMs)).toMatchObject({ deleted: 0, failure: { code: 'ENOMEM' } });
    disturbed.disturb = undefined;
    expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 1 });
    expect(await answeredBy()).toEqual([B]);
  });

  test('a kernel that does not pick connections up is told of as soon as it matters', async () => {
    note(...dns(), ...web([A, B]));
    isPickingUp = false;
    await reconciler.reconcile(nowMs);
    expect(reconciler.problems()).toEqual([]);
    nowMs += 30_000;
    await reconciler.reconcile(nowMs);
    expect(reconciler.problems()).toMatchObject([
      { code: 'NO_TCP_PICKUP', reason: expect.stringContaining('nf_conntrack_tcp_loose') },
    ]);
    isPickingUp = true;
    reconciler.distrust(nowMs);
    nowMs += 30_000;
    await reconciler.reconcile(nowMs);
    expect(reconciler.problems()).toEqual([]);
  });
});

describe('a kernel without ctnetlink', () => {
  /** To a subsystem that nobody has registered, which is what ctnetlink is then. */
  const absent = (request: Uint8Array): Uint8Array => {
    const bytes = Buffer.from(request);
    bytes[5] = 0x0f;
    return bytes;
  };

  test('is a problem that is told, not a sync that fails', async () => {
    note(...dns());
    disturbed.disturb = (request, pass) => pass(absent(request));
    expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 0 });
    expect(reconciler.problems()).toMatchObject([
      {
        subject: 'connection tracking',
        code: 'NO_CTNETLINK',
        reason: expect.stringContaining('nf_conntrack_netlink'),
      },
    ]);
    let asked = 0;
    disturbed.disturb = (request, pass) => {
      asked++;
      return pass(absent(request));
    };
    expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 0, isIdle: true });
    expect(asked).toBe(0);
  });

  test('that gets it is made use of, and what came meanwhile is made good', async () => {
    note(...dns(), cluster.service({ name: 'ntp', clusterIps: ['10.96.0.11'], port: 123 }));
    await add([1, '10.96.0.11 123', `${B}:123`], [2, `${VIP} 53`, `${A}:5353`]);
    disturbed.disturb = (request, pass) => pass(absent(request));
    await reconciler.reconcile(nowMs);
    disturbed.disturb = undefined;
    note(cluster.slice('dns', [B]));
    expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 1 });
    expect(reconciler.problems()).toEqual([]);
    expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 1 });
    expect(await present()).toEqual([]);
  });

  test('is not what a request that the kernel does not like means', async () => {
    note(...dns());
    const CT_GET = (1 << 8) | 1;
    disturbed.disturb = (request, pass) => {
      const bytes = Buffer.from(request);
      if (bytes.readUInt16LE(4) === CT_GET) bytes.writeUInt16LE((1 << 8) | 0x7f, 4);
      return pass(bytes);
    };
    expect(await reconciler.reconcile(nowMs)).toMatchObject({ deleted: 0, failure: { code: 'EINVAL' } });
    expect(reconciler.problems()).toEqual([]);
  });

  test('is not what a failure to ask means', async () => {
    note(...dns());
    let asked = 0;
    disturbed.disturb = (request, pass) =>
      asked++ === 0 ? pass(absent(request)) : Promise.reject(failure('ENOBUFS', 105));
    expect(await reconciler.reconcile(nowMs)).toMatchObject({ deleted: 0, failure: { code: 'ENOBUFS' } });
    expect(reconciler.problems()).toEqual([]);
  });
});

test('flows of a Service that is not in force are left until it is', async () => {
  note(...dns());
  await add([1, `${VIP} 53`, `${B}:5353`]);
  const refused = new Set(['default/dns' as ServiceKey]);
  expect(await reconciler.reconcile(nowMs, refused)).toEqual({ deleted: 0, isIdle: true });
  expect(await reconciler.reconcile(nowMs)).toEqual({ deleted: 1 });
});

describe('with portals', () => {
  /** Where proxies of this host listen, by `frontendKey`. */
  let proxies: Map<string, number>;
  let moved: Map<ServiceKey, readonly Frontend[]>;
  const forgetting = () =>
    forgetStaleFlows(reconciler, QUIET, undefined, {
      takeMoved() {
        const taken = moved;
        moved = new Map();
        return taken;
      },
      resetIf: () => undefined,
      endsOf(frontend) {
        const port = proxies.get(frontendKey(frontend));
        return new Set(port === undefined ? [] : [flowEnd(packIp(NODE_IP as Ip), port)]);
      },
    });
  const show = (...events: SourceEvent[]): void => {
    const { services } = cluster.store.apply(events);
    moved = new Map([...moved, ...table.refresh(cluster.store, services)]);
  };

  beforeEach(() => {
    proxies = new Map([
      [`${VIP}:53/UDP`, 40_001],
      ['*v4:30053/UDP', 40_002],
    ]);
    moved = new Map();
  });

  test('UDP flows to ports that nobody listens at, and to endpoints that are gone, find their way to proxies', async () => {
    const portals = forgetting();
    await add(
      [1, `${VIP} 53`, `${A}:5353`],
      [2, `${VIP} 53`, `${NODE_IP}:40001`],
      [3, `${VIP} 53`, `${NODE_IP}:39999`],
      [4, `${NODE_IP} 30053`, `${NODE_IP}:40002`],
      [5, `${NODE_IP} 30053`, `${A}:5353`],
      [6, `${VIP} 54`, `${NODE_IP}:39999`],
      [7, `${VIP} 53`, `${B}:5353`],
    );
    show(...dns());
    expect(await portals.settle(nowMs, new Set())).toEqual([]);
    expect(await present()).toEqual([`1 ${A}`, `2 ${NODE_IP}`, `4 ${NODE_IP}`, `5 ${A}`, `6 ${NODE_IP}`]);

    proxies.set(`${VIP}:53/UDP`, 40_007);
    show(cluster.slice('dns', [B]));
    await portals.settle(nowMs, new Set());
    expect(await present()).toEqual([`4 ${NODE_IP}`, `6 ${NODE_IP}`]);

    // An update is what proxies make of it, not what it says.
    portals.note(
      { frontends: table.refresh(cluster.store, cluster.store.serviceKeys()), surroundings: undefined },
      nowMs,
    );
    await portals.settle(nowMs, new Set());
    expect(await present()).toEqual([`4 ${NODE_IP}`, `6 ${NODE_IP}`]);
  });

  test('another mode takes the flows of proxies to endpoints', async () => {
    show(...dns());
    await forgetting().settle(nowMs, new Set());
    await add([1, `${VIP} 53`, `${A}:5353`], [2, `${VIP} 53`, `${NODE_IP}:40001`]);
    const frontends = table.refresh(cluster.store, cluster.store.serviceKeys());
    const elsewhere = forgetStaleFlows(reconciler, QUIET);
    elsewhere.note({ frontends, surroundings: undefined }, nowMs);
    await elsewhere.settle(nowMs, new Set());
    expect(await present()).toEqual([`1 ${A}`]);
  });

  test('TCP connections stay with their proxy; those to endpoints end as their Service asks', async () => {
    const web = { name: 'web', clusterIps: [VIP], protocol: 'TCP', port: 80, resetAfterS: 0 } as const;
    proxies.set(`${VIP}:80/TCP`, 40_003);
    const flow = (port: number, answered: string) =>
      `-p tcp --state ESTABLISHED --sport ${port} -d ${VIP} --dport 80 -g ${answered}`;
    await addAll(flow(1, `${NODE_IP}:40003`), flow(2, `${A}:8080`), flow(3, `${B}:8080`));
    show(cluster.service(web), cluster.slice('web', [A], { protocol: 'TCP', port: 8080 }));
    await forgetting().settle(nowMs, new Set());
    const { flows } = await new ConntrackSession(netlink).find(4, { protocol: 6 }, () => true);
    expect(flows.map(({ original }) => original.sourcePort).sort()).toEqual([1, 2]);
  });
});
