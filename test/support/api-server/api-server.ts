// A local API server for tests: core/v1 services and nodes, discovery.k8s.io/v1 endpointslices, networking.k8s.io/v1 and
// v1beta1 servicecidrs; list and watch only. events.k8s.io/v1 events; create and patch only.
// Faithful where a client could notice: paged lists with continue tokens that expire, a watch cache that ignores the
// limit at resourceVersion=0, label and field selectors on watches (an object that starts or stops matching appears as
// ADDED or DELETED), bookmarks, 410 after compaction, "too large resource version", timeoutSeconds, gzip, Status errors.
//
//   const server = await startApiServer({ tls: true, tokens: ['secret'] });
//   server.put({ apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'default', name: 'web' }, spec: {...} });
//   server.delete('Service', 'default', 'web');
//   writeFileSync(file, server.kubeconfig({ token: 'secret' }));          // fields of the kubeconfig's user
//   server.faults.failNext(3, 500); server.faults.isStalled = true;       // see faults.ts
//   server.dropWatches(); server.endWatches(); server.sendRaw('Service', '{broken\n'); server.compact();
//   await server.pause(); await server.resume();                         // refuses connections meanwhile
//   server.requests                                                       // everything listed and watched so far
//   server.events.stored; server.faults.failingEvents.push(500);          // Events, see events.ts
//   await server.close();
//
// Authentication is asked for when `tokens`, `basic` or `isClientCertRequired` is given: a listed bearer token, that
// name and password, or a client certificate signed by `server.ca`.

import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { CertificateAuthority, type KeyPair } from './certificates.ts';
import { API, Collections } from './collections.ts';
import { EVENTS_PATH, Events } from './events.ts';
import { Faults } from './faults.ts';
import { type ApiObject, KINDS, type Kind } from './object-store.ts';
import { type Predicate, parseSelectors } from './selectors.ts';
import { sendStatus } from './status.ts';

export interface ApiServerOptions {
  readonly tls?: boolean;
  /** Accepted bearer tokens. */
  readonly tokens?: readonly string[];
  /** Accepted `name:password`. */
  readonly basic?: string;
  readonly isClientCertRequired?: boolean;
  /** Subject alternative names of the server's certificate. Default IP:127.0.0.1 and DNS:localhost. */
  readonly alternativeNames?: readonly string[];
  /** Sends bookmarks this often. Default: only on bookmark(). */
  readonly bookmarkIntervalMs?: number;
  /** Address to listen on. Default 127.0.0.1. */
  readonly host?: string;
}

export interface RecordedRequest {
  readonly kind: Kind;
  readonly verb: 'list' | 'watch';
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: http.IncomingHttpHeaders;
  /** performance.now() on arrival. */
  readonly atMs: number;
}

export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const server = new ApiServer(options);
  await server.resume();
  return server;
}

/** Only for its type; use startApiServer. */
export class ApiServer {
  readonly faults = new Faults();
  readonly requests: RecordedRequest[] = [];
  readonly events = new Events(this.faults);
  /** Accepted bearer tokens; replace them to rotate. */
  tokens: Set<string>;
  readonly #options: ApiServerOptions;
  readonly #collections = new Collections(this.faults);
  readonly #sockets = new Set<Socket>();
  #authority: CertificateAuthority | undefined;
  #server: http.Server;
  #host: string;
  #port = 0;
  #bookmarkTimer: NodeJS.Timeout | undefined;

  constructor(options: ApiServerOptions) {
    this.#options = options;
    this.#host = options.host ?? '127.0.0.1';
    this.tokens = new Set(options.tokens);
    if (options.tls) this.#authority = new CertificateAuthority();
    this.#server = this.#createServer();
    const { bookmarkIntervalMs } = options;
    if (bookmarkIntervalMs !== undefined) {
      this.#bookmarkTimer = setInterval(() => this.bookmark(), bookmarkIntervalMs).unref();
    }
  }

  get url(): string {
    return `${this.#options.tls ? 'https' : 'http'}://${this.#host}:${this.#port}`;
  }

