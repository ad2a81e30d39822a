// When the loop syncs, on a clock of the test's own, against a backend that does as it is told.

import { describe, expect, test } from 'vitest';
import type { Backend, BackendUpdate, SyncFailure, SyncResult } from '../../src/daemon/backend.ts';
import { type AfterSync, SyncLoop, type SyncReport } from '../../src/daemon/sync-loop.ts';
import type { SourceEvent } from '../../src/model/source-event.ts';
import { Store } from '../../src/model/store.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import { VipTable } from '../../src/vip/vip-table.ts';
import { FakeClock, settle } from '../support/fake-clock.ts';

const CLEAN: SyncResult = { writes: 1, isFull: false, transactions: 1, failures: [] };
const FAILED: SyncResult = { ...CLEAN, failures: [{ error: new Error('no'), services: [] }] };

class FakeBackend implements Backend {
  updates: BackendUpdate[] = [];
  flushes = 0;
  distrusts = 0;
  hasDeferred = false;
  isDrifted = false;
  running = 0;
  results: SyncResult[] = [];
  gate: Promise<void> = Promise.resolve();

  async sync(update: BackendUpdate): Promise<SyncResult> {
    this.updates.push(update);
    expect(++this.running, 'one sync at a time').toBe(1);
    await this.gate;
    this.running--;
    return this.results.shift() ?? CLEAN;
  }
  async flushDeferred(): Promise<SyncResult> {
    expect(this.running, 'never beside a sync').toBe(0);
    this.flushes++;
    this.hasDeferred = false;
    return CLEAN;
  }
  async releaseUnused(): Promise<SyncResult> {
    return CLEAN;
  }
  async hasDrifted(): Promise<boolean> {
    return this.isDrifted;
  }
  distrust(): void {
    this.distrusts++;
  }
  problems(): [] {
    return [];
  }
  close(): void {}
}

/** Writes down what it is told. */
class FakeAfterSync implements AfterSync {
  calls: string[] = [];
  results: SyncFailure[][] = [];
  /** Settled as soon as a call comes at that time. */
  dueAtMs: number[] = [];

  note({ frontends }: BackendUpdate): void {
    this.calls.push(`note ${[...frontends.keys()].sort()}`);
  }
  distrust(): void {
    this.calls.push('distrust');
  }
  async settle(nowMs: number, refused: ReadonlySet<ServiceKey>): Promise<readonly SyncFailure[]> {
    this.calls.push(['settle', ...refused].join(' '));
    const failures = this.results.shift() ?? [];
    if (failures.length === 0) this.dueAtMs = this.dueAtMs.filter((atMs) => atMs > nowMs);
    return failures;
  }
  nextDueMs(afterMs: number): number | undefined {
    return this.dueAtMs.filter((atMs) => atMs > afterMs).sort((a, b) => a - b)[0];
  }
}

const service = (name: string, port = 80): SourceEvent => ({
  type: 'upsert',
  kind: 'Service',
  origin: 'test',
  object: {
    metadata: { namespace: 'n', name },
    spec: { clusterIP: `10.96.0.${name.length}`, ports: [{ port }] },
  },
});
const SYNCED: SourceEvent[] = (['Service', 'EndpointSlice'] as const).flatMap((kind) => [
  { type: 'list-start', kind },
  { type: 'list-end', kind },
]);

function setup(options: { minIntervalMs?: number } = {}) {
  const clock = new FakeClock();
  const backend = new FakeBackend();
  const store = new Store();
  const table = new VipTable({ nodeName: 'n1', detectLocal: { kind: 'NodeCIDR' }, masqueradeAll: false });
  const afterSync = new FakeAfterSync();
  const reports: SyncReport[] = [];
  const loop = new SyncLoop({
    store,
    table,
    backend,
    surroundings: () => ({ nodePortCidrs: [], serviceCidrs: [], localPods: new Map() }),
    minIntervalMs: options.minIntervalMs ?? 0,
    checkIntervalMs: 30_000,
    clock,
    afterSync,
    onSync: (report) => reports.push(report),
  });
  const apply = (...events: SourceEvent[]): void => loop.changed(store.apply(events));
  const names = (): string[][] => backend.updates.map(({ frontends }) => [...frontends.keys()].sort());
  return { clock, backend, afterSync, loop, reports, apply, names };
}

