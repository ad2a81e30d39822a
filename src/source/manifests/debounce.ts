// Many small changes in a row become one call, soon after the last of them.

/** How long to wait, in milliseconds. */
export interface DebounceTimes {
  /** After the last trigger. */
  readonly quietMs: number;
  /** After the first trigger, however many follow. */
  readonly maxMs: number;
}

/** Calls back once after a burst of triggers. */
export class Debounce {
  readonly #times: DebounceTimes;
  readonly #callback: () => void;
  #timer: NodeJS.Timeout | undefined;
  #firstAt = 0;

  constructor(times: DebounceTimes, callback: () => void) {
    this.#times = times;
    this.#callback = callback;
  }

  trigger(): void {
    const now = performance.now();
    if (this.#timer === undefined) this.#firstAt = now;
    else clearTimeout(this.#timer);
    const waitMs = Math.min(this.#times.quietMs, this.#firstAt + this.#times.maxMs - now);
    this.#timer = setTimeout(() => this.#fire(), Math.max(0, waitMs));
  }

  /** Forgets a call that is due. */
  cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #fire(): void {
    this.#timer = undefined;
    this.#callback();
  }
}
