// The last known objects on disk, for a node that starts while its API server is away: when they are written, and when they
// are what the daemon begins with.

import type { KernelError } from '../../errors.ts';
import type { KnownObject } from '../../model/saved-object.ts';
import type { Store } from '../../model/store.ts';
import type { Log } from '../log.ts';
import { type Clock, systemClock } from '../sync-loop.ts';
import { checkpointPath, isUnusable, readCheckpoint, writeCheckpoint } from './checkpoint-file.ts';
import { type CheckpointOwner, encodeCheckpoint } from './checkpoint-format.ts';

export interface CheckpointOptions {
  readonly folder: string;
  /** Of the checkpoints that are written, and of the one that may be read. */
  readonly owner: () => CheckpointOwner;
  readonly store: Store;
  readonly log: Log;
  /** Hands over what was known at `writtenAt`, when the source does not answer. */
  readonly onRestore: (objects: readonly KnownObject[], writtenAt: Date) => void;
  readonly onWritten?: (bytes: number, writtenAt: Date) => void;
  readonly onFailure?: () => void;
  readonly clock?: Clock;
}

/** A source that says nothing for so long does not answer. */
const SILENCE_MS = 5000;
/** It has so long to list everything, as long as it says something. */
const ANSWER_LIMIT_MS = 30_000;

/** A moment to let changes that come together end. */
const FIRST_DELAY_MS = 1000;
/** Between two checkpoints; more when writing one takes long, so that it never takes more than a fiftieth of the time. */
const MIN_PAUSE_MS = 10_000;
const PAUSE_FACTOR = 50;
/** After a failure: what it was may take a human to end. */
const RETRY_MS = 30_000;
/** Stopping does not wait any longer for a disk. */
const LAST_WRITE_LIMIT_MS = 5000;

export class Checkpoint {
  readonly #options: CheckpointOptions;
  readonly #clock: Clock;
  #startedAtMs = 0;
  #heardAtMs = 0;
  #cancelRestore: (() => void) | undefined;
  #cancelWrite: (() => void) | undefined;
  #nextWriteAtMs = Number.NEGATIVE_INFINITY;
  #isDirty = false;
  #isClosed = false;
  #hasFailed = false;
  #isRestored = false;
  #writing: Promise<void> | undefined;

  constructor(options: CheckpointOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** The source has been started: waits for its answer. */
  start(): void {
    this.#startedAtMs = this.#clock.nowMs();
    this.#heardAtMs = this.#startedAtMs;
    this.#awaitAnswer();
  }

  /** The source said something, and whether the store changed by it. */
  received(hasChanged: boolean): void {
    this.#heardAtMs = this.#clock.nowMs();
    this.#isDirty ||= hasChanged;
    if (this.#isRestored && !this.#options.store.isStale) {
      this.#isRestored = false;
      this.#options.log.info('the source has listed everything: nothing of the checkpoint is left');
    }
    this.#planWrite();
  }

  /** Writes what has not been written, if the disk lets it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRestore?.();
    this.#cancelWrite?.();
    let cancel = (): void => undefined;
    const limit = new Promise<void>((resolve) => {
      cancel = this.#clock.after(LAST_WRITE_LIMIT_MS, resolve);
    });
    const last = async () => {
      await this.#writing;
      if (this.#isDirty && this.#canWrite) await this.#write();
    };
    await Promise.race([last(), limit]);
    cancel();
  }

  #awaitAnswer(): void {
    if (this.#options.store.isSynced || this.#isClosed) return;
    const dueAtMs = Math.min(this.#heardAtMs + SILENCE_MS, this.#startedAtMs + ANSWER_LIMIT_MS);
    const restMs = dueAtMs - this.#clock.nowMs();
    if (restMs > 0) this.#cancelRestore = this.#clock.after(restMs, () => this.#awaitAnswer());
    else void this.#restore();
  }

  async #restore(): Promise<void> {
    const { folder, owner, store, log, onRestore } = this.#options;
    const file = checkpointPath(folder);
    const source = owner().source;
    const found = await readCheckpoint(folder, owner());
    // It may have answered meanwhile.
    if (store.isSynced || this.#isClosed) return;
    if (found === undefined) {
      log.warn({ source, file }, 'no answer yet, and no checkpoint: nothing is known');
    } else if (isUnusable(found)) {
      this.#options.onFailure?.();
      log.error({ source, file, ...found }, 'no answer yet, and the checkpoint cannot be used');
    } else {
      const { objects, writtenAt } = found;
      log.warn(
        { source, objectCount: objects.length, writtenAt: writtenAt.toISOString() },
        'no answer yet: the last known objects are served',
      );
      this.#isRestored = true;
      onRestore(objects, writtenAt);
    }
  }

  /** Only what the source has said is worth keeping, and all of it. */
  get #canWrite(): boolean {
    return this.#options.store.isSynced && !this.#options.store.isStale;
  }

  #planWrite(): void {
    if (!this.#isDirty || this.#isClosed || this.#cancelWrite !== undefined || this.#writing !== undefined)
      return;
    if (!this.#canWrite) return;
    const nowMs = this.#clock.nowMs();
    const delayMs = Math.max(nowMs + FIRST_DELAY_MS, this.#nextWriteAtMs) - nowMs;
    this.#cancelWrite = this.#clock.after(delayMs, () => {
      this.#cancelWrite = undefined;
      this.#writing = this.#write().finally(() => {
        this.#writing = undefined;
        this.#planWrite();
      });
    });
  }

  /** What changes from here on is for the next one. */
  async #write(): Promise<void> {
    const { folder, owner, store, log, onWritten, onFailure } = this.#options;
    const startMs = this.#clock.nowMs();
    const writtenAt = new Date();
    this.#isDirty = false;
    let pauseMs = MIN_PAUSE_MS;
    try {
      const bytes = await writeCheckpoint(folder, encodeCheckpoint(owner(), writtenAt, store.known()));
      const durationMs = this.#clock.nowMs() - startMs;
      pauseMs = Math.max(pauseMs, durationMs * PAUSE_FACTOR);
      if (this.#hasFailed) log.info({ file: checkpointPath(folder) }, 'checkpoint written again');
      log.debug({ bytes, durationMs: Math.round(durationMs) }, 'checkpoint written');
      this.#hasFailed = false;
      onWritten?.(bytes, writtenAt);
    } catch (error) {
      this.#isDirty = true;
      pauseMs = RETRY_MS;
      this.#tellFailure(error as KernelError);
      onFailure?.();
    }
    this.#nextWriteAtMs = this.#clock.nowMs() + pauseMs;
  }

  #tellFailure(err: KernelError): void {
    const level = this.#hasFailed ? 'debug' : 'error';
    this.#hasFailed = true;
    this.#options.log[level]({ err, retryInMs: RETRY_MS }, 'no checkpoint could be written');
  }
}
