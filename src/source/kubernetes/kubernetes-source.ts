// The source that follows an API server: Services, EndpointSlices, ServiceCIDRs and this Node. Load this module lazily: a daemon
// that reads manifests has no use for it.

import http from 'node:http';
import https from 'node:https';
import { KubeError } from '../../errors.ts';
import type { EventWrite } from '../node-event.ts';
import type { SentRequest, Source, SourceSink } from '../source.ts';
import { type Access, ANONYMOUS } from './access.ts';
import { ApiClient } from './api-client.ts';
import { Backoff, REFLECTOR_BACKOFF } from './backoff.ts';
import { type Clock, systemClock } from './clock.ts';
import { ConnectionLog } from './connection-log.ts';
import { Credentials } from './credentials.ts';
import { eventRequest } from './event-request.ts';
import { inClusterAccess } from './in-cluster.ts';
import { readKubeconfig } from './kubeconfig.ts';
import { createProxyAgent } from './proxy-agent.ts';
import { Reflector } from './reflector.ts';
import { resourcesOf } from './resources.ts';
import { parseServer } from './server-url.ts';
import type { SourceLog } from './source-log.ts';

export interface KubernetesSourceOptions {
  /** Path of a kubeconfig file. Without this and `master`, the configuration of the pod is used. */
  readonly kubeconfig?: string | undefined;
  /** URL of the API server; overrides the one in the kubeconfig. Alone, it is used without credentials. */
  readonly master?: string | undefined;
  readonly nodeName: string;
  /** Sent as `kproxy-ts/<version>`. */
  readonly version: string;
  readonly log: SourceLog;
  /** Objects per page of a list and per batch of events. Default 500. */
  readonly listPageSize?: number;
  /** Watches are asked to last between this and twice as long. Default 300. */
  readonly watchTimeoutSec?: number;
  /** A response that stays silent for longer is given up; servers send bookmarks every minute. Default 120,000. */
  readonly stallTimeoutMs?: number;
  /** Ceilings of the delays between attempts. Default 0.8 s doubling to 30 s. */
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number };
  /** How long an optional resource that the server lacks, or keeps from us, is left alone. Default 600,000. */
  readonly absentRetryMs?: number;
  readonly random?: () => number;
  readonly clock?: Clock;
  /** The environment a pod finds itself in. Default process.env and the usual folder. */
  readonly pod?: { readonly env: Readonly<Record<string, string | undefined>>; readonly folder: string };
}

/**
 * A source that follows the API server; see `Source` for what start() throws.
 * It may announce `list-start` again before `list-end`: the earlier listing broke off and starts afresh.
 */
export function createKubernetesSource(options: KubernetesSourceOptions): Source {
  return new KubernetesSource(options);
}

class KubernetesSource implements Source {
  readonly #options: KubernetesSourceOptions;
  readonly #stop = new AbortController();
  #observe: (request: SentRequest) => void = () => undefined;
  #client: ApiClient | undefined;
  #running: Promise<unknown> = Promise.resolve();
  /** Names of Events begin with it: nanoseconds since the epoch, as client-go's. */
  readonly #eventBase = BigInt(Date.now()) * 1_000_000n;
  description: string;

  constructor(options: KubernetesSourceOptions) {
    this.#options = options;
    this.description = `API server (${options.kubeconfig ?? options.master ?? 'in-cluster'})`;
  }

  async start(sink: SourceSink): Promise<void> {
    const {
      log,
      version,
      clock = systemClock,
      random = Math.random,
      backoff = REFLECTOR_BACKOFF,
    } = this.#options;
    const { listPageSize = 500, watchTimeoutSec = 300, stallTimeoutMs = 120_000 } = this.#options;
    const { absentRetryMs = 600_000 } = this.#options;
    const access = await readAccess(this.#options);
    const { server, isCompressed } = access.cluster;
    this.description = `API server ${server.origin}`;
    const credentials = new Credentials(access, this.#stop.signal);
    await credentials.check();
    const agent = await createAgent(access);
    const client = new ApiClient({
      server,
      credentials,
      agent,
      userAgent: `kproxy-ts/${version}`,
      stallTimeoutMs,
      onRequest: (request) => this.#observe(request),
    });
    const connection = new ConnectionLog(server.origin, clock, log);
    const reflectors = resourcesOf(this.#options.nodeName).map(
      (resource) =>
        new Reflector({
          resource,
          client,
          sink,
          connection,
          log,
          backoff: new Backoff({ ...backoff, random }),
          clock,
          random,
          isCompressed,
          pageSize: listPageSize,
          watchTimeoutSec,
          absentRetryMs,
        }),
    );
    this.#client = client;
    // Not awaited here: a rejection means that the sink threw, and must not go unnoticed until stop().
    this.#running = Promise.all(reflectors.map((reflector) => reflector.run(this.#stop.signal)));
  }

  observeRequests(observe: (request: SentRequest) => void): void {
    this.#observe = observe;
  }

  async writeEvent(write: EventWrite): Promise<void> {
    if (this.#client === undefined) throw new KubeError('write event: the source was not started');
    const request = eventRequest(write, {
      nodeName: this.#options.nodeName,
      base: this.#eventBase,
      epochMs: Date.now() - performance.now(),
    });
    await this.#client.write({ ...request, signal: this.#stop.signal });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#client?.close();
  }
}

async function readAccess({ kubeconfig, master, pod }: KubernetesSourceOptions): Promise<Access> {
  if (kubeconfig !== undefined) return await readKubeconfig(kubeconfig, master);
  if (master === undefined) return inClusterAccess(pod?.env ?? process.env, pod?.folder);
  return {
    origin: '--master',
    cluster: {
      server: parseServer(master, '--master'),
      ca: undefined,
      tlsServerName: undefined,
      isVerified: true,
      proxyUrl: undefined,
      isCompressed: true,
    },
    user: ANONYMOUS,
  };
}

async function createAgent({ cluster }: Access): Promise<http.Agent> {
  if (cluster.proxyUrl !== undefined) return await createProxyAgent(cluster);
  // TLS options are part of the name under which an agent keeps a connection: new credentials mean a new connection.
  return cluster.server.protocol === 'https:'
    ? new https.Agent({ keepAlive: true })
    : new http.Agent({ keepAlive: true });
}
