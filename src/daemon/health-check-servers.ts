// One small HTTP server per healthCheckNodePort and family: load balancers ask it whether this node has endpoints.
// Body, status and headers as kube-proxy's (pkg/proxy/healthcheck/service_health.go).

import { createServer, type Server } from 'node:http';
import type { ServiceKey } from '../model/types.ts';
import type { HealthCheck } from '../vip/health-checks.ts';
import type { Log } from './log.ts';

/** Where a family's servers listen: every address, as a load balancer may use any. */
const LISTEN_HOST = { 4: '0.0.0.0', 6: '::' } as const;

interface Running {
  readonly server: Server;
  check: HealthCheck;
}

export class HealthCheckServers {
  readonly #log: Log;
  /** By family and port. */
  readonly #running = new Map<string, Running>();
  readonly #checksByService = new Map<ServiceKey, readonly HealthCheck[]>();
  /** What could not listen, by family and port: told once, though tried with every update. */
  readonly #unavailable = new Set<string>();
  #isHealthy = false;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Replaces what is answered for each given Service; an empty list stops its servers. */
  update(checksByService: ReadonlyMap<ServiceKey, readonly HealthCheck[]>): void {
    for (const [service, checks] of checksByService) {
      if (checks.length === 0) this.#checksByService.delete(service);
      else this.#checksByService.set(service, checks);
    }
    this.#reconcile();
  }

  /** Whether the kernel holds what is desired; while it does not, every answer is 503. */
  setHealthy(isHealthy: boolean): void {
    this.#isHealthy = isHealthy;
  }

  /** Settles when no server listens any more. */
  async close(): Promise<void> {
    this.#checksByService.clear();
    const closed = [...this.#running.values()].map(
      ({ server }) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    this.#reconcile();
    await Promise.all(closed);
  }

  #reconcile(): void {
    const wanted = new Map<string, HealthCheck>();
    for (const check of [...this.#checksByService.values()].flat()) {
      const key = `${check.family} ${check.port}`;
      if (!wanted.has(key)) wanted.set(key, check);
    }
    for (const key of this.#unavailable) if (!wanted.has(key)) this.#unavailable.delete(key);
    for (const [key, { server }] of this.#running) {
      if (wanted.has(key)) continue;
      this.#running.delete(key);
      server.close();
      server.closeAllConnections();
    }
    for (const [key, check] of wanted) {
      const running = this.#running.get(key);
      if (running === undefined) this.#start(key, check);
      else running.check = check;
    }
  }

  /** A port that cannot be had is told once, and tried again with every update. */
  #start(key: string, check: HealthCheck): void {
    const server = createServer((_request, response) => {
      const { status, headers, body } = this.#answer(running.check);
      response.writeHead(status, headers).end(body);
    });
    const running: Running = { server, check };
    this.#running.set(key, running);
    server.once('error', (err) => {
      if (this.#running.get(key) === running) this.#running.delete(key);
      if (this.#unavailable.has(key)) return;
      this.#unavailable.add(key);
      this.#log.warn({ err, service: check.service, port: check.port }, 'health check port not available');
    });
    server.once('listening', () => this.#unavailable.delete(key));
    server.listen({
      host: LISTEN_HOST[check.family],
      port: check.port,
      ipv6Only: check.family === 6,
    });
    // The daemon's life does not hang on a load balancer's interest.
    server.unref();
  }

  #answer({ service, localEndpoints }: HealthCheck): {
    status: number;
    headers: Record<string, string>;
    body: string;
  } {
    const [namespace, name] = service.split('/');
    const body = { service: { namespace, name }, localEndpoints, serviceProxyHealthy: this.#isHealthy };
    return {
      status: localEndpoints > 0 && this.#isHealthy ? 200 : 503,
      headers: {
        'Content-Type': 'application/json',
        'X-Content-Type-Options': 'nosniff',
        'X-Load-Balancing-Endpoint-Weight': String(localEndpoints),
      },
      body: JSON.stringify(body, undefined, '\t'),
    };
  }
}
