// The steps of the loop against each other: whatever falls due while another step runs waits for it, and is not lost.

import { expect, test } from 'vitest';
import type { Backend, SyncResult } from '../../src/daemon/backend.ts';
import { SyncLoop, type SyncReport } from '../../src/daemon/sync-loop.ts';
import { Store } from '../../src/model/store.ts';
import { VipTable } from '../../src/vip/vip-table.ts';
import { LISTED, upserts } from '../support/in-process-proxy.ts';
import { service } from '../support/manifests.ts';

type StepName = 'sync' | 'flush' | 'check' | 'resume';

const CLEAN: SyncResult = { writes: 1, isFull: false, transactions: 1, failures: [] };
const FAILED: SyncResult = { ...CLEAN, failures: [{ error: new Error('no'), services: [] }] };

/** A backend whose steps take as long as the test wants. */
class SlowBackend implements Backend {
  hasDeferred = false;
  syncResult = CLEAN;
  /** Pieces left, after the sync that follows. */
  pieces = 0;
  pieceResult: SyncResult = { ...CLEAN, writes: 0, transactions: 0 };
  readonly started: StepName[] = [];
  readonly overlaps: string[] = [];
  readonly #open: (() => void)[] = [];

  sync(): Promise<SyncResult> {
    return this.#step('sync', this.syncResult);
  }
  get hasMore(): boolean {
    return this.pieces > 0;
  }
  resume(): Promise<SyncResult> {
    this.pieces--;
    return this.#step('resume', this.pieceResult);
  }
  flushDeferred(): Promise<SyncResult> {
    this.hasDeferred = false;
    return this.#step('flush', CLEAN);
  }
  async releaseUnused(): Promise<SyncResult> {
    return { writes: 0, isFull: false, transactions: 0, failures: [] };
  }
  hasDrifted(): Promise<boolean> {
    return this.#step('check', false);
  }
  distrust(): void {}
  problems(): [] {
    return [];
  }
  close(): void {}

  /** Lets the step under way end. */
  async end(): Promise<void> {
    this.#open.shift()?.();
    await settle();
  }

