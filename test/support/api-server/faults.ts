// What can be made to go wrong. Plain fields may be set at any time; each says when it takes effect.

import type { Kind } from './object-store.ts';

export interface FailingRequests {
  count: number;
  readonly status: number;
  readonly retryAfterSec: number | undefined;
  readonly matches: (request: { readonly kind: Kind; readonly verb: 'list' | 'watch' }) => boolean;
}

export class Faults {
  /** Milliseconds before each answer. */
  delayMs = 0;
  /** Bodies are written in pieces of `bytes`, `delayMs` apart: chunk boundaries anywhere, or a slow network. */
  pace: { bytes: number; delayMs: number } | undefined;
  /** Watches stay open but send nothing, not even what happened; they catch up when this is unset. */
  isStalled = false;
  /** Watches outlive their timeoutSeconds. */
  isTimeLimitIgnored = false;
  /** Closes the connection in the middle of a list body, after so many bytes. */
  cutListAfterBytes: number | undefined;
  /** A list body is replaced by what this returns. */
  mangleList: ((body: string) => string) | undefined;
  /** A watch from a compacted version is answered with HTTP 410 instead of an ERROR event inside HTTP 200. */
  isGoneAsStatus = false;
  /** No version is recent enough for a watch, as when etcd is compacted all the time. */
  isEveryWatchGone = false;
  /** Paging also applies to lists at resourceVersion=0; servers with a watch cache ignore the limit there. */
  isPagedAtZero = false;
  /** Statuses of the next answers to writes of Events; the Event is not stored. 0 stores it, and cuts the connection. */
  readonly failingEvents: number[] = [];
  /** Answers 403 to these, as `list services`, `watch nodes`, `create events` or `patch events`. */
  readonly forbidden = new Set<string>();
  /** Answers 404 to these paths, as a server of another version does. */
  readonly absentPaths = new Set<string>();
  readonly failing: FailingRequests[] = [];

  /** The next `count` requests are answered with `status`. */
  failNext(
    count: number,
    status: number,
    options: { retryAfterSec?: number; matches?: FailingRequests['matches'] } = {},
  ): void {
    const { retryAfterSec, matches = () => true } = options;
    this.failing.push({ count, status, retryAfterSec, matches });
  }
}
