// The loop that runs for months, in each mode, on a kernel that is slow, or that fails a call now and then without end: changes
// keep coming, the pace of retries stays bounded, and what is wanted is in force in the end.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { Backend } from '../../src/daemon/backend.ts';
import { SyncLoop, type SyncReport } from '../../src/daemon/sync-loop.ts';
import type { SourceEvent } from '../../src/model/source-event.ts';
import type { Store } from '../../src/model/store.ts';
import type { Surroundings } from '../../src/vip/surroundings.ts';
import type { VipTable } from '../../src/vip/vip-table.ts';
import { type DisturbedNetlink, failure, type Pass } from '../support/disturbed-netlink.ts';
import { deletion, hostCidrs, LISTED, upserts } from '../support/in-process-proxy.ts';
import { randomNumbers } from '../support/random-numbers.ts';
import { FaultyNode, web } from './faulty-node.ts';
import { IptablesNode, SURROUNDINGS } from './iptables-node.ts';

/** What the loop needs of a mode, on a kernel of its own. */
interface Node {
  readonly store: Store;
  readonly table: VipTable;
  readonly backend: Backend;
  readonly disturbed: DisturbedNetlink;
  readonly surroundings: Omit<Surroundings, 'localPods'>;
  /** What separates the kernel from what the objects call for. */
  differences(): Promise<readonly string[]>;
  delete(): Promise<void>;
}

const MODES: Record<string, () => Promise<Node>> = {
  nftables: async () => {
    const node = await FaultyNode.create();
    const { store, table, backend } = node.proxy;
    const nodePortCidrs = hostCidrs('192.168.50.10', 'fd00:50::10');
    return {
      ...{ store, table, backend, disturbed: node.disturbed },
      surroundings: { nodePortCidrs, serviceCidrs: [] },
      differences: () => node.differences(),
      delete: () => node.delete(),
    };
  },
  iptables: async () => {
    const node = await IptablesNode.create('flaky');
    const { store, table, backend, disturbed } = node;
    return {
      ...{ store, table, backend, disturbed },
      surroundings: SURROUNDINGS,
      differences: () => node.differences(),
      delete: () => node.delete(),
    };
  },
};

const CHECK_INTERVAL_MS = 1000;

let node: Node | undefined;
let loop: SyncLoop | undefined;

afterEach(async () => {
  await loop?.stop();
  node?.backend.close();
  await node?.delete();
});

/** A loop on a node, what it reports, and what tells it of events. */
async function begin(
  mode: string,
): Promise<{ node: Node; reports: SyncReport[]; tell: (...events: SourceEvent[]) => void }> {
  const started = await MODES[mode]!();
  node = started;
  const { store, table, backend, surroundings } = started;
  const reports: SyncReport[] = [];
  const running = new SyncLoop({
    ...{ store, table, backend },
    surroundings: () => ({ ...surroundings, localPods: table.facts.localPods }),
    minIntervalMs: 0,
    checkIntervalMs: CHECK_INTERVAL_MS,
    onSync: (report) => reports.push(report),
  });
  loop = running;
  const tell = (...events: SourceEvent[]) => running.changed(store.apply(events));
  tell(...LISTED, ...upserts(...Array.from({ length: 20 }, (_, n) => web(n + 1, n % 5)).flat()));
  await expect.poll(() => reports.length, { timeout: 10_000 }).toBeGreaterThan(0);
  return { node: started, reports, tell };
}

/** So many changes, one every 5 ms. */
async function change(count: number, tell: (...events: SourceEvent[]) => void): Promise<void> {
  const random = randomNumbers(count);
  for (let i = 0; i < count; i++) {
    const n = 1 + Math.floor(random() * 20);
    if (random() < 0.1) tell(deletion('Service', `web-${n}`));
    else tell(...upserts(...web(n, Math.floor(random() * 6), random() < 0.2 ? 8081 : 8080)));
    await sleep(5);
  }
}

const FAILURES = [
  ['EPERM', 1],
  ['EBUSY', 16],
  ['EAGAIN', 11],
  ['ENOBUFS', 105],
  ['ENOMEM', 12],
] as const;

test.each([
  // A whole comparison, which follows a failure, takes fewer calls than that: one for each chain in iptables mode.
  ['nftables', 61],
  ['iptables', 301],
])(
  '%s mode: one call of %i fails, for ever, before or after it took effect',
  async (mode, period) => {
    const { node, reports, tell } = await begin(mode);
    let calls = 0;
    let failures = 0;
    node.disturbed.disturb = async (request, pass) => {
      if (++calls % period !== 0) return pass(request);
      const [code, errno] = FAILURES[failures % FAILURES.length]!;
      const replies = failures++ % 2 === 0 ? [] : await pass(request);
      throw failure(code, errno, replies.slice(0, -1));
    };
    while (failures < 3) await change(100, tell);
    await expect.poll(() => node.differences(), { timeout: 20_000 }).toEqual([]);
    const failed = reports.filter((report) => report.failures.length > 0);
    console.log(`${mode}: ${failures} of ${calls} calls failed, ${failed.length} of ${reports.length} syncs`);
    expect(failures).toBeGreaterThan(1);
    expect(failed.length).toBeGreaterThan(0);
    // Retries are 200 ms apart at least.
    expect(failed.length).toBeLessThan(40);
  },
  40_000,
);

test.each(Object.keys(MODES))(
  '%s mode: a kernel that takes its time gets larger transactions, not more of them',
  async (mode) => {
    const { node, reports, tell } = await begin(mode);
    let calls = 0;
    node.disturbed.disturb = async (request: Uint8Array, pass: Pass) => {
      calls++;
      await sleep(50);
      return pass(request);
    };
    const before = reports.length;
    await change(300, tell);
    const endMs = performance.now();
    await expect.poll(() => node.differences(), { timeout: 20_000, interval: 20 }).toEqual([]);
    const lagMs = Math.round(performance.now() - endMs);
    const syncs = reports.slice(before);
    console.log(
      `${mode}: ${calls} calls in ${syncs.length} syncs for 300 changes; ${lagMs} ms behind at the end`,
    );
    expect(syncs.flatMap((report) => report.failures)).toEqual([]);
    expect(syncs.length).toBeLessThan(100);
  },
  40_000,
);
