// A table that belongs to the daemon: nobody else changes it while it runs, a successor takes it over, and what cannot be owned is
// watched. On kernels before 6.9 there is nothing to own.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { NetlinkTransport } from '../../src/daemon/netlink-socket.ts';
import { NftSession } from '../../src/daemon/nft-session.ts';
import { NftablesBackend } from '../../src/daemon/nftables-backend.ts';
import { TABLE } from '../../src/mode/nftables/names.ts';
import { adoptTables, OWNED, probeOwnership } from '../../src/mode/nftables/ownership.ts';
import { structureTransaction } from '../../src/mode/nftables/transaction.ts';
import { TABLE_FLAGS } from '../../src/netlink/nftables/table.ts';
import { FAMILIES, MASQUERADE_BIT } from '../support/in-process-proxy.ts';
import { service, slice } from '../support/manifests.ts';
import { Daemon } from '../support/netns/daemon.ts';
import { Netns } from '../support/netns/netns.ts';
import type { Target } from '../support/netns/traffic.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
const NOBODYS = '--nftables-own-table=false';

let canOwn: boolean;
let node: TestNode;
let daemon: Daemon | undefined;

beforeAll(async () => {
  node = await TestNode.create(2);
  node.manifests.put(
    'web',
    service('web', { clusterIps: [WEB.host], ports: [{ name: 'http', port: 80 }] }),
    slice('web', 'web', { ports: [{ name: 'http', port: 8080 }], endpoints: [podIp(1), podIp(2)] }),
  );
  const netns = await Netns.create('probe');
  const netlink = await RemoteNetlink.open(netns);
  const { refusals } = await new NftSession(netlink).commit(structureTransaction(probeOwnership(OWNED)));
  canOwn = refusals.length === 0;
  netlink.close();
  await netns.delete();
});
beforeEach(async () => {
  await node.nft('flush', 'ruleset');
});
afterEach(async () => {
  await daemon?.stop('SIGKILL');
  daemon = undefined;
});
afterAll(() => node?.delete());

const start = async (...flags: string[]): Promise<Daemon> => {
  daemon = await node.start(...flags);
  return daemon;
};
const edit = (...command: string[]) => node.netns.tryExec(['nft', ...command]);
const answers = async (): Promise<string> => (await node.topology.client.agent().probe(WEB)).outcome;
const DELETE_SLOT = ['delete', 'element', 'ip', 'kproxy-ts', 'endpoints', '{ 10.96.0.1 . tcp . 80 . 1 }'];

describe('owned', () => {
  beforeEach(({ skip }) => {
    if (!canOwn) skip('this kernel cannot own tables');
  });

  test('nobody else changes it while the daemon runs; what only looks works', async () => {
    const { pid, log } = await start();
    const generation = await node.generation();
    for (const command of [
      DELETE_SLOT,
      ['delete', 'table', 'ip', 'kproxy-ts'],
      ['add', 'chain', 'ip6', 'kproxy-ts', 'mine'],
      ['add', 'table', 'ip', 'kproxy-ts', '{ flags dormant; }'],
    ]) {
      expect((await edit(...command)).stderr).toContain('Operation not permitted');
    }
    expect((await edit('flush', 'ruleset')).status).toBe(0);
    expect(await answers()).toBe('reply');
    expect(await node.nft('list', 'map', 'ip', 'kproxy-ts', 'services')).toContain('default/web:http');
    expect((await node.table()).map((row) => row.service)).toEqual(['default/web:http']);
    expect(await node.diff()).toMatchObject({ status: 0 });

    const { status, stdout, stderr } = await node.kproxy('cleanup');
    expect(stderr).toMatch(
      new RegExp(`^kproxy-ts: another kproxy-ts .*\\(pid ${pid}, .*; it must be stopped first\n$`),
    );
    expect([status, stdout]).toEqual([3, '']);
    expect(log.filter(({ msg }) => msg.includes('repaired'))).toEqual([]);
    // The flush of what there was of others.
    expect((await node.generation()) - generation).toBeLessThanOrEqual(1);
  });

  test.each([
    ['SIGTERM', 0],
    ['SIGKILL', 'SIGKILL'],
  ] as const)('after %s it stays, and a successor makes it its own', async (signal, end) => {
    await start();
    const client = node.topology.client.agent();
    const load = await client.startLoad({ ...WEB, pauseMs: 1 });
    const held = await client.hold(WEB);
    for (let i = 0; i < 3; i++) {
      expect(await daemon!.stop(signal)).toBe(end);
      expect(await node.nft('list', 'tables')).toBe('table ip kproxy-ts\ntable ip6 kproxy-ts\n');
      const generation = await node.generation();
      const successor = await start();
      expect((await successor.rulesInForce())['writes']).toBe(0);
      expect(await node.generation()).toBe(generation + 1);
      expect((await edit(...DELETE_SLOT)).stderr).toContain('Operation not permitted');
    }
    const tally = await load.stop();
    expect(tally.failures).toEqual([]);
    expect(tally.total).toBeGreaterThan(100);
    const report = await held.release();
    expect(report.outcome).toBe('reply');
    expect(report.server).toBe(report.first.server);
  });

  test('what is done to it while nobody owns it is found by the next', async () => {
    await (await start()).stop();
    expect((await edit(...DELETE_SLOT)).status).toBe(0);
    const successor = await start();
    expect((await successor.rulesInForce())['writes']).toBe(1);
    expect((await node.diff()).status).toBe(0);
  });

  test.each(['SIGTERM', 'SIGKILL'] as const)('after %s cleanup takes it away', async (signal) => {
    await (await start()).stop(signal);
    expect(await node.kproxy('cleanup')).toEqual({
      status: 0,
      stdout: 'removed table ip kproxy-ts\nremoved table ip6 kproxy-ts\n',
      stderr: '',
    });
    expect(await node.nft('list', 'ruleset')).toBe('');
  });

  test('one that another program owns is left to it, and taken when it is given up', async () => {
    await (await start()).stop();
    const netlink = await RemoteNetlink.open(node.netns);
    try {
      const stranger = new NftSession(netlink);
      const { refusals } = await stranger.commit(structureTransaction(adoptTables([6], TABLE)));
      expect(refusals).toEqual([]);
      const { status, stderr } = await node.kproxy('cleanup');
      expect(stderr).toMatch(/^kproxy-ts: .*ip6 table kproxy-ts\b.*: EPERM/);
      expect(status).toBe(1);
      daemon = Daemon.start(node.netns, [...node.flags, '-v=2']);
      const { err } = await daemon.waitForLog('not in force');
      expect(err).toMatchObject({
        code: 'EPERM',
        message: expect.stringMatching(/table ip6 kproxy-ts.*another socket/),
      });
    } finally {
      netlink.close();
    }
    await daemon.rulesInForce();
  });
});

