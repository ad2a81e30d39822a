// Keeps a sink in step with one collection: list, then watch from there, for ever (client-go tools/cache/reflector.go).
//
//   list ──▶ watch ──▶ ended, dropped or stalled: watch again from the last version seen
//     ▲                410, unreadable event, ERROR event, an event older than one before it: list again
//     └──────────────┘ every failure waits for the back-off first, so that no fault of a server makes a storm of lists
//
// The sink hears nothing while the server is away: the last known state stays in force. An optional collection that the
// server lacks, or keeps from us, is told as an empty one, and asked for again after a long while.

import { KubeError } from '../../errors.ts';
import type { SourceEvent, SourceSink } from '../source.ts';
import type { ApiClient } from './api-client.ts';
import { MalformedError, StatusError } from './api-errors.ts';
import type { Backoff } from './backoff.ts';
import type { Clock } from './clock.ts';
import type { ConnectionLog } from './connection-log.ts';
import { LineSplitter } from './line-splitter.ts';
import { type ListMeta, ListSplitter } from './list-splitter.ts';
import type { Resource } from './resources.ts';
import type { SourceLog } from './source-log.ts';
import { decodeWatchEvent, ORIGIN } from './watch-event.ts';

export interface ReflectorOptions {
  readonly resource: Resource;
  readonly client: ApiClient;
  readonly sink: SourceSink;
  readonly connection: ConnectionLog;
  readonly log: SourceLog;
  readonly backoff: Backoff;
  readonly clock: Clock;
  readonly random: () => number;
  readonly isCompressed: boolean;
  /** Objects asked for per page, and delivered per batch. */
  readonly pageSize: number;
  /** A watch is asked to last between this and twice as long, seconds. */
  readonly watchTimeoutSec: number;
  /** An optional collection that is not to be had is asked for again after half of this to all of it, milliseconds. */
  readonly absentRetryMs: number;
}

/** A watch that lasted this long proves the server well: the next failure starts the back-off afresh. */
const HEALTHY_WATCH_MS = 30_000;
/** A server that ends watches sooner than this is not doing what was asked (client-go: "very short watch"). */
const SHORT_WATCH_MS = 1000;
/** A watch that its server forgets to end lasts this many times the time limit. */
const WATCH_GUARD_FACTOR = 1.1;
/** No version at all: the newest state there is, which may cost the server a read from etcd. */
const NEWEST = '';
/** Any version, as the server's cache has it: what a first list asks for, so that a restart costs etcd nothing. */
const ANY = '0';

/** A server, or what stands before several, that tells of the past. */
class OutOfOrderError extends KubeError {
  constructor(plural: string) {
    super(`watch ${plural}: an event is older than one before it`);
  }
}

/** Versions are decimal numbers of any length since Kubernetes 1.35 (KEP-5504), and have always been; of others nothing is known. */
function isOlder(version: string, than: string): boolean {
  if (!DECIMAL.test(version) || !DECIMAL.test(than)) return false;
  return version.length === than.length ? version < than : version.length < than.length;
}

const DECIMAL = /^[1-9]\d*$/;

export class Reflector {
  readonly #options: ReflectorOptions;
  /** Where to watch from, or what a new list must at least reflect. */
  #version = ANY;
  #mustList = true;
  /** A continue token expired half-way: ask for everything at once, as client-go's pager does. */
  #isPaged = true;
  #hasProblem = false;
  #phase: 'list' | 'open' | 'stream' = 'list';
  #hasListed = false;
  /** It was told that there is nothing, for want of a listing. */
  #hasToldNone = false;
  /** Which of the paths of the resource is asked. */
  #pathIndex = 0;
  /** Paths in a row that the server does not have. */
  #missingPaths = 0;

  constructor(options: ReflectorOptions) {
    this.#options = options;
  }

