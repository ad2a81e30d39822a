// How often something may happen: some at once, then one after each interval. No clock.

export interface TokenBucketLimits {
  readonly burst: number;
  /** Until one more is allowed, milliseconds. */
  readonly intervalMs: number;
}

export class TokenBucket {
  readonly #limits: TokenBucketLimits;
  #tokens: number;
  #atMs: number;

  /** Full at `nowMs`, a time of a clock that never goes backwards. */
  constructor(limits: TokenBucketLimits, nowMs: number) {
    this.#limits = limits;
    this.#tokens = limits.burst;
    this.#atMs = nowMs;
  }

  has(nowMs: number): boolean {
    const { burst, intervalMs } = this.#limits;
    this.#tokens = Math.min(burst, this.#tokens + (nowMs - this.#atMs) / intervalMs);
    this.#atMs = nowMs;
    return this.#tokens >= 1;
  }

  /** True when one was there, which is then gone. */
  take(nowMs: number): boolean {
    if (!this.has(nowMs)) return false;
    this.#tokens -= 1;
    return true;
  }
}
