// Takes Events to the API server, one after the other, behind everybody's back: nothing waits for it, and what cannot be
// written is told once and counted.

import { KproxyError, KubeError } from '../../errors.ts';
import type { EventWrite, NodeEvent } from '../../source/node-event.ts';
import type { Source } from '../../source/source.ts';
import type { Log } from '../log.ts';
import { type Clock, systemClock } from '../sync-loop.ts';
import { EventSeries } from './event-series.ts';

/** `suppressed`: beyond the limits; `failed`: refused, or too many waited for an API server that is away. */
export type EventOutcome = 'written' | 'suppressed' | 'failed';

export interface EventPublisherOptions {
  /** Missing where nobody would read Events: then nothing at all is done. */
  readonly write: Source['writeEvent'];
  readonly log: Log;
  readonly onOutcome?: (outcome: EventOutcome) => void;
  readonly clock?: Clock;
}

/** What waits for an API server that is away. The oldest are the ones that tell how it began. */
const MAX_QUEUE = 100;

/** First wait after a failure that may pass; doubles up to the longest. */
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;

/** Counts that had to wait for their turn are looked at again no sooner. */
const LEAST_COUNT_DELAY_MS = 1000;

export class EventPublisher {
  readonly #options: EventPublisherOptions;
  readonly #clock: Clock;
  readonly #series: EventSeries;
  #queue: EventWrite[] = [];
  #isWriting = false;
  #isClosed = false;
  #failuresInARow = 0;
  /** Failures are told until one write succeeds again. */
  #isTold = false;
  #cancelRetry: (() => void) | undefined;
  #cancelCount: (() => void) | undefined;

  constructor(options: EventPublisherOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#series = new EventSeries(this.#clock.nowMs());
  }

  /** Returns at once. */
  tell(event: NodeEvent): void {
    if (this.#options.write === undefined || this.#isClosed) return;
    const write = this.#series.record(event, this.#clock.nowMs());
    if (write === 'suppressed') this.#options.onOutcome?.('suppressed');
    else if (write !== 'counted') this.#enqueue(write);
    this.#planCounts();
  }

  /** What is not written yet never will be. */
  close(): void {
    this.#isClosed = true;
    this.#cancelRetry?.();
    this.#cancelCount?.();
  }

  #enqueue(write: EventWrite): void {
    if (this.#queue.length >= MAX_QUEUE) {
      this.#giveUp(write);
      return;
    }
    this.#queue.push(write);
    if (!this.#isWriting && this.#cancelRetry === undefined) void this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    for (let next = this.#queue[0]; next !== undefined && !this.#isClosed; next = this.#queue[0]) {
      const error = await this.#attempt(next);
      if (this.#isClosed) return;
      if (error !== undefined && mayPass(error)) {
        this.#retryLater(error);
        break;
      }
      this.#queue.shift();
      if (error === undefined) this.#succeed();
      else this.#refuse(next, error);
    }
    this.#isWriting = false;
  }

  async #attempt(write: EventWrite): Promise<KproxyError | undefined> {
    try {
      await this.#options.write?.(write);
      return undefined;
    } catch (error) {
      if (!(error instanceof KproxyError)) throw error;
      // An earlier attempt whose answer got lost.
      if (write.op === 'create' && statusOf(error) === 409) return undefined;
      return error;
    }
  }

  #succeed(): void {
    this.#failuresInARow = 0;
    this.#isTold = false;
    this.#options.onOutcome?.('written');
  }

  #retryLater(err: KproxyError): void {
    const delayMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(this.#failuresInARow++, 16), LONGEST_RETRY_MS);
    this.#tellFailure(err, 'Events cannot be written for now');
    this.#cancelRetry = this.#clock.after(delayMs, () => {
      this.#cancelRetry = undefined;
      void this.#writeAll();
    });
  }

  #refuse(write: EventWrite, err: KproxyError): void {
    // An Event that is gone cannot be counted on.
    const isGone = write.op === 'count' && statusOf(err) === 404;
    const why = statusOf(err) === 403 ? FORBIDDEN : '';
    if (!isGone) this.#tellFailure(err, `Events cannot be written${why}`);
    this.#giveUp(write);
  }

  #giveUp(write: EventWrite): void {
    this.#series.forget(write.id);
    this.#options.onOutcome?.('failed');
  }

  #tellFailure(err: KproxyError, message: string): void {
    this.#options.log[this.#isTold ? 'debug' : 'warn']({ err }, message);
    this.#isTold = true;
  }

  #planCounts(): void {
    const { nextDueMs } = this.#series;
    if (this.#cancelCount !== undefined || nextDueMs === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.max(nextDueMs - this.#clock.nowMs(), LEAST_COUNT_DELAY_MS);
    this.#cancelCount = this.#clock.after(delayMs, () => {
      this.#cancelCount = undefined;
      for (const write of this.#series.due(this.#clock.nowMs())) this.#enqueue(write);
      this.#planCounts();
    });
  }
}

const FORBIDDEN =
  ': a role bound to this user must allow create and patch on events in API group events.k8s.io, namespace default';

function statusOf(error: KproxyError): number | undefined {
  return error instanceof KubeError ? error.status : undefined;
}

/** No answer, a server that is not well, credentials that are being renewed; but not an Event that is refused. */
function mayPass(error: KproxyError): boolean {
  if (!(error instanceof KubeError)) return false;
  const status = statusOf(error);
  return status === undefined || status === 401 || status === 429 || status >= 500;
}