  /** The CA that signs its certificate and whose client certificates it accepts. */
  get ca(): CertificateAuthority {
    if (this.#authority === undefined) throw new Error('this server does not speak TLS');
    return this.#authority;
  }

  /** Version of the last change. */
  get resourceVersion(): string {
    return String(this.#collections.store.version);
  }

  /** Watches that are open now. */
  get watchCount(): number {
    return this.#collections.watches.size;
  }

  /** Creates or replaces an object and tells the watchers; returns it as stored. */
  put(object: ApiObject): ApiObject {
    return this.#collections.store.put(object);
  }

  delete(kind: Kind, namespace: string, name: string): void {
    this.#collections.store.delete(kind, namespace, name);
  }

  /** Forgets history and continue tokens. */
  compact(): void {
    this.#collections.store.compact();
    this.expireContinueTokens();
  }

  expireContinueTokens(): void {
    this.#collections.expireContinueTokens();
  }

  /** As after etcd was restored from a backup: versions go on from `version`, lower than clients have seen. */
  rewind(version: number): void {
    this.#collections.store.rewind(version);
  }

  bookmark(): void {
    for (const watch of this.#collections.watches)
      watch.bookmark(this.#collections.store.version, API[watch.kind].apiVersion);
  }

  dropWatches(): void {
    for (const watch of this.#collections.watches) watch.drop();
  }

  endWatches(): void {
    for (const watch of this.#collections.watches) watch.end();
  }

  /** Sends bytes as they are to every open watch of a kind. */
  sendRaw(kind: Kind, bytes: string | Buffer): void {
    for (const watch of this.#collections.watches) if (watch.kind === kind) watch.send(bytes);
  }

  /** Ends `faults.isStalled`. */
  unstall(): void {
    this.faults.isStalled = false;
    for (const watch of this.#collections.watches) watch.catchUp();
  }

  /** Serves another certificate of the same CA from the next connection on. */
  renewCertificate(): void {
    (this.#server as https.Server).setSecureContext(this.#secureContext());
  }

  /** Serves a certificate of a new CA from the next connection on; returns the new CA's certificate. */
  renewAuthority(): string {
    this.ca.remove();
    this.#authority = new CertificateAuthority('renewed CA');
    this.renewCertificate();
    return this.#authority.cert;
  }

  /** Closes the port and every connection. */
  async pause(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }

  /** Listens, on the same port as before. */
  async resume(): Promise<void> {
    if (this.#port !== 0) this.#server = this.#createServer();
    this.#server.listen(this.#port, this.#host);
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    clearInterval(this.#bookmarkTimer);
    if (this.#server.listening) await this.pause();
    this.#authority?.remove();
  }

  /** A kubeconfig for this server; `user` and `cluster` are merged over what its fields would be. */
  kubeconfig(user: Record<string, unknown> = {}, cluster: Record<string, unknown> = {}): string {
    const trust = this.#authority && {
      'certificate-authority-data': Buffer.from(this.#authority.cert).toString('base64'),
    };
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      clusters: [{ name: 'test', cluster: { server: this.url, ...trust, ...cluster } }],
      users: [{ name: 'test', user }],
    });
  }

  #createServer(): http.Server {
    const listener: http.RequestListener = (request, response) => {
      this.#answer(request, response).catch((error: Error) => response.destroy(error));
    };
    const server = this.#options.tls
      ? https.createServer(
          { ...this.#secureContext(), requestCert: true, rejectUnauthorized: false },
          listener,
        )
      : http.createServer(listener);
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    return server;
  }

  #secureContext(): KeyPair & { ca: string } {
    const { alternativeNames = ['IP:127.0.0.1', 'DNS:localhost'] } = this.#options;
    return { ...this.ca.issue('kube-apiserver', alternativeNames), ca: this.ca.cert };
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const query = Object.fromEntries(url.searchParams);
    const kind = KINDS.find((one) => [API[one].path, API[one].olderPath].includes(url.pathname));
    const notFound = `the server could not find ${url.pathname}`;
    if (url.pathname.startsWith(EVENTS_PATH)) {
      const isKnown = this.#isAuthenticated(request);
      return isKnown
        ? this.events.answer(request, response, url.pathname.slice(EVENTS_PATH.length))
        : sendStatus(response, 401, 'Unauthorized', 'Unauthorized');
    }
    if (kind === undefined || request.method !== 'GET') {
      return sendStatus(response, 404, 'NotFound', notFound);
    }
    const verb = query['watch'] === 'true' || query['watch'] === '1' ? 'watch' : 'list';
    const recorded: RecordedRequest = {
      kind,
      verb,
      path: url.pathname,
      query,
      headers: request.headers,
      atMs: performance.now(),
    };
    this.requests.push(recorded);
    if (this.faults.absentPaths.has(url.pathname)) return sendStatus(response, 404, 'NotFound', notFound);
    if (this.faults.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.faults.delayMs));
    if (this.#refuse(request, response, kind, verb)) return;
    let isSelected: Predicate;
    try {
      isSelected = parseSelectors(query['labelSelector'] ?? '', query['fieldSelector'] ?? '');
    } catch (error) {
      return sendStatus(response, 400, 'BadRequest', (error as Error).message);
    }
    if (Number(query['resourceVersion'] ?? 0) > this.#collections.store.version) {
      return sendStatus(response, 504, 'Timeout', `Too large resource version: ${query['resourceVersion']}`, {
        causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
        retryAfterSeconds: 1,
      });
    }
    if (verb === 'watch') this.#collections.watch(response, kind, query, isSelected);
    else await this.#collections.list(request, response, kind, query, isSelected);
  }

  /** Answers a request that is not let through; true when it did. */
  #refuse(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    kind: Kind,
    verb: 'list' | 'watch',
  ): boolean {
    const failing = this.faults.failing.find(({ count, matches }) => count > 0 && matches({ kind, verb }));
    if (failing !== undefined) {
      failing.count--;
      if (failing.retryAfterSec !== undefined) response.setHeader('retry-after', failing.retryAfterSec);
      sendStatus(response, failing.status, 'InternalError', 'injected failure');
    } else if (!this.#isAuthenticated(request)) {
      sendStatus(response, 401, 'Unauthorized', 'Unauthorized');
    } else if (this.faults.forbidden.has(`${verb} ${API[kind].plural}`)) {
      const message = `${API[kind].plural} is forbidden: cannot ${verb} at the cluster scope`;
      sendStatus(response, 403, 'Forbidden', message);
    } else {
      return false;
    }
    return true;
  }

  #isAuthenticated({ headers, socket }: http.IncomingMessage): boolean {
    const { tokens, basic, isClientCertRequired } = this.#options;
    if (tokens === undefined && basic === undefined && !isClientCertRequired) return true;
    if (isClientCertRequired && (socket as TLSSocket).authorized) return true;
    const [scheme, value = ''] = (headers.authorization ?? '').split(' ');
    if (scheme === 'Bearer') return this.tokens.has(value);
    return basic !== undefined && scheme === 'Basic' && Buffer.from(value, 'base64').toString() === basic;
  }
}