describe('SyncLoop', () => {
  test('writes nothing before Services and EndpointSlices are both listed, then everything at once', async () => {
    const { apply, clock, names } = setup();
    apply({ type: 'list-start', kind: 'Service' }, service('a'), { type: 'list-end', kind: 'Service' });
    await clock.advance(60_000);
    expect(names()).toEqual([]);
    apply({ type: 'list-start', kind: 'EndpointSlice' }, { type: 'list-end', kind: 'EndpointSlice' });
    await clock.advance(0);
    expect(names()).toEqual([['n/a']]);
  });

  test('an empty cluster is a sync too', async () => {
    const { apply, clock, names } = setup();
    apply(...SYNCED);
    await clock.advance(0);
    expect(names()).toEqual([[]]);
  });

  test('changes during a sync are gathered into the next one', async () => {
    const { apply, clock, backend, names } = setup();
    apply(...SYNCED);
    let open = (): void => undefined;
    backend.gate = new Promise((resolve) => {
      open = resolve;
    });
    await clock.advance(0);
    apply(service('a'));
    apply(service('bb'));
    await clock.advance(10);
    expect(names()).toEqual([[]]);
    open();
    await clock.advance(0);
    expect(names()).toEqual([[], ['n/a', 'n/bb']]);
  });

  test('an event that changes nothing causes no sync', async () => {
    const { apply, clock, names } = setup();
    apply(...SYNCED, service('a'));
    await clock.advance(0);
    apply(service('a'));
    await clock.advance(1000);
    expect(names()).toEqual([['n/a']]);
  });

  test('keeps the minimum interval from the end of one sync to the next', async () => {
    const { apply, clock, names } = setup({ minIntervalMs: 1000 });
    apply(...SYNCED);
    await clock.advance(0);
    apply(service('a'));
    await clock.advance(999);
    expect(names()).toHaveLength(1);
    await clock.advance(1);
    expect(names()).toHaveLength(2);
  });

  test('a failed sync is retried with growing waits, at the latest after the check interval', async () => {
    const { apply, clock, backend, reports } = setup();
    backend.results = Array.from({ length: 12 }, () => FAILED);
    apply(...SYNCED);
    const times: number[] = [];
    for (let seen = 0; reports.length < 13; ) {
      await clock.advance(times.length === 0 ? 0 : 50);
      for (; seen < reports.length; seen++) times.push(clock.nowMs());
    }
    const waits = times.slice(1).map((time, i) => time - times[i]!);
    expect(waits.slice(0, 4)).toEqual([200, 400, 800, 1600]);
    expect(Math.max(...waits)).toBe(30_000);
    expect(reports.at(-1)).toMatchObject({ cause: 'retry', failures: [] });
  });

  test('a change soon after a failure does not wait for the whole backoff', async () => {
    const { apply, clock, backend, names } = setup();
    backend.results = Array.from({ length: 8 }, () => FAILED);
    apply(...SYNCED);
    await clock.advance(20_000);
    const before = names().length;
    apply(service('a'));
    await clock.advance(200);
    expect(names().length).toBe(before + 1);
    expect(names().at(-1)).toEqual(['n/a']);
  });

  test('drift found by the periodic check is repaired', async () => {
    const { apply, clock, backend, reports } = setup();
    apply(...SYNCED);
    await clock.advance(30_000);
    expect(backend.distrusts).toBe(0);
    backend.isDrifted = true;
    await clock.advance(30_000);
    expect(backend.distrusts).toBe(1);
    expect(reports.at(-1)!.cause).toBe('drift');
  });

  test('a check that falls into a sync is made after it', async () => {
    const { apply, clock, backend } = setup();
    apply(...SYNCED);
    await clock.advance(29_999);
    backend.isDrifted = true;
    let open = (): void => undefined;
    backend.gate = new Promise((resolve) => {
      open = resolve;
    });
    apply(service('a'));
    await clock.advance(1);
    open();
    backend.gate = Promise.resolve();
    await clock.advance(30_000);
    expect(backend.distrusts).toBeGreaterThan(0);
  });

  test('deferred deletions are carried out a while after the sync that left them', async () => {
    const { apply, clock, backend } = setup();
    backend.hasDeferred = true;
    apply(...SYNCED);
    await clock.advance(99);
    expect(backend.flushes).toBe(0);
    await clock.advance(1);
    expect(backend.flushes).toBe(1);
  });

  test('stop waits for the sync under way and starts no other', async () => {
    const { apply, clock, backend, loop, names } = setup();
    let open = (): void => undefined;
    backend.gate = new Promise((resolve) => {
      open = resolve;
    });
    apply(...SYNCED);
    await clock.advance(0);
    let isStopped = false;
    const stopped = loop.stop().then(() => {
      isStopped = true;
    });
    await settle();
    expect(isStopped).toBe(false);
    open();
    await stopped;
    apply(service('a'));
    await clock.advance(60_000);
    expect(names()).toEqual([[]]);
  });
});

