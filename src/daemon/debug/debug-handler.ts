// What `--profiling` adds to the metrics server, under kube-proxy's paths where it has them: /debug/pprof/, /debug/flags/v; and
// /debug/table. For this node only, or for whoever has shown who he is: a heap has credentials in it, and the table lists what runs in
// the cluster.

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { parseInteger } from '../../config/parse.ts';
import { ConfigError, KproxyError } from '../../errors.ts';
import { isLoopback, parseIp } from '../../model/ip.ts';
import { cpuProfile, heapSnapshot } from './profiles.ts';

export interface DebugOptions {
  /** The virtual-IP table as the kernel holds it, as JSON. Throws KproxyError. */
  readonly tableJson: () => Promise<string>;
  /** Verbosity of the log until the configuration changes. */
  readonly setVerbosity: (verbosity: number) => void;
  /** Whether requests come through only with credentials. */
  readonly isGuarded: () => boolean;
  /** Told of what went wrong through nobody's request. */
  readonly onError: (error: unknown) => void;
}

/** As in Go's net/http/pprof. */
const DEFAULT_SECONDS = 30;
/** A profile is held in memory: a few MB a minute. So is a snapshot, until whoever asked has it. */
const MAX_SECONDS = 300;
/** Bytes of a request's body. */
const MAX_BODY = 16;

const INDEX = `/debug/pprof/profile?seconds=${DEFAULT_SECONDS}  where processor time goes (.cpuprofile; at most ${MAX_SECONDS} s)
/debug/pprof/heap                what is in memory (.heapsnapshot; everything else waits meanwhile)
/debug/table                     the virtual-IP table as the kernel holds it (JSON)
PUT /debug/flags/v               verbosity of the log, as digits in the body
`;

/** One expensive answer at a time: a second request for one is told to come back. */
export function debugHandler({ tableJson, setVerbosity, isGuarded, onError }: DebugOptions): RequestListener {
  let isBusy = false;
  const alone = async (response: ServerResponse, answer: () => Promise<void>): Promise<void> => {
    if (isBusy) {
      respond(response, 503, 'another profile or table is being made\n');
      return;
    }
    isBusy = true;
    try {
      await answer();
    } finally {
      isBusy = false;
    }
  };
  const routes: Readonly<Record<string, Route>> = {
    'GET /debug/pprof/': async (_, response) => respond(response, 200, INDEX),
    'GET /debug/pprof/profile': (_, response, query) =>
      alone(response, () => sendCpuProfile(response, query)),
    'GET /debug/pprof/heap': (_, response) =>
      alone(response, async () => {
        response.writeHead(200, attachment('heap.heapsnapshot'));
        await pipeline(heapSnapshot(), response, { signal: AbortSignal.timeout(MAX_SECONDS * 1000) });
      }),
    'GET /debug/table': (_, response) =>
      alone(response, async () => respond(response, 200, await tableJson(), 'application/json')),
    'PUT /debug/flags/v': async (request, response) => {
      const verbosity = parseInteger(await readBody(request), 0);
      setVerbosity(verbosity);
      respond(response, 200, `successfully set verbosity to ${verbosity}\n`);
    },
  };
  return (request, response) => {
    const [path = '', query] = (request.url ?? '').split('?');
    const key = `${request.method} ${path}`;
    const route = Object.hasOwn(routes, key) ? routes[key] : undefined;
    if (!isGuarded() && !isFromThisNode(request)) respond(response, 403, 'for this node only\n');
    else if (route !== undefined) {
      answerBy(route, request, response, new URLSearchParams(query)).catch((error) => {
        onError(error);
        if (response.headersSent) response.destroy();
        else respond(response, 500, 'unexpected error; the log has it\n');
      });
    } else if (Object.keys(routes).some((one) => one.endsWith(` ${path}`))) {
      respond(response, 405, 'method not allowed\n');
    } else respond(response, 404, '404 page not found\n');
  };
}

type Route = (request: IncomingMessage, response: ServerResponse, query: URLSearchParams) => Promise<void>;

async function answerBy(
  route: Route,
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
): Promise<void> {
  try {
    await route(request, response, query);
  } catch (error) {
    // Half an answer cannot be taken back.
    if (response.headersSent) response.destroy();
    else if (error instanceof ConfigError) respond(response, 400, `${error.message}\n`);
    else if (error instanceof KproxyError) respond(response, 500, `${error.message}\n`);
    // Whoever asked has left in the middle of his request.
    else if (request.errored === error) response.destroy();
    else throw error;
  }
}

function isFromThisNode({ socket }: IncomingMessage): boolean {
  const client = parseIp(socket.remoteAddress ?? '');
  return client !== undefined && isLoopback(client);
}

async function sendCpuProfile(response: ServerResponse, query: URLSearchParams): Promise<void> {
  const seconds = parseInteger(query.get('seconds') ?? String(DEFAULT_SECONDS), 1, MAX_SECONDS);
  const left = new AbortController();
  response.once('close', () => left.abort());
  const profile = await cpuProfile(seconds * 1000, left.signal);
  if (left.signal.aborted) return;
  response.writeHead(200, attachment('cpu.cpuprofile')).end(profile);
}

async function readBody(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) {
    body += chunk;
    if (body.length > MAX_BODY) throw new ConfigError(`must be at most ${MAX_BODY} digits`);
  }
  return body.trim();
}

const attachment = (name: string) => ({
  'Content-Type': 'application/json',
  'Content-Disposition': `attachment; filename="${name}"`,
});

function respond(response: ServerResponse, status: number, body: string, type = 'text/plain; charset=utf-8') {
  response.writeHead(status, { 'Content-Type': type, 'X-Content-Type-Options': 'nosniff' }).end(body);
}
