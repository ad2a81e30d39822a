// A clock of the test's own.

import type { Clock } from '../../src/daemon/sync-loop.ts';

/** Time that passes only when told to. */
export class FakeClock implements Clock {
  #now = 0;
  #timers: { at: number; callback: () => void }[] = [];

  get timerCount(): number {
    return this.#timers.length;
  }

  nowMs(): number {
    return this.#now;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.#now + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  /** At once, whatever waits for promises. */
  pass(ms: number): void {
    const end = this.#now + ms;
    while (this.#fireNext(end));
    this.#now = end;
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    do await settle();
    while (this.#fireNext(end));
    this.#now = end;
    await settle();
  }

  /** False when nothing is due until then. */
  #fireNext(end: number): boolean {
    const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
    if (next === undefined) return false;
    this.#timers = this.#timers.filter((one) => one !== next);
    this.#now = Math.max(this.#now, next.at);
    next.callback();
    return true;
  }
}

/** Lets promises that are already resolved run their continuations. */
export const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};
