// The sync loop's clock in the hands of a test.

import type { Clock } from '../../src/daemon/sync-loop.ts';

/** Time that passes when it is told to. */
export class FakeClock implements Clock {
  now = 0;
  #timers = new Map<object, { readonly atMs: number; readonly callback: () => void }>();

  nowMs(): number {
    return this.now;
  }

  after(delayMs: number, callback: () => void): () => void {
    const id = {};
    this.#timers.set(id, { atMs: this.now + delayMs, callback });
    return () => this.#timers.delete(id);
  }

  /** Lets `ms` pass, timers in their order. */
  pass(ms: number): void {
    const endMs = this.now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { atMs }]) => atMs <= endMs);
      const [id, timer] = due.sort(([, a], [, b]) => a.atMs - b.atMs)[0] ?? [];
      if (id === undefined || timer === undefined) break;
      this.#timers.delete(id);
      this.now = Math.max(this.now, timer.atMs);
      timer.callback();
    }
    this.now = endMs;
  }
}
