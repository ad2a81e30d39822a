// Exponential back-off with jitter. Half of each delay is fixed: the jitter spreads the nodes of a cluster over time,
// and the fixed half bounds how often any one of them can ask.

export interface BackoffOptions {
  /** Ceiling of the first delay, milliseconds. */
  readonly baseMs: number;
  /** Ceiling of every delay, milliseconds. */
  readonly maxMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** client-go's reflector: 0.8 s doubling to 30 s (tools/cache/reflector.go). */
export const REFLECTOR_BACKOFF = { baseMs: 800, maxMs: 30_000 };

export class Backoff {
  readonly #options: BackoffOptions;
  #ceilingMs: number;

  constructor(options: BackoffOptions) {
    this.#options = options;
    this.#ceilingMs = options.baseMs;
  }

  /** The delay before the next attempt, milliseconds; each call doubles the ceiling of the one after it. */
  next(): number {
    const ceilingMs = this.#ceilingMs;
    this.#ceilingMs = Math.min(ceilingMs * 2, this.#options.maxMs);
    return this.#jittered(ceilingMs);
  }

  /** The longest delay there is, for failures that only a human can end. */
  longest(): number {
    return this.#jittered(this.#options.maxMs);
  }

  /** Starts again from the first delay. */
  reset(): void {
    this.#ceilingMs = this.#options.baseMs;
  }

  #jittered(ceilingMs: number): number {
    return (ceilingMs / 2) * (1 + this.#options.random());
  }
}
