// Whether the kernel holds what is desired, and freshly so, from what the sync loop tells. No clock, no I/O.
//
// kube-proxy calls a family unhealthy when a sync was asked for and none has succeeded for 2 x syncPeriod
// (pkg/proxy/healthcheck/proxy_health.go). Two things differ here. What concerns single Services only (an object that the
// kernel refuses) is told as a problem of theirs and does not make the node unhealthy. And freshness counts: a table that
// nobody has compared with the kernel's generation for as long is not known to be right.

/** How a step of the sync loop ended. */
export interface StepOutcome {
  /** Something that concerns more than single Services is not in force. */
  readonly hasFailed: boolean;
}

/** All times are milliseconds of one monotonic clock. */
export class SyncHealth {
  #limitMs: number;
  /** Since when something general is wanted that is not in force. */
  #pendingSinceMs: number | undefined;
  /** When the kernel was last known to hold what was desired; undefined before the first sync. */
  #updatedAtMs: number | undefined;
  /** When the loop last finished a step, whatever became of it. */
  #steppedAtMs: number;
  /** Since when a step is due or under way. */
  #dueSinceMs: number | undefined;

  /** `syncPeriodMs` is the period of the drift check; nothing is called late before twice that has passed. */
  constructor(syncPeriodMs: number, nowMs: number) {
    this.#limitMs = 2 * syncPeriodMs;
    this.#steppedAtMs = nowMs;
  }

  /** The drift check has another period. */
  retime(syncPeriodMs: number): void {
    this.#limitMs = 2 * syncPeriodMs;
  }

  /** A sync is wanted. */
  queued(nowMs: number): void {
    this.#pendingSinceMs ??= nowMs;
    this.#dueSinceMs ??= nowMs;
  }

  /** A sync or a check has ended. `isPending` when meanwhile more was asked for. */
  stepped({ hasFailed }: StepOutcome, isPending: boolean, nowMs: number): void {
    this.#steppedAtMs = nowMs;
    this.#dueSinceMs = isPending ? nowMs : undefined;
    if (hasFailed) {
      this.#pendingSinceMs ??= nowMs;
      return;
    }
    this.#updatedAtMs = nowMs;
    this.#pendingSinceMs = isPending ? nowMs : undefined;
  }

  /** When the kernel was last known to hold what was desired; undefined before the first clean sync. */
  get updatedAtMs(): number | undefined {
    return this.#updatedAtMs;
  }

  /** True once a sync was clean: rules are in force. */
  get isReady(): boolean {
    return this.#updatedAtMs !== undefined;
  }

  /** The kernel holds what is desired, or will within the limit, and was looked at within the limit. */
  isHealthy(nowMs: number): boolean {
    if (this.#pendingSinceMs !== undefined && nowMs - this.#pendingSinceMs >= this.#limitMs) return false;
    // Before the first sync nothing is stale: the source has that long to be listed, and then longer.
    return this.#updatedAtMs === undefined || nowMs - this.#updatedAtMs < this.#limitMs;
  }

  /**
   * False only when a step was due and none has ended within the limit: the loop is stuck, and a restart may help. A
   * kernel that refuses, or an API server that is away, is no reason to be restarted.
   */
  isLive(nowMs: number): boolean {
    if (this.#dueSinceMs === undefined) return true;
    return nowMs - Math.max(this.#dueSinceMs, this.#steppedAtMs) < this.#limitMs;
  }
}