  /** Runs until `signal` aborts. Rejects only when the sink throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      let delayMs: number;
      try {
        if (this.#mustList) await this.#list(signal);
        if (signal.aborted) return;
        delayMs = await this.#watch(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof KubeError)) throw error;
        delayMs = this.#recover(error);
      }
      if (delayMs > 0) await clock.sleep(delayMs, signal);
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { resource, sink, connection, pageSize, clock, log } = this.#options;
    this.#phase = 'list';
    const startedAtMs = clock.now();
    let objectCount = 0;
    let head: SourceEvent[] = [{ type: 'list-start', kind: resource.kind }];
    const deliver = (items: readonly unknown[]) => {
      objectCount += items.length;
      const upserts = items.map(
        (object): SourceEvent => ({ type: 'upsert', kind: resource.kind, object, origin: ORIGIN }),
      );
      sink([...head, ...upserts]);
      head = [];
    };
    // A server answers a list that has both a version and a limit from etcd; without the limit, from its cache.
    const isPaged = this.#isPaged && !this.#hasVersion();
    const limit = isPaged ? { limit: String(pageSize) } : {};
    let query: Record<string, string> = {
      ...limit,
      ...(this.#version !== NEWEST && { resourceVersion: this.#version }),
    };
    let meta: ListMeta;
    do {
      meta = await this.#readPage(query, signal, deliver);
      query = { ...limit, continue: meta.continueToken };
    } while (meta.continueToken !== '');
    this.#version = meta.resourceVersion;
    this.#mustList = false;
    this.#isPaged = true;
    const solved: SourceEvent[] = this.#hasProblem
      ? [{ type: 'problem-solved', subject: this.#subject() }]
      : [];
    this.#hasProblem = false;
    sink([...head, { type: 'list-end', kind: resource.kind }, ...solved]);
    connection.succeeded('list', resource);
    const fields = {
      resource: resource.plural,
      objectCount,
      durationMs: Math.round(clock.now() - startedAtMs),
    };
    log(this.#hasListed ? 'debug' : 'info', fields, 'listed');
    this.#hasListed = true;
    this.#missingPaths = 0;
  }

  /** Hands the objects of one answer to `deliver`, in batches of at most a page. */
  async #readPage(
    query: Record<string, string>,
    signal: AbortSignal,
    deliver: (items: readonly unknown[]) => void,
  ): Promise<ListMeta> {
    const { resource, client, pageSize, isCompressed } = this.#options;
    const body = await client.get({
      what: `list ${resource.plural}`,
      path: this.#path,
      query: { ...resource.selector, ...query },
      isCompressed,
      signal,
    });
    const splitter = new ListSplitter();
    let items: unknown[] = [];
    for await (const chunk of body) {
      for (const item of splitter.push(chunk)) {
        if (items.push(item) < pageSize) continue;
        deliver(items);
        items = [];
      }
    }
    const meta = splitter.end();
    if (items.length > 0) deliver(items);
    return meta;
  }

  /** Resolves when the watch ends without an error, with the time to wait before the next one, milliseconds. */
  async #watch(signal: AbortSignal): Promise<number> {
    const { resource, client, connection, random, watchTimeoutSec } = this.#options;
    this.#phase = 'open';
    const timeoutSec = Math.ceil(watchTimeoutSec * (1 + random()));
    const guard = new AbortController();
    const abort = () => guard.abort();
    const timer = setTimeout(abort, timeoutSec * 1000 * WATCH_GUARD_FACTOR);
    signal.addEventListener('abort', abort);
    try {
      const body = await client.get({
        what: `watch ${resource.plural}`,
        path: this.#path,
        query: {
          ...resource.selector,
          watch: 'true',
          allowWatchBookmarks: 'true',
          resourceVersion: this.#version,
          timeoutSeconds: String(timeoutSec),
        },
        isCompressed: false,
        signal: guard.signal,
      });
      connection.succeeded('watch', resource);
      this.#phase = 'stream';
      return await this.#follow(body, guard.signal);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }

  /** Reads an open watch to its end; being cut off by `guard` is an end like any other. */
  async #follow(body: AsyncIterable<Buffer>, guard: AbortSignal): Promise<number> {
    const { clock, backoff } = this.#options;
    const lines = new LineSplitter();
    const openedAtMs = clock.now();
    try {
      for await (const chunk of body) this.#apply(lines.push(chunk));
    } catch (error) {
      if (!guard.aborted) throw error;
    } finally {
      if (clock.now() - openedAtMs >= HEALTHY_WATCH_MS) backoff.reset();
    }
    return clock.now() - openedAtMs >= SHORT_WATCH_MS ? 0 : backoff.next();
  }

  /**
   * Delivers the events of one chunk as one batch; those before an unreadable one still count. A repeated event does no harm,
   * but one that is older than another before it could undo that one for ever.
   */
  #apply(lines: Iterable<Buffer>): void {
    const batch: SourceEvent[] = [];
    let version = this.#version;
    try {
      for (const line of lines) {
        const { event, resourceVersion } = decodeWatchEvent(line, this.#options.resource);
        if (isOlder(resourceVersion, version)) throw new OutOfOrderError(this.#options.resource.plural);
        if (event !== undefined) batch.push(event);
        version = resourceVersion;
      }
    } catch (error) {
      this.#mustList = true;
      throw error;
    } finally {
      this.#version = version;
      if (batch.length > 0) this.#options.sink(batch);
    }
  }

  /** Notes what `error` means for the next attempt, and returns how long to wait for it, milliseconds. */
  #recover(error: KubeError): number {
    const { resource, connection, backoff, log, sink } = this.#options;
    const status = error instanceof StatusError ? error : undefined;
    if (
      resource.isOptional &&
      this.#phase !== 'stream' &&
      (status?.status === 404 || status?.status === 403)
    ) {
      return this.#goWithout(status);
    }
    const ownDelayMs = status?.status === 403 ? backoff.longest() : backoff.next();
    const delayMs = Math.max(ownDelayMs, status?.retryAfterMs ?? 0);
    const fields = { resource: resource.plural, err: error.message, retryInMs: Math.round(delayMs) };
    if (error instanceof MalformedError) {
      log(
        this.#hasProblem ? 'debug' : 'warn',
        fields,
        'the API server sent something unreadable; listing again',
      );
      sink([{ type: 'problem', subject: this.#subject(), code: 'UNREADABLE', reason: error.message }]);
      this.#hasProblem = true;
    } else if (status?.isExpired || status?.isVersionTooLarge) {
      log('debug', fields, 'the version to go on from is not available; listing again');
      this.#relaxList();
    } else if (error instanceof OutOfOrderError) {
      log('warn', fields, 'the API server sent events out of order; listing again');
    } else if (this.#phase === 'stream') {
      log(status === undefined ? 'debug' : 'warn', fields, 'watch broken off');
    } else {
      connection.failed(this.#phase === 'list' ? 'list' : 'watch', resource, error, delayMs);
    }
    return delayMs;
  }

  /** Tries the next path of an optional resource, or gives it up for a while; returns how long to wait, milliseconds. */
  #goWithout(error: StatusError): number {
    const { resource, connection, sink, backoff, random, absentRetryMs } = this.#options;
    this.#mustList = true;
    // That a watch finds nothing where a list just did is looked into at the pace of any other failure.
    if (error.status === 404 && this.#phase !== 'list') return backoff.next();
    if (error.status === 404) {
      this.#pathIndex = (this.#pathIndex + 1) % resource.paths.length;
      if (++this.#missingPaths < resource.paths.length) return 0;
      this.#missingPaths = 0;
    }
    const delayMs = (absentRetryMs / 2) * (1 + random());
    connection.failed(this.#phase === 'list' ? 'list' : 'watch', resource, error, delayMs);
    if (!this.#hasListed && !this.#hasToldNone) {
      const { kind } = resource;
      sink([
        { type: 'list-start', kind },
        { type: 'list-end', kind },
      ]);
      this.#hasToldNone = true;
    }
    return delayMs;
  }

  /** Chooses the next list after the server could not go on from the version or the page we asked for. */
  #relaxList(): void {
    this.#mustList = true;
    if (this.#phase !== 'list') return; // What a watch cannot start from can still be the lower bound of a list.
    if (this.#hasVersion()) this.#version = NEWEST;
    else this.#isPaged = false;
  }

  get #path(): string {
    return this.#options.resource.paths[this.#pathIndex]!;
  }

  #hasVersion(): boolean {
    return this.#version !== ANY && this.#version !== NEWEST;
  }

  #subject(): string {
    return `API server: ${this.#options.resource.plural}`;
  }
}