describe("nobody's", () => {
  test('a table that was made so stays so, and what others do to it is undone within a second or two', async () => {
    await (await start(NOBODYS)).stop();
    const successor = await start();
    expect((await successor.rulesInForce())['writes']).toBe(0);
    for (const command of [DELETE_SLOT, ['flush', 'ruleset']]) {
      const from = successor.log.length;
      expect((await edit(...command)).status).toBe(0);
      await successor.waitForLog('repaired', { from, timeoutMs: 5000 });
      expect(await answers()).toBe('reply');
    }
    // It was made anew.
    if (canOwn) expect((await edit(...DELETE_SLOT)).stderr).toContain('Operation not permitted');
  });

  test('where the kernel cannot own tables they are made without, and watched', async () => {
    const netns = await Netns.create('old');
    const netlink = await RemoteNetlink.open(netns);
    // A flag that no kernel has stands in for one that this kernel has not.
    const old: NetlinkTransport = {
      sendBufferBytes: netlink.sendBufferBytes,
      reserveSendBuffer: () => netlink.reserveSendBuffer(),
      transact: (request) => netlink.transact(asOldKernel(request)),
      close: () => netlink.close(),
    };
    try {
      const watched: number[] = [];
      const backend = new NftablesBackend({
        session: new NftSession(old),
        families: FAMILIES,
        masqueradeBit: MASQUERADE_BIT,
        ownsTables: true,
        watch: (portId) => {
          watched.push(portId);
          return { close: () => undefined };
        },
      });
      for (let i = 0; i < 2; i++) {
        expect((await backend.sync({ frontends: new Map(), surroundings: undefined })).failures).toEqual([]);
        backend.distrust();
      }
      const { observed } = await new NftSession(netlink).observe(FAMILIES);
      const ownership = [...observed.values()].map(({ owner, isPersistent }) => [owner, isPersistent]);
      expect(ownership).toEqual([
        [undefined, false],
        [undefined, false],
      ]);
      expect(watched).toHaveLength(1);
    } finally {
      netlink.close();
      await netns.delete();
    }
  });
});

/** NFTA_TABLE_FLAGS with `owner` and `persist`. */
const FLAGS = Buffer.from([8, 0, 2, 0, 0, 0, 0, TABLE_FLAGS.owner | TABLE_FLAGS.persist]);

function asOldKernel(request: Uint8Array): Uint8Array {
  const bytes = Buffer.from(request);
  for (let at = bytes.indexOf(FLAGS); at >= 0; at = bytes.indexOf(FLAGS, at + 1)) bytes[at + 7] = 0x40;
  return bytes;
}
