// The metrics server (`--metrics-bind-address`), with kube-proxy's paths: /metrics, /healthz, /proxyMode, /configz; and
// /metrics/connections. With `--profiling` those of src/daemon/debug as well.

import type { RequestListener, ServerResponse } from 'node:http';
import { connectionsPage, type ReadConnections, type ReadProxies } from './connections-page.ts';

export interface MetricsHandlerOptions {
  readonly metrics: { readonly contentType: string; text(): Promise<string> };
  readonly mode: () => string;
  /** As a KubeProxyConfiguration. */
  readonly config: () => object;
  /** What answers /debug/, if anything does. */
  readonly debug: () => RequestListener | undefined;
  readonly connections: ReadConnections;
  readonly proxies?: ReadProxies;
}

interface Page {
  readonly contentType: string;
  body(): Promise<string> | string;
}

export function metricsHandler({
  metrics,
  mode,
  config,
  connections,
  proxies,
  debug,
}: MetricsHandlerOptions): RequestListener {
  const text = 'text/plain; charset=utf-8';
  const pages: Readonly<Record<string, Page>> = {
    '/metrics': { contentType: metrics.contentType, body: () => metrics.text() },
    '/metrics/connections': { contentType: metrics.contentType, body: connectionsPage(connections, proxies) },
    '/healthz': { contentType: text, body: () => 'ok' },
    '/proxyMode': { contentType: text, body: mode },
    '/configz': {
      contentType: 'application/json',
      body: () => JSON.stringify({ 'kubeproxy.config.k8s.io': config() }),
    },
  };
  return (request, response) => {
    const path = (request.url ?? '').split('?')[0]!;
    const listener = path.startsWith('/debug/') ? debug() : undefined;
    if (listener !== undefined) {
      listener(request, response);
      return;
    }
    const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
    if (page === undefined) respond(response, 404, text, '404 page not found\n');
    else if (request.method !== 'GET' && request.method !== 'HEAD') {
      respond(response, 405, text, 'method not allowed\n');
    } else void show(page, response);
  };
}

async function show(page: Page, response: ServerResponse): Promise<void> {
  try {
    respond(response, 200, page.contentType, await page.body());
  } catch (error) {
    respond(response, 500, 'text/plain', `${error instanceof Error ? error.message : error}\n`);
  }
}

function respond(response: ServerResponse, status: number, contentType: string, body: string): void {
  response.writeHead(status, { 'Content-Type': contentType, 'X-Content-Type-Options': 'nosniff' }).end(body);
}
