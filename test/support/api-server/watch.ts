// One open watch of the test server: what it selects, and the events it is owed.

import type { ServerResponse } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { Faults } from './faults.ts';
import type { ApiObject, Change, Kind } from './object-store.ts';
import type { Predicate } from './selectors.ts';

export class Watch {
  readonly kind: Kind;
  readonly #response: ServerResponse;
  readonly #isSelected: Predicate;
  readonly #isBookmarked: boolean;
  readonly #faults: Faults;
  /** Bytes on their way, in order. */
  #queue: Promise<void> = Promise.resolve();
  #backlog: string[] = [];

  constructor(
    kind: Kind,
    response: ServerResponse,
    isSelected: Predicate,
    isBookmarked: boolean,
    faults: Faults,
  ) {
    this.kind = kind;
    this.#response = response;
    this.#isSelected = isSelected;
    this.#isBookmarked = isBookmarked;
    this.#faults = faults;
  }

  /** Tells the watcher of a change, if it concerns what it selected. */
  change({ before, after, version }: Change): void {
    const had = before !== undefined && this.#isSelected(before);
    const has = after !== undefined && this.#isSelected(after);
    if (has) this.event(had ? 'MODIFIED' : 'ADDED', after);
    // An object that stops matching is reported as deleted: its former self at the version of the change.
    else if (had)
      this.event('DELETED', {
        ...before,
        metadata: { ...before.metadata, resourceVersion: String(version) },
      });
  }

  bookmark(version: number, apiVersion: string): void {
    if (!this.#isBookmarked) return;
    this.event('BOOKMARK', { kind: this.kind, apiVersion, metadata: { resourceVersion: String(version) } });
  }

  event(type: string, object: unknown): void {
    this.send(`${JSON.stringify({ type, object: object as ApiObject })}\n`);
  }

  /** Sends bytes as they are. */
  send(text: string | Buffer): void {
    if (this.#faults.isStalled) this.#backlog.push(text.toString());
    else this.#queue = this.#queue.then(() => writePaced(this.#response, text, this.#faults));
  }

  /** Sends what was held back while stalled. */
  catchUp(): void {
    const backlog = this.#backlog;
    this.#backlog = [];
    if (backlog.length > 0) this.send(backlog.join(''));
  }

  /** Ends the stream as a server does at its time limit. */
  end(): void {
    this.#queue = this.#queue.then(() => {
      this.#response.end();
    });
  }

  /** Cuts the connection, over plain TCP with a reset. */
  drop(): void {
    const { socket } = this.#response;
    if (socket instanceof TLSSocket) socket.destroy();
    else socket?.resetAndDestroy();
  }
}

/** Writes a body, in pieces when the faults ask for it. Returns when the last piece has been handed over. */
export async function writePaced(
  response: ServerResponse,
  text: string | Buffer,
  faults: Faults,
): Promise<void> {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  if (faults.pace === undefined) {
    response.write(bytes);
    return;
  }
  const { bytes: size, delayMs } = faults.pace;
  for (let start = 0; start < bytes.length && !response.destroyed; start += size) {
    await new Promise<void>((resolve) =>
      response.write(bytes.subarray(start, start + size), () => resolve()),
    );
    await new Promise((resolve) => (delayMs > 0 ? setTimeout(resolve, delayMs) : setImmediate(resolve)));
  }
}
