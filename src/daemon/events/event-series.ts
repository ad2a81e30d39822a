// Which Events are written: what repeats becomes a series that is counted, and what is too much becomes one Event that stands
// for the rest, so that a cluster full of odd objects, or a fight over the rules, costs the API server little. No clock, no I/O.
// In the way of client-go (tools/events: series; tools/record/events_cache.go: limits), with bounds on the whole.

import type { EventWrite, NodeEvent } from '../../source/node-event.ts';
import { moreLike } from './compose.ts';
import { TokenBucket, type TokenBucketLimits } from './token-bucket.ts';

export interface SeriesLimits {
  /** New Events of one reason. */
  readonly perReason: TokenBucketLimits;
  /** Writes of any kind. */
  readonly inAll: TokenBucketLimits;
  /** A series whose Event was not seen for so long is over, milliseconds. */
  readonly endAfterMs: number;
  /** Least time between two writes of the count of a series, milliseconds. */
  readonly countEveryMs: number;
}

const MINUTE_MS = 60_000;

/** A node whose objects are all wrong writes 25 Events at once, and one a minute thereafter. */
export const SERIES_LIMITS: SeriesLimits = {
  perReason: { burst: 5, intervalMs: 5 * MINUTE_MS },
  inAll: { burst: 25, intervalMs: MINUTE_MS },
  endAfterMs: 6 * MINUTE_MS,
  countEveryMs: 5 * MINUTE_MS,
};

interface Series {
  readonly id: number;
  count: number;
  writtenCount: number;
  lastMs: number;
  writtenAtMs: number;
}

export class EventSeries {
  readonly #limits: SeriesLimits;
  readonly #inAll: TokenBucket;
  /** As many as there are kinds of things to tell. */
  readonly #perReason = new Map<string, TokenBucket>();
  readonly #series = new Map<string, Series>();
  #nextId = 0;

  constructor(nowMs: number, limits: SeriesLimits = SERIES_LIMITS) {
    this.#limits = limits;
    this.#inAll = new TokenBucket(limits.inAll, nowMs);
  }

  /** What to write because of `event`: itself, or the one that stands for the rest; unless it is counted, or too much. */
  record(event: NodeEvent, nowMs: number): EventWrite | 'counted' | 'suppressed' {
    this.#endOld(nowMs);
    if (this.#count(event, nowMs)) return 'counted';
    const ofReason = this.#bucketOf(event.reason, nowMs);
    if (ofReason.has(nowMs)) {
      if (!this.#inAll.take(nowMs)) return 'suppressed';
      ofReason.take(nowMs);
      return this.#begin(event, nowMs);
    }
    const rest = moreLike(event);
    if (this.#count(rest, nowMs)) return 'counted';
    return this.#inAll.take(nowMs) ? this.#begin(rest, nowMs) : 'suppressed';
  }

  /** Counts that are to be written by now. */
  due(nowMs: number): EventWrite[] {
    const writes: EventWrite[] = [];
    for (const series of this.#series.values()) {
      if (this.#dueMs(series) > nowMs || !this.#inAll.take(nowMs)) continue;
      series.writtenCount = series.count;
      series.writtenAtMs = nowMs;
      writes.push({ op: 'count', id: series.id, count: series.count, atMs: series.lastMs });
    }
    this.#endOld(nowMs);
    return writes;
  }

  /** When `due` will have something to say, Infinity when nothing is left to be told. */
  get nextDueMs(): number {
    return Math.min(...[...this.#series.values()].map((series) => this.#dueMs(series)));
  }

  /** The Event is no longer there, or never was: the next of its kind is a new one. */
  forget(id: number): void {
    for (const [key, series] of this.#series) if (series.id === id) this.#series.delete(key);
  }

  #begin(event: NodeEvent, nowMs: number): EventWrite {
    const id = this.#nextId++;
    const series = { id, count: 1, writtenCount: 1, lastMs: nowMs, writtenAtMs: nowMs };
    this.#series.set(keyOf(event), series);
    return { op: 'create', id, event, atMs: nowMs };
  }

  /** True when `event` goes on with a series. */
  #count(event: NodeEvent, nowMs: number): boolean {
    const series = this.#series.get(keyOf(event));
    if (series === undefined) return false;
    series.count++;
    series.lastMs = nowMs;
    return true;
  }

  #dueMs({ count, writtenCount, writtenAtMs }: Series): number {
    return count === writtenCount ? Number.POSITIVE_INFINITY : writtenAtMs + this.#limits.countEveryMs;
  }

  #endOld(nowMs: number): void {
    for (const [key, { count, writtenCount, lastMs }] of this.#series) {
      if (count === writtenCount && nowMs - lastMs >= this.#limits.endAfterMs) this.#series.delete(key);
    }
  }

  #bucketOf(reason: string, nowMs: number): TokenBucket {
    const bucket = this.#perReason.get(reason) ?? new TokenBucket(this.#limits.perReason, nowMs);
    this.#perReason.set(reason, bucket);
    return bucket;
  }
}

/** What makes two Events the same. */
function keyOf({ type, reason, action, note, related }: NodeEvent): string {
  return JSON.stringify([type, reason, action, note, related]);
}