describe('what comes after a sync', () => {
  test('is told of an update before it is written, and called when that was clean', async () => {
    const { apply, clock, backend, afterSync } = setup();
    let open = (): void => undefined;
    backend.gate = new Promise((resolve) => {
      open = resolve;
    });
    apply(...SYNCED, service('a'));
    await clock.advance(0);
    expect(afterSync.calls).toEqual(['note n/a']);
    // Of what comes meanwhile it hears with the next sync, which writes it.
    apply(service('bb'));
    open();
    await clock.advance(0);
    expect(afterSync.calls).toEqual(['note n/a', 'settle', 'note n/bb', 'settle']);
  });

  test('is not called after a sync that failed, but after its retry', async () => {
    const { apply, clock, backend, afterSync } = setup();
    backend.results = [FAILED];
    apply(...SYNCED, service('a'));
    await clock.advance(0);
    expect(afterSync.calls).toEqual(['note n/a']);
    await clock.advance(200);
    expect(afterSync.calls).toEqual(['note n/a', 'note ', 'settle']);
  });

  test('is tried again with the sync when it fails itself', async () => {
    const { apply, clock, afterSync, reports } = setup();
    const failed: SyncFailure = { error: new Error('no'), services: [] };
    afterSync.results = [[failed], [failed]];
    apply(...SYNCED);
    await clock.advance(0);
    expect(reports.at(-1)).toMatchObject({ writes: 1, failures: [failed] });
    await clock.advance(600);
    expect(reports.map(({ cause, failures }) => [cause, failures.length])).toEqual([
      ['change', 1],
      ['retry', 1],
      ['retry', 0],
    ]);
    await clock.advance(20_000);
    expect(afterSync.calls.filter((call) => call === 'settle')).toHaveLength(3);
  });

  test('settles everything anew after a repair that had something to write, and only then', async () => {
    const { apply, clock, backend, afterSync } = setup();
    apply(...SYNCED);
    await clock.advance(0);
    backend.isDrifted = true;
    backend.results = [{ ...CLEAN, writes: 0 }];
    afterSync.calls = [];
    await clock.advance(30_000);
    expect(afterSync.calls).toEqual(['note ', 'settle']);
    await clock.advance(30_000);
    expect(afterSync.calls.slice(2)).toEqual(['note ', 'distrust', 'settle']);
  });

  describe('with Services that the kernel refused', () => {
    const refusal = (...services: string[]): SyncFailure => ({
      error: new Error('no'),
      services: services as ServiceKey[],
    });

    test('is called for all others, and again with the retry', async () => {
      const { apply, clock, backend, afterSync, reports } = setup();
      backend.results = [{ ...CLEAN, failures: [refusal('n/a'), refusal('n/bb', 'n/a')] }];
      apply(...SYNCED, service('a'), service('bb'), service('ccc'));
      await clock.advance(0);
      expect(afterSync.calls).toEqual(['note n/a,n/bb,n/ccc', 'settle n/a n/bb']);
      expect(reports.at(-1)!.failures).toHaveLength(2);
      await clock.advance(200);
      expect(afterSync.calls.slice(2)).toEqual(['note ', 'settle']);
    });

    test('is not called when anything else failed as well', async () => {
      const { apply, clock, backend, afterSync } = setup();
      backend.results = [{ ...CLEAN, failures: [refusal('n/a'), ...FAILED.failures] }];
      apply(...SYNCED, service('a'));
      await clock.advance(0);
      expect(afterSync.calls).toEqual(['note n/a']);
    });

    test('what fails of its own is told beside the refusals', async () => {
      const { apply, clock, backend, afterSync, reports } = setup();
      const own: SyncFailure = { error: new Error('own'), services: [] };
      backend.results = [{ ...CLEAN, failures: [refusal('n/a')] }];
      afterSync.results = [[own]];
      apply(...SYNCED, service('a'));
      await clock.advance(0);
      expect(reports.at(-1)!.failures).toEqual([refusal('n/a'), own]);
    });
  });

  describe('that is due later', () => {
    async function started() {
      const all = setup();
      all.apply(...SYNCED);
      await all.clock.advance(0);
      all.afterSync.calls = [];
      return all;
    }

    test('is called at that time, without a sync, and does not ask again', async () => {
      const { apply, clock, backend, afterSync, reports } = await started();
      afterSync.dueAtMs = [500, 700];
      apply(service('a'));
      await clock.advance(499);
      expect(afterSync.calls).toEqual(['note n/a', 'settle']);
      await clock.advance(1);
      expect(afterSync.calls.slice(2)).toEqual(['settle']);
      expect(reports.at(-1)).toMatchObject({ cause: 'cleanup', writes: 0, failures: [] });
      await clock.advance(200);
      expect(afterSync.calls.slice(2)).toEqual(['settle', 'settle']);
      await clock.advance(20_000);
      expect(afterSync.calls).toHaveLength(4);
      expect(backend.updates).toHaveLength(2);
    });

    test('never during a sync, but right after it', async () => {
      const { apply, clock, backend, afterSync } = await started();
      afterSync.dueAtMs = [500];
      apply(service('a'));
      await clock.advance(0);
      let open = (): void => undefined;
      backend.gate = new Promise((resolve) => {
        open = resolve;
      });
      await clock.advance(400);
      apply(service('bb'));
      await clock.advance(200);
      expect(afterSync.calls).toEqual(['note n/a', 'settle', 'note n/bb']);
      open();
      await clock.advance(0);
      expect(afterSync.calls.slice(3)).toEqual(['settle']);
      expect(afterSync.dueAtMs).toEqual([]);
    });

    test('what becomes due while it is being settled is not forgotten', async () => {
      const { apply, clock, afterSync } = await started();
      afterSync.dueAtMs = [100.5];
      // The first time takes longer than until then.
      const settle = afterSync.settle.bind(afterSync);
      afterSync.settle = async (nowMs, refused) => {
        const failures = await settle(nowMs, refused);
        if (nowMs < 100) await new Promise<void>((resolve) => void clock.after(200, resolve));
        return failures;
      };
      apply(service('a'));
      await clock.advance(300);
      expect(afterSync.dueAtMs).toEqual([]);
    });

    test('is left to the retry when it fails, and while it is unknown what is in force', async () => {
      const { apply, clock, backend, afterSync, reports } = await started();
      const failed: SyncFailure = { error: new Error('no'), services: [] };
      afterSync.dueAtMs = [500];
      apply(service('a'));
      await clock.advance(0);
      afterSync.results = [[failed]];
      afterSync.calls = [];
      await clock.advance(500);
      expect(afterSync.calls).toEqual(['settle']);
      expect(reports.at(-1)).toMatchObject({ cause: 'cleanup', failures: [failed] });
      await clock.advance(200);
      expect(afterSync.calls).toEqual(['settle', 'note ', 'settle']);
      expect(afterSync.dueAtMs).toEqual([]);

      afterSync.dueAtMs = [1000];
      backend.results = [FAILED, FAILED, FAILED];
      afterSync.calls = [];
      await clock.advance(100);
      apply(service('bb'));
      await clock.advance(1300);
      expect(afterSync.calls).toEqual(['note n/bb', 'note ', 'note ']);
      await clock.advance(800);
      expect(afterSync.calls.slice(3)).toEqual(['note ', 'settle']);
      expect(afterSync.dueAtMs).toEqual([]);
    });

    test('comes in time though a Service stays refused', async () => {
      const { apply, clock, backend, afterSync } = await started();
      const refused = { ...CLEAN, failures: [{ error: new Error('no'), services: ['n/a' as ServiceKey] }] };
      backend.results = Array.from({ length: 20 }, () => refused);
      apply(service('a'));
      // Until the retries are far between.
      await clock.advance(20_000);
      afterSync.dueAtMs = [clock.nowMs() + 1000];
      apply(service('bb'));
      await clock.advance(200);
      afterSync.calls = [];
      await clock.advance(800);
      expect(afterSync.calls).toEqual(['settle n/a']);
    });

    test('not after the stop', async () => {
      const { apply, clock, afterSync, loop } = await started();
      afterSync.dueAtMs = [500];
      apply(service('a'));
      await clock.advance(0);
      await loop.stop();
      expect(clock.timerCount).toBe(0);
      await clock.advance(1000);
      expect(afterSync.calls).toEqual(['note n/a', 'settle']);
    });
  });
});
