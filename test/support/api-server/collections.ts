// The list and watch verbs of the test server, on top of its store.

import type http from 'node:http';
import { gzipSync } from 'node:zlib';
import type { Faults } from './faults.ts';
import { type ApiObject, type Kind, ObjectStore } from './object-store.ts';
import type { Predicate } from './selectors.ts';
import { sendStatus, status } from './status.ts';
import { Watch, writePaced } from './watch.ts';

export const API: Record<
  Kind,
  {
    readonly path: string;
    /** Of an older version that is served as well. */
    readonly olderPath?: string;
    readonly plural: string;
    readonly apiVersion: string;
  }
> = {
  Service: { path: '/api/v1/services', plural: 'services', apiVersion: 'v1' },
  Node: { path: '/api/v1/nodes', plural: 'nodes', apiVersion: 'v1' },
  EndpointSlice: {
    path: '/apis/discovery.k8s.io/v1/endpointslices',
    plural: 'endpointslices',
    apiVersion: 'discovery.k8s.io/v1',
  },
  ServiceCIDR: {
    path: '/apis/networking.k8s.io/v1/servicecidrs',
    olderPath: '/apis/networking.k8s.io/v1beta1/servicecidrs',
    plural: 'servicecidrs',
    apiVersion: 'networking.k8s.io/v1',
  },
};

/** The API server compresses bodies from this size on (apiserver/pkg/endpoints/handlers/responsewriters). */
const GZIP_THRESHOLD_BYTES = 128 * 1024;

export class Collections {
  readonly store = new ObjectStore();
  readonly watches = new Set<Watch>();
  readonly #faults: Faults;
  /** What is left of a paged list, by continue token. */
  readonly #pages = new Map<string, { readonly rest: readonly ApiObject[]; readonly version: number }>();
  #pageCount = 0;

  constructor(faults: Faults) {
    this.#faults = faults;
    this.store.onChange((kind, change) => {
      for (const watch of this.watches) if (watch.kind === kind) watch.change(change);
    });
  }

  expireContinueTokens(): void {
    this.#pages.clear();
  }

  async list(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    kind: Kind,
    query: Readonly<Record<string, string>>,
    isSelected: Predicate,
  ): Promise<void> {
    const token = query['continue'] ?? '';
    const page =
      token === ''
        ? { rest: this.store.list(kind).filter(isSelected), version: this.store.version }
        : this.#pages.get(token);
    if (page === undefined) {
      const message = 'The provided continue parameter is too old to display a consistent list result.';
      return sendStatus(response, 410, 'Expired', message);
    }
    const isPaged = query['resourceVersion'] !== '0' || this.#faults.isPagedAtZero;
    const limit = isPaged ? Number(query['limit'] ?? 0) || Infinity : Infinity;
    const items = page.rest.slice(0, limit);
    const metadata: Record<string, unknown> = { resourceVersion: String(page.version) };
    if (page.rest.length > limit) {
      const next = Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', n: ++this.#pageCount })).toString(
        'base64url',
      );
      this.#pages.set(next, { rest: page.rest.slice(limit), version: page.version });
      metadata['continue'] = next;
      metadata['remainingItemCount'] = page.rest.length - limit;
    }
    const list = JSON.stringify({ kind: `${kind}List`, apiVersion: API[kind].apiVersion, metadata, items });
    await this.#sendList(request, response, this.#faults.mangleList?.(list) ?? list);
  }

  async #sendList(request: http.IncomingMessage, response: http.ServerResponse, list: string): Promise<void> {
    let body = Buffer.from(list);
    response.setHeader('content-type', 'application/json');
    if (request.headers['accept-encoding'] === 'gzip' && body.length >= GZIP_THRESHOLD_BYTES) {
      response.setHeader('content-encoding', 'gzip');
      body = gzipSync(body, { level: 1 });
    }
    const { cutListAfterBytes } = this.#faults;
    if (cutListAfterBytes !== undefined && cutListAfterBytes < body.length) {
      response.write(body.subarray(0, cutListAfterBytes), () => response.socket?.destroy());
      return;
    }
    await writePaced(response, body, this.#faults);
    response.end();
  }

  watch(
    response: http.ServerResponse,
    kind: Kind,
    query: Readonly<Record<string, string>>,
    isSelected: Predicate,
  ): void {
    const from = Number(query['resourceVersion'] ?? 0);
    const tooOld = `too old resource version: ${from} (${this.store.compacted})`;
    const changes = this.#faults.isEveryWatchGone ? undefined : this.store.changesSince(kind, from);
    if (from !== 0 && changes === undefined && this.#faults.isGoneAsStatus) {
      sendStatus(response, 410, 'Expired', tooOld);
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const watch = new Watch(
      kind,
      response,
      isSelected,
      query['allowWatchBookmarks'] === 'true',
      this.#faults,
    );
    if (from !== 0 && changes === undefined) {
      watch.event('ERROR', status(410, 'Expired', tooOld));
      watch.end();
      return;
    }
    // Without a version, or at 0, a watch starts with what exists.
    if (from === 0)
      for (const object of this.store.list(kind).filter(isSelected)) watch.event('ADDED', object);
    else for (const change of changes ?? []) watch.change(change);
    this.watches.add(watch);
    const timeoutSec = Number(query['timeoutSeconds'] ?? 1800);
    const timer = setTimeout(() => {
      if (!this.#faults.isTimeLimitIgnored) watch.end();
    }, timeoutSec * 1000).unref();
    response.on('close', () => {
      clearTimeout(timer);
      this.watches.delete(watch);
    });
  }
}
