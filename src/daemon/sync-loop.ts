// When to sync: coalesces changes, keeps a minimum interval, retries what failed, checks for drift, and cleans up
// behind itself. All decisions about *what* to write are elsewhere.
//
// INVARIANTS: at most one sync runs at a time. Nothing that was marked dirty is lost: it is handed to the backend
// once, and the backend keeps it until the kernel has it. A sync with a failure is retried.

import type { Store, StoreChange } from '../model/store.ts';
import type { ServiceKey } from '../model/types.ts';
import type { Surroundings } from '../vip/surroundings.ts';
import type { VipTable } from '../vip/vip-table.ts';
import type { Backend, BackendUpdate, SyncFailure, SyncResult } from './backend.ts';
import { Turn } from './turn.ts';

/** Timers as the loop needs them, so that tests own time. */
export interface Clock {
  nowMs(): number;
  /** Calls back once after at least `delayMs`; returns what cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after: (delayMs, callback) => {
    // A timer takes a millisecond at least; what is due comes after the events of this turn, and no later.
    if (delayMs <= 0) {
      const immediate = setImmediate(callback);
      return () => clearImmediate(immediate);
    }
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

/** What has to happen outside the rules once they are in force, such as forgetting connections to removed endpoints. */
export interface AfterSync {
  /** Told of every update before it is written, and never of what the store learns while that goes on. */
  note(update: BackendUpdate, nowMs: number): void;
  /** The rules were not what they should have been for a while: all is to be settled anew. */
  distrust(nowMs: number): void;
  /**
   * Called when all that was noted is in force, but for the Services in `refused`, which have to wait. What fails is called
   * again with the retry of the sync.
   */
  settle(nowMs: number, refused: ReadonlySet<ServiceKey>): Promise<readonly SyncFailure[]>;
  /** When `settle` is wanted again, later than `afterMs`, should nothing change before; undefined when not at all. */
  nextDueMs(afterMs: number): number | undefined;
}

export interface SyncLoopOptions {
  readonly store: Store;
  readonly table: VipTable;
  readonly backend: Backend;
  /** From the present state of the store and the table. */
  readonly surroundings: () => Surroundings;
  /** Least time between the end of one sync and the start of the next. */
  readonly minIntervalMs: number;
  /** How often the kernel is checked for edits of others; also the longest time between retries. */
  readonly checkIntervalMs: number;
  readonly clock?: Clock;
  readonly afterSync?: AfterSync;
  /** Called after a look at the kernel that found it as it should be. */
  readonly onCheck?: () => void;
  /** Called after every sync, clean or not. */
  readonly onSync: (report: SyncReport) => void;
}

export interface SyncReport extends SyncResult {
  readonly durationMs: number;
  readonly changedServices: number;
  readonly cause: 'change' | 'retry' | 'drift' | 'cleanup';
}

/** First wait after a failed sync; doubles up to the check interval. */
const FIRST_RETRY_MS = 200;

/** What somebody else changes comes in many steps: a moment to let them end, and time between repairs. */
const SUSPICION_DELAY_MS = 100;

/** Steps of the table between two looks at the clock: a change of a few Services is one turn. */
const PIECE_STEPS = 32;

/** How long a deletion waits that must outlive its transaction; a packet passes the rules in microseconds. */
export const DEFERRED_WAIT_MS = 100;

export class SyncLoop {
  readonly #options: SyncLoopOptions;
  readonly #clock: Clock;
  #dirty = new Set<ServiceKey>();
  #hasNewSurroundings = true;
  #isRunning = false;
  #isStopped = false;
  #hasStarted = false;
  #failuresInARow = 0;
  /** The cause of a sync that fell due while another step ran. */
  #overdue: SyncReport['cause'] | undefined;
  /** Of the last sync. Steps that are none, as cleanups, hold no sync back. */
  #lastEndMs = Number.NEGATIVE_INFINITY;
  #cancelNext: (() => void) | undefined;
  #cancelCheck: (() => void) | undefined;
  #cancelFlush: (() => void) | undefined;
  #cancelSettle: (() => void) | undefined;
  #cancelResume: (() => void) | undefined;
  /** The Services that the last sync left out; undefined when it is not known what is in force. */
  #refused: ReadonlySet<ServiceKey> | undefined;
  /** The last step was a piece of a comparison. */
  #hasResumed = false;
  #isSuspicious = false;
  #settledAtMs = Number.NEGATIVE_INFINITY;
  #idle: (() => void)[] = [];

