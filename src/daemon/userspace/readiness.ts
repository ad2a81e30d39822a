// Which sockets can be read or written: one epoll tells for all of them, once for each change (edge-triggered).
//
// INVARIANTS: an id is never given twice, so what is told of a descriptor that was closed meanwhile, in the same batch even, reaches
// nobody, whoever has its number now. Authority: epoll(7).

import { type Addon, loadAddon } from '../../../native/load.cjs';

/** Who is told, with the bits of `EPOLL`. Told too often rather than too rarely: it has to try. */
export interface Watcher {
  ready(events: number): void;
}

/** sys/epoll.h */
export const EPOLL = { in: 0x1, out: 0x4, err: 0x8, hup: 0x10, rdHup: 0x2000 } as const;

/** Of so many one call tells; more are told with the next turn of the event loop. */
const BATCH = 256;

export class Readiness {
  readonly #addon: Addon = loadAddon();
  readonly #told: Float64Array;
  readonly #watchers = new Map<number, Watcher>();
  /** Opened when it is needed first. */
  #handle: object | undefined;
  #lastId = 0;

  constructor(batch = BATCH) {
    this.#told = new Float64Array(2 * batch);
  }

  /**
   * Tells of a descriptor from now on. Returns its id, or a negative errno: -ENOSPC when there may be no more of them, -EMFILE when it
   * is the first and there may be no epoll.
   */
  watch(fd: number, watcher: Watcher): number {
    const refusal = this.#open();
    if (refusal !== 0) return -refusal;
    const id = ++this.#lastId;
    const errno = this.#addon.watchReadiness(this.#handle!, fd, id);
    if (errno !== 0) return -errno;
    this.#watchers.set(id, watcher);
    return id;
  }

  /** Of a descriptor that is closed now. */
  forget(id: number): void {
    this.#watchers.delete(id);
  }

  /** Of one that stays open, or whose socket somebody else has, too. */
  unwatch(fd: number, id: number): void {
    if (this.#watchers.delete(id)) this.#addon.unwatchReadiness(this.#handle!, fd);
  }

  /** Returns 0 or an errno. */
  #open(): number {
    try {
      this.#handle ??= this.#addon.openReadiness(this.#told, (count) => this.#tell(count));
      return 0;
    } catch (error) {
      const { errno } = error as { errno?: number };
      if (errno === undefined) throw error;
      return errno;
    }
  }

  #tell(count: number): void {
    const told = this.#told;
    for (let i = 0; i < count; i++) this.#watchers.get(told[2 * i]!)?.ready(told[2 * i + 1]!);
  }
}

/** Of all sockets of this thread. */
export const readiness = new Readiness();
