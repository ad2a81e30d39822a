// Requests to one API server over HTTP/1.1 with kept-alive connections. Knows credentials, time limits and errors;
// knows nothing of lists and watches.

import http from 'node:http';
import https from 'node:https';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { KproxyError, KubeError } from '../../errors.ts';
import type { SentRequest } from '../source.ts';
import { StatusError } from './api-errors.ts';
import type { Credentials } from './credentials.ts';
import { decodeJson } from './json.ts';

export interface ApiRequest {
  /** For messages: `list services`. */
  readonly what: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  /** Ask for gzip. Pays off for lists; a compressed watch would sit in the compressor's buffer. */
  readonly isCompressed: boolean;
  readonly signal: AbortSignal;
}

/** A request that changes something. */
export interface ApiWrite {
  /** For messages: `create event`. */
  readonly what: string;
  /** PATCH is a JSON merge patch (RFC 7396). */
  readonly method: 'POST' | 'PATCH';
  readonly path: string;
  /** What becomes the JSON of the body. */
  readonly body: unknown;
  readonly signal: AbortSignal;
}

/** Content-Type by method. */
const WRITTEN_AS = { POST: 'application/json', PATCH: 'application/merge-patch+json' };

export interface ApiClientOptions {
  /** Base URL; a path in it is kept as a prefix. */
  readonly server: URL;
  readonly credentials: Credentials;
  readonly agent: http.Agent;
  readonly userAgent: string;
  /** A connected request, or its body, that stays silent for longer is given up. Milliseconds. */
  readonly stallTimeoutMs: number;
  /** Told of every attempt. */
  readonly onRequest?: (request: SentRequest) => void;
}

/** Bound on establishing a connection, as client-go's dialer. */
const CONNECT_TIMEOUT_MS = 30_000;
/**
 * Idle time before TCP probes the peer; libuv then probes every second, ten times. A peer that vanished without a FIN
 * is noticed after about 25 s even when the stream has nothing to say.
 */
const TCP_KEEPALIVE_DELAY_MS = 15_000;
/** Error bodies are read up to here. */
const MAX_ERROR_BYTES = 64 * 1024;

export class ApiClient {
  readonly #options: ApiClientOptions;

  constructor(options: ApiClientOptions) {
    this.#options = options;
  }

  /**
   * The body of a 2xx answer, as chunks of whatever size they arrive in; leaving the iteration closes the stream.
   * An answer of 401 is retried once when the credentials can be renewed.
   * @throws StatusError for any other answer; KubeError when the connection fails, here or while iterating.
   */
  get(request: ApiRequest): Promise<AsyncIterable<Buffer>> {
    const { isCompressed } = request;
    return this.#ask({
      ...request,
      method: 'GET',
      headers: isCompressed ? { 'accept-encoding': 'gzip' } : {},
    });
  }

  /** Settles when the server has taken the write; throws as `get` does. */
  async write({ body, ...request }: ApiWrite): Promise<void> {
    const headers = { 'content-type': WRITTEN_AS[request.method] };
    const answer = await this.#ask({ ...request, query: {}, headers, body: JSON.stringify(body) });
    // Only an answer that was read leaves its connection for others.
    for await (const _ of answer);
  }

  /** Closes idle connections and those in use. */
  close(): void {
    this.#options.agent.destroy();
  }

  async #ask(request: HttpRequest): Promise<AsyncIterable<Buffer>> {
    try {
      return await this.#askOnce(request);
    } catch (error) {
      const isRefused = error instanceof StatusError && error.status === 401;
      if (!isRefused || !this.#options.credentials.renew()) throw error;
      return await this.#askOnce(request);
    }
  }

  async #askOnce(request: HttpRequest): Promise<AsyncIterable<Buffer>> {
    const { what, method } = request;
    const { server, onRequest = () => undefined } = this.#options;
    const startMs = performance.now();
    const tell = (code: string): void =>
      onRequest({ method, host: server.host, code, durationMs: performance.now() - startMs });
    const { response, connection } = await this.#send(request).catch((error: unknown) => {
      tell('<error>');
      throw asKubeError(error, what);
    });
    tell(String(response.statusCode));
    const body = readBody(response, connection, what);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return body;
    throw new StatusError(what, status, await readErrorBody(body), response.headers['retry-after']);
  }

  async #send(request: HttpRequest): Promise<{ response: http.IncomingMessage; connection: Connection }> {
    const { server, credentials, agent, userAgent, stallTimeoutMs } = this.#options;
    const auth = await credentials.current();
    const url = new URL(server);
    url.pathname = server.pathname.replace(/\/$/, '') + request.path;
    url.search = new URLSearchParams(request.query).toString();
    const isTls = url.protocol === 'https:';
    const connection: Connection = { failure: undefined };
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      const sent = (isTls ? https : http).request(url, {
        ...auth.tls,
        agent,
        method: request.method,
        signal: request.signal,
        timeout: Math.min(CONNECT_TIMEOUT_MS, stallTimeoutMs),
        headers: {
          ...auth.headers,
          accept: 'application/json',
          'user-agent': userAgent,
          ...request.headers,
        },
      });
      sent.on('socket', (socket) => {
        socket.setKeepAlive(true, TCP_KEEPALIVE_DELAY_MS);
        const whenConnected = () => socket.setTimeout(stallTimeoutMs);
        if (socket.connecting) socket.once(isTls ? 'secureConnect' : 'connect', whenConnected);
        else whenConnected();
      });
      sent.on('timeout', () => {
        connection.failure = new KubeError(`${request.what}: ${server.host} was silent for too long`);
        sent.destroy(connection.failure);
      });
      sent.on('error', reject);
      sent.on('response', resolve);
      sent.end(request.body);
    });
    return { response, connection };
  }
}

interface HttpRequest extends Pick<ApiRequest, 'what' | 'path' | 'query' | 'signal'> {
  readonly method: 'GET' | ApiWrite['method'];
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Why we closed a connection ourselves; the stream itself only says that it was aborted. */
interface Connection {
  failure: KubeError | undefined;
}

async function* readBody(
  response: http.IncomingMessage,
  connection: Connection,
  what: string,
): AsyncGenerator<Buffer> {
  // The pipeline's own callback has nothing to add: its error destroys the gunzip stream that is being iterated.
  const body: Readable =
    response.headers['content-encoding'] === 'gzip' ? pipeline(response, createGunzip(), () => {}) : response;
  try {
    for await (const chunk of body) yield chunk;
  } catch (error) {
    throw asKubeError(connection.failure ?? error, what);
  } finally {
    body.destroy();
  }
}

async function readErrorBody(body: AsyncIterable<Buffer>): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of body) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_ERROR_BYTES) break;
    }
    return decodeJson(Buffer.concat(chunks));
  } catch {
    return undefined; // The status code alone has to do: a proxy's error page, or a connection cut short.
  }
}

function asKubeError(error: unknown, what: string): KproxyError {
  if (error instanceof KproxyError) return error;
  const { message, code } = error as NodeJS.ErrnoException;
  // Node joins the attempts at each address of a name into an AggregateError, whose own message is empty.
  return new KubeError(`${what}: ${message || code || 'connection failed'}`, undefined, { cause: error });
}