  constructor(options: SyncLoopOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Takes note of what a batch of events changed. Nothing is written before the store is synced. */
  changed(change: StoreChange): void {
    for (const service of change.services) this.#dirty.add(service);
    this.#hasNewSurroundings ||= change.hasNewSurroundings;
    if (!this.#options.store.isSynced || this.#isStopped) return;
    if (this.#hasStarted && this.#dirty.size === 0 && !this.#hasNewSurroundings) return;
    this.#hasStarted = true;
    if (this.#failuresInARow === 0) {
      this.#schedule(0, 'change');
      return;
    }
    // Something new may well cure the failure: do not sit out a long wait, but do not hammer the kernel either.
    this.#cancelNext?.();
    this.#cancelNext = undefined;
    this.#schedule(this.#lastEndMs + FIRST_RETRY_MS - this.#clock.nowMs(), 'retry');
  }

  /** Something is wanted that no sync has been told of yet. */
  get isPending(): boolean {
    return this.#dirty.size > 0 || this.#hasNewSurroundings;
  }

  /** Services that changed and were not handed to the backend. */
  get unsynced(): ReadonlySet<ServiceKey> {
    return this.#dirty;
  }

  /** Somebody else may have changed what is ours: looks soon. */
  suspect(): void {
    if (!this.#hasStarted || this.#isStopped) return;
    this.#isSuspicious = true;
    if (this.#isRunning) return;
    this.#cancelCheck?.();
    this.#cancelCheck = undefined;
    this.#planCheck();
  }

  /** Stops; settles once a sync that is under way has ended. What is in the kernel stays. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelNext?.();
    this.#cancelCheck?.();
    this.#cancelFlush?.();
    this.#cancelSettle?.();
    this.#cancelResume?.();
    if (this.#isRunning) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #schedule(delayMs: number, cause: SyncReport['cause']): void {
    if (this.#isRunning || this.#isStopped || this.#cancelNext !== undefined) return;
    const wait = Math.max(delayMs, this.#lastEndMs + this.#options.minIntervalMs - this.#clock.nowMs());
    this.#cancelNext = this.#clock.after(Math.max(wait, 0), () => {
      this.#cancelNext = undefined;
      if (this.#isRunning) this.#overdue = cause;
      else void this.#run(cause, () => this.#sync());
    });
  }

  /** Runs one step with the kernel to itself, then plans what comes next. Steps report failures, they do not throw. */
  async #run(cause: SyncReport['cause'], step: () => Promise<Step | undefined>): Promise<void> {
    this.#isRunning = true;
    const startMs = this.#clock.nowMs();
    const done = await step();
    this.#isRunning = false;
    const endMs = this.#clock.nowMs();
    if (cause !== 'cleanup') this.#lastEndMs = endMs;
    if (done !== undefined) {
      if (done.result.failures.length > 0) this.#failuresInARow++;
      // That a cleanup went well says nothing about the sync that failed before it.
      else if (cause !== 'cleanup') this.#failuresInARow = 0;
      this.#options.onSync({
        ...done.result,
        changedServices: done.changedServices,
        durationMs: endMs - startMs,
        cause,
      });
    }
    for (const resolve of this.#idle.splice(0)) resolve();
    this.#planNext();
  }

  #planNext(): void {
    if (this.#isStopped) return;
    // What is planned first comes first: pieces and changes take turns, whichever of them do not end.
    if (!this.#hasResumed) this.#planResume();
    if (this.#overdue !== undefined) {
      const cause = this.#overdue;
      this.#overdue = undefined;
      this.#schedule(0, cause);
    } else if (this.#failuresInARow > 0) {
      const backoffMs = FIRST_RETRY_MS * 2 ** Math.min(this.#failuresInARow - 1, 16);
      this.#schedule(Math.min(backoffMs, this.#options.checkIntervalMs), 'retry');
    } else if (this.#dirty.size > 0 || this.#hasNewSurroundings) this.#schedule(0, 'change');
    this.#hasResumed = false;
    this.#planResume();
    if (this.#options.backend.hasDeferred && this.#cancelFlush === undefined) {
      this.#cancelFlush = this.#clock.after(DEFERRED_WAIT_MS, () => {
        this.#cancelFlush = undefined;
        this.#whenIdle('cleanup', () => this.#flush());
      });
    }
    this.#planSettle();
    if (this.#isSuspicious) {
      this.#cancelCheck?.();
      this.#cancelCheck = undefined;
    }
    this.#planCheck();
  }

  #planResume(): void {
    if (this.#options.backend.hasMore !== true || this.#cancelResume !== undefined) return;
    this.#cancelResume = this.#clock.after(0, () => {
      this.#cancelResume = undefined;
      this.#whenIdle('drift', () => this.#resume());
    });
  }

  #planCheck(): void {
    if (this.#cancelCheck !== undefined) return;
    const delayMs = this.#isSuspicious ? SUSPICION_DELAY_MS : this.#options.checkIntervalMs;
    this.#cancelCheck = this.#clock.after(Math.min(delayMs, this.#options.checkIntervalMs), () => {
      this.#cancelCheck = undefined;
      this.#whenIdle('drift', () => this.#check());
    });
  }