  async #step<T>(name: StepName, result: T): Promise<T> {
    if (this.#open.length > 0) this.overlaps.push(`${name} during ${this.started.at(-1)}`);
    this.started.push(name);
    await new Promise<void>((resolve) => this.#open.push(resolve));
    return result;
  }
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

function setup() {
  const timers: { at: number; callback: () => void }[] = [];
  let now = 0;
  const store = new Store();
  const backend = new SlowBackend();
  const reports: SyncReport[] = [];
  const distrusted: number[] = [];
  const loop = new SyncLoop({
    store,
    table: new VipTable({ nodeName: 'node', detectLocal: { kind: 'NodeCIDR' }, masqueradeAll: false }),
    backend,
    surroundings: () => ({ nodePortCidrs: [], serviceCidrs: [], localPods: new Map() }),
    minIntervalMs: 0,
    checkIntervalMs: 10_000,
    clock: {
      nowMs: () => now,
      after: (delayMs, callback) => {
        const timer = { at: now + delayMs, callback };
        timers.push(timer);
        return () => timers.splice(timers.indexOf(timer) >>> 0, 1);
      },
    },
    afterSync: {
      note: () => undefined,
      distrust: (nowMs) => distrusted.push(nowMs),
      settle: async () => [],
      nextDueMs: () => undefined,
    },
    onSync: (report) => reports.push(report),
  });
  const advance = async (ms: number): Promise<void> => {
    const end = now + ms;
    for (;;) {
      await settle();
      const next = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      timers.splice(timers.indexOf(next), 1);
      now = Math.max(now, next.at);
      next.callback();
    }
    now = end;
  };
  /** A change, and the sync that it causes, begun. */
  const change = async (ip: string): Promise<void> => {
    loop.changed(store.apply(upserts(service('web', { clusterIps: [ip], ports: [{ port: 80 }] }))));
    await advance(0);
  };
  const start = async (): Promise<void> => {
    loop.changed(store.apply(LISTED));
    await advance(0);
  };
  return { backend, loop, reports, distrusted, advance, change, start };
}

test.each([
  ['a change', 'flush', 100],
  ['a change', 'check', 10_000],
] as const)('%s during a %s is written after it', async (_, step, afterMs) => {
  const { backend, advance, change, start } = setup();
  backend.hasDeferred = step === 'flush';
  await start();
  await backend.end();
  await advance(afterMs);
  expect(backend.started).toEqual(['sync', step]);
  await change('10.96.0.1');
  expect(backend.started).toEqual(['sync', step]);
  await backend.end();
  await advance(0);
  expect(backend.started).toEqual(['sync', step, 'sync']);
  expect(backend.overlaps).toEqual([]);
});

test('a sync that falls due during a flush waits for its end', async () => {
  const { backend, loop, advance, start, reports } = setup();
  backend.hasDeferred = true;
  backend.syncResult = FAILED;
  await start();
  await backend.end();
  await advance(100);
  expect(backend.started).toEqual(['sync', 'flush']);
  // The retry, 200 ms after the failure.
  await advance(500);
  expect(backend.started).toEqual(['sync', 'flush']);
  backend.syncResult = CLEAN;
  await backend.end();
  await advance(0);
  expect(backend.started).toEqual(['sync', 'flush', 'sync']);
  await backend.end();
  expect(reports.map(({ cause }) => cause)).toEqual(['change', 'cleanup', 'retry']);
  expect(backend.overlaps).toEqual([]);
  await loop.stop();
});

test('a flush that went well does not shorten the waits between the retries of a sync that fails', async () => {
  const { backend, advance, start } = setup();
  backend.syncResult = FAILED;
  await start();
  const syncs = () => backend.started.filter((name) => name === 'sync').length;
  for (const wait of [200, 400, 800]) {
    backend.hasDeferred = true;
    const before = syncs();
    await backend.end();
    await advance(100);
    expect(backend.started.at(-1)).toBe('flush');
    await backend.end();
    await advance(wait - 101);
    expect(syncs()).toBe(before);
    await advance(1);
    expect(syncs()).toBe(before + 1);
  }
  expect(backend.overlaps).toEqual([]);
});

test('changes and the pieces of a comparison take turns, and of pieces only the last is told', async () => {
  const { backend, advance, change, start, reports } = setup();
  backend.pieces = 3;
  await start();
  await backend.end();
  await advance(0);
  expect(backend.started).toEqual(['sync', 'resume']);
  for (const ip of ['10.96.0.1', '10.96.0.2']) {
    await change(ip);
    await backend.end();
    await advance(0);
    expect(backend.started.at(-1)).toBe('sync');
    await change(`${ip}1`);
    await backend.end();
    await advance(0);
    expect(backend.started.at(-1)).toBe('resume');
  }
  await backend.end();
  await advance(0);
  await backend.end();
  expect(backend.started.filter((name) => name === 'resume')).toHaveLength(3);
  expect(backend.started.at(-1)).toBe('sync');
  expect(reports.map(({ cause }) => cause)).toEqual(['change', 'change', 'change', 'drift', 'change']);
  expect(backend.overlaps).toEqual([]);
});

test('a piece that repaired something is told, and what depends on rules is settled anew', async () => {
  const { backend, advance, start, reports, distrusted } = setup();
  backend.pieces = 2;
  backend.pieceResult = { ...CLEAN, repairs: 1 };
  await start();
  for (let i = 0; i < 3; i++) {
    await backend.end();
    await advance(0);
  }
  expect(reports.map(({ cause, writes }) => [cause, writes])).toEqual([
    ['change', 1],
    ['drift', 1],
    ['drift', 1],
  ]);
  expect(distrusted).toHaveLength(2);
});
