// The removal of stale flows against the kernel's table in a network namespace, filled by the conntrack tool: what a pass
// that is interrupted, refused or overtaken leaves behind, the next one does.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { ConntrackReconciler } from '../../src/daemon/conntrack-reconciler.ts';
import { ConntrackSession } from '../../src/daemon/conntrack-session.ts';
import { type Ip, unpackIp } from '../../src/model/ip.ts';
import type { SourceEvent } from '../../src/model/source-event.ts';
import { VipTable } from '../../src/vip/vip-table.ts';
import { DisturbedNetlink, failure, interrupted } from '../support/disturbed-netlink.ts';
import { hostCidrs } from '../support/in-process-proxy.ts';
import { Netns } from '../support/netns/netns.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';
import { Cluster, NODE_IP } from './cluster.ts';

const CT_DELETE = (1 << 8) | 2;
const VIP = '10.96.0.10';
const [A, B] = ['10.1.0.11', '10.1.0.12'];

let netns: Netns;
let netlink: RemoteNetlink;
let disturbed: DisturbedNetlink;
let cluster: Cluster;
let table: VipTable;
let reconciler: ConntrackReconciler;

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
  reconciler = new ConntrackReconciler({
    objects: cluster.store,
    session: new ConntrackSession(disturbed),
    localAddresses: () => [NODE_IP as Ip, '127.0.0.1' as Ip],
  });
  reconciler.note({
    frontends: new Map(),
    surroundings: { nodePortCidrs: hostCidrs(NODE_IP), serviceCidrs: [], localPods: new Map() },
  });
});

function note(...events: SourceEvent[]): void {
  const { services } = cluster.store.apply(events);
  reconciler.note({ frontends: table.refresh(cluster.store, services), surroundings: undefined });
}

/** Adds UDP flows: the client's port, what it dialled, and who answers; then further options of the tool. */
async function add(
  ...flows: [port: number, dialled: string, answered: string, ...string[]][]
): Promise<void> {
  const lines = flows.map(([port, dialled, answered, ...options]) => {
    const [ip, dialledPort] = dialled.split(' ');
    return `-I -p udp -s 10.1.0.99 --sport ${port} -d ${ip} --dport ${dialledPort} -g ${answered} -t 300 ${options.join(' ')}`;
  });
  // The tool opens its standard input by name, which a socket does not allow.
  await netns.exec(['sh', '-c', 'cat | conntrack --load-file -'], { input: `${lines.join('\n')}\n` });
}

/** The flows there are: the client's port and who answers. */
async function present(): Promise<string[]> {
  const { flows } = await new ConntrackSession(netlink).find(4, { protocol: 17 }, () => true);
  return flows.map(({ original, reply }) => `${original.sourcePort} ${unpackIp(reply.source)}`).sort();
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
  expect(await reconciler.reconcile()).toEqual({ deleted: 5 });
  expect(await present()).toEqual([`1 ${A}`, `7 ${B}`, `8 ${B}`, `9 ${B}`]);

  disturbed.disturb = () => Promise.reject(new Error('asked the kernel'));
  note(cluster.slice('dns', [A, B]));
  expect(await reconciler.reconcile()).toEqual({ deleted: 0 });
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
  expect(await reconciler.reconcile()).toEqual({ deleted: 1 });
  // One flow and the end of the dump.
  expect(listedBytes).toBeLessThan(300);
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
  expect(await reconciler.reconcile()).toEqual({ deleted: 0 });
  expect(await present()).toEqual([`1 ${A}`]);
});

test('a listing that fails is made good by the next pass', async () => {
  note(...dns());
  await add([1, `${VIP} 53`, `${B}:5353`]);
  disturbed.disturb = () => Promise.reject(failure('ENOBUFS', 105));
  expect(await reconciler.reconcile()).toMatchObject({ deleted: 0, failure: { code: 'ENOBUFS' } });
  disturbed.disturb = undefined;
  note(cluster.slice('dns', [A], { name: 'dns-2' }));
  expect(await reconciler.reconcile()).toEqual({ deleted: 1 });
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
  expect(await reconciler.reconcile()).toEqual({ deleted: 1 });
  expect(listings).toBe(2);

  reconciler.distrust();
  await add([1, `${VIP} 53`, `${B}:5353`]);
  interruptions = 5;
  expect(await reconciler.reconcile()).toMatchObject({ deleted: 1, failure: { code: 'EINTR' } });
  expect(await reconciler.reconcile()).toEqual({ deleted: 0 });
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
  const { deleted, failure: refusal } = await reconciler.reconcile();
  expect(deleted).toBe(1);
  expect(refusal?.message).toMatch(
    /^delete flow 10\.1\.0\.99 [12] -> 10\.96\.0\.10 53, answered by 10\.1\.0\.12 5353: EINVAL$/,
  );
  disturbed.disturb = undefined;
  expect(await reconciler.reconcile()).toEqual({ deleted: 1 });
});

test('more flows than fit into one request are all deleted', async () => {
  note(...dns());
  await add(
    ...Array.from({ length: 1000 }, (_, i) => [i + 1, `${VIP} 53`, `${B}:5353`] as [number, string, string]),
  );
  expect(await reconciler.reconcile()).toEqual({ deleted: 1000 });
  expect(await present()).toEqual([]);
});