  /** What was due when it was last settled, and failed, comes with the retry. */
  #planSettle(): void {
    this.#cancelSettle?.();
    this.#cancelSettle = undefined;
    const { afterSync } = this.#options;
    const dueAtMs = this.#refused === undefined ? undefined : afterSync?.nextDueMs(this.#settledAtMs);
    if (dueAtMs === undefined) return;
    this.#cancelSettle = this.#clock.after(Math.max(dueAtMs - this.#clock.nowMs(), 0), () => {
      this.#cancelSettle = undefined;
      this.#whenIdle('cleanup', async () => ({
        result: { writes: 0, isFull: false, transactions: 0, failures: await this.#settle() },
        changedServices: 0,
      }));
    });
  }

  /** A timer may fire in the middle of a sync: then it tries again when that has ended (#planNext sets it anew). */
  #whenIdle(cause: SyncReport['cause'], step: () => Promise<Step | undefined>): void {
    if (!this.#isRunning && !this.#isStopped) void this.#run(cause, step);
  }

  async #sync({ isRepair = false } = {}): Promise<Step> {
    const services = this.#dirty;
    this.#dirty = new Set();
    const hasNewSurroundings = this.#hasNewSurroundings;
    this.#hasNewSurroundings = false;
    const { backend, afterSync } = this.#options;
    const frontends = await this.#refresh(services);
    // After the table, which takes note of the node.
    const surroundings = hasNewSurroundings ? this.#options.surroundings() : undefined;
    const update: BackendUpdate = { frontends, surroundings };
    afterSync?.note(update, this.#clock.nowMs());
    const result = await backend.sync(update);
    const changedServices = services.size;
    if ((isRepair ? result.writes : (result.repairs ?? 0)) > 0) afterSync?.distrust(this.#clock.nowMs());
    this.#refused = refusedServices(result);
    const failures = [...result.failures, ...(await this.#settle())];
    return { result: { ...result, failures }, changedServices };
  }

  /** Others get their turn meanwhile; what the store learns then is dirty for the next sync. */
  async #refresh(services: ReadonlySet<ServiceKey>): Promise<BackendUpdate['frontends']> {
    const { table, store } = this.#options;
    const steps = table.refreshInSteps(store, services);
    const turn = new Turn();
    for (let step = 1; ; step++) {
      const { done, value } = steps.next();
      if (done) return value;
      if (step % PIECE_STEPS === 0 && turn.isOver) await turn.next();
    }
  }

  async #settle(): Promise<readonly SyncFailure[]> {
    const { afterSync } = this.#options;
    if (afterSync === undefined || this.#refused === undefined) return [];
    this.#settledAtMs = this.#clock.nowMs();
    return afterSync.settle(this.#settledAtMs, this.#refused);
  }

  async #flush(): Promise<Step> {
    return { result: await this.#options.backend.flushDeferred(), changedServices: 0 };
  }

  /** One piece of many: that all was well in it is not worth a word. */
  async #resume(): Promise<Step | undefined> {
    const { backend, afterSync } = this.#options;
    this.#hasResumed = true;
    const result = await backend.resume?.();
    if (result === undefined) return undefined;
    const isClean = result.failures.length === 0;
    if (isClean && result.writes === 0 && backend.hasMore === true) return undefined;
    if ((result.repairs ?? 0) > 0) afterSync?.distrust(this.#clock.nowMs());
    this.#refused = refusedServices(result);
    return {
      result: { ...result, failures: [...result.failures, ...(await this.#settle())] },
      changedServices: 0,
    };
  }

  async #check(): Promise<Step | undefined> {
    const { backend } = this.#options;
    this.#isSuspicious = false;
    const released = await backend.releaseUnused();
    if (released.failures.length > 0) return { result: released, changedServices: 0 };
    if (!(await backend.hasDrifted())) {
      this.#options.onCheck?.();
      return undefined;
    }
    backend.distrust();
    return this.#sync({ isRepair: true });
  }
}

interface Step {
  readonly result: SyncResult;
  readonly changedServices: number;
}

/** The Services that a sync left out; undefined when a failure of it concerns all. */
function refusedServices({ failures }: SyncResult): ReadonlySet<ServiceKey> | undefined {
  const refused = new Set<ServiceKey>();
  for (const { services } of failures) {
    if (services.length === 0) return undefined;
    for (const service of services) refused.add(service);
  }
  return refused;
}
