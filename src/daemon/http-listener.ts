// A small HTTP server on a configured address that outlives a port which is taken for a while.

import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, type ServerOptions, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { ListenAddress } from '../config/parse.ts';
import { KernelError } from '../errors.ts';
import type { Log } from './log.ts';
import type { Credentials } from './tls/credentials.ts';

export interface HttpListenerOptions {
  /** For messages: `health`, `metrics`. */
  readonly name: string;
  readonly address: ListenAddress;
  readonly handler: RequestListener;
  /** TLS is spoken with these; plain HTTP without. */
  readonly credentials?: Credentials | undefined;
  readonly log: Log;
  /** A port that cannot be had is an error at once, and not tried again (`--bind-address-hard-fail`). */
  readonly isHardFail: boolean;
}

/** As kube-proxy: how long until a port that was taken is tried again. */
const RETRY_MS = 5000;

/** Slow or idle clients must not pile up. */
const TIMEOUTS = { requestTimeout: 10_000, headersTimeout: 10_000, keepAliveTimeout: 5000 };
const MAX_CONNECTIONS = 256;

/** Who is asked for a certificate may go on without: who may ask is decided for each request (tls/guard.ts). */
const TLS: ServerOptions = { rejectUnauthorized: false, handshakeTimeout: 10_000 };

export class HttpListener {
  readonly #options: HttpListenerOptions;
  #server: Server | undefined;
  #credentials: Credentials | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;
  #isTold = false;

  constructor(options: HttpListenerOptions) {
    this.#options = options;
    this.#credentials = options.credentials;
  }

  /** Shows others, and asks for others, from the next connection on. What is open without a request is closed. */
  renew(credentials: Credentials): void {
    this.#credentials = credentials;
    const server = this.#server as TlsServer | undefined;
    server?.setSecureContext(secureContext(credentials));
    server?.closeIdleConnections();
  }

  /** Settles when it listens, or goes on trying. Throws KernelError when that is final. */
  async start(): Promise<void> {
    const error = await this.#listen();
    if (error === undefined) return;
    const { name, address, isHardFail } = this.#options;
    if (isHardFail) {
      const operation = `${name} server: listen on ${formatAddress(address)}`;
      throw new KernelError(error.code ?? 'UNKNOWN', error.errno ?? 0, operation);
    }
    this.#tryAgain(error);
  }

  /** The port it listens on; undefined while it does not. */
  get port(): number | undefined {
    return (this.#server?.address() as AddressInfo | null | undefined)?.port;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    const server = this.#server;
    if (server === undefined) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  #listen(): Promise<NodeJS.ErrnoException | undefined> {
    const { address, handler, log, name } = this.#options;
    const server =
      this.#credentials === undefined
        ? createServer(TIMEOUTS, handler)
        : createTlsServer({ ...TIMEOUTS, ...TLS, ...secureContext(this.#credentials) }, handler);
    server.maxConnections = MAX_CONNECTIONS;
    return new Promise((resolve) => {
      server.once('error', resolve);
      server.listen(address, () => {
        this.#server = server;
        server.off('error', resolve);
        server.on('error', (err) => log.warn({ err, server: name }, 'http server'));
        if (this.#isTold) log.info({ server: name, address: formatAddress(address) }, 'listening at last');
        resolve(undefined);
      });
      // The daemon's life does not hang on who asks how it is.
      server.unref();
    });
  }

  #tryAgain(err: NodeJS.ErrnoException): void {
    const { name, address, log } = this.#options;
    if (!this.#isTold) {
      log.error({ err, server: name, address: formatAddress(address) }, 'cannot listen, trying again');
    }
    this.#isTold = true;
    this.#retry = setTimeout(() => {
      void this.#listen().then((error) => {
        if (error !== undefined && !this.#isClosed) this.#tryAgain(error);
      });
    }, RETRY_MS);
    this.#retry.unref();
  }
}

/** `127.0.0.1:10249`, `[::1]:10249` */
export function formatAddress({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Sessions cannot be taken up again with other credentials: each context has ticket keys of its own. */
function secureContext({ cert, key, clientCa }: Credentials): ServerOptions {
  return { cert, key, ca: clientCa, requestCert: clientCa !== undefined, minVersion: 'TLSv1.2' };
}
