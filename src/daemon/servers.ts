// The HTTP servers of the daemon: health for load balancers and the kubelet, metrics for whoever scrapes them.

import type { Settings } from '../config/settings.ts';
import { readVersion } from '../config/version.ts';
import type { SourceEvent } from '../model/source-event.ts';
import type { Store, StoreChange } from '../model/store.ts';
import type { Problem, ServiceKey } from '../model/types.ts';
import type { SentRequest } from '../source/source.ts';
import type { Frontend } from '../vip/frontend.ts';
import { LackingLocal } from '../vip/lacking-local.ts';
import type { EventOutcome } from './events/event-publisher.ts';
import { healthHandler } from './health/health-server.ts';
import { SyncHealth } from './health/sync-health.ts';
import { HttpListener } from './http-listener.ts';
import { kernelFamilies } from './interfaces.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics/metrics.ts';
import type { SyncReport } from './sync-loop.ts';

/** What the daemon tells of itself; what nobody listens to costs next to nothing. */
export class Servers {
  readonly #settings: Settings;
  readonly #store: Store;
  readonly #log: Log;
  readonly #health: SyncHealth;
  readonly #listeners: HttpListener[] = [];
  readonly #lacking = new LackingLocal();
  #metrics: Metrics | undefined;
  /** When the objects that were restored were written down. */
  #restoredOf: Date | undefined;

  constructor(settings: Settings, store: Store, log: Log) {
    this.#settings = settings;
    this.#store = store;
    this.#log = log;
    this.#health = new SyncHealth(settings.syncPeriodMs, performance.now());
  }

  /** Throws KernelError when an address cannot be had and that is final (`--bind-address-hard-fail`). */
  async start(): Promise<void> {
    const { healthAddress, metricsAddress, isBindHardFail } = this.#settings;
    const listen = async (name: string, address: typeof healthAddress, handler: HttpHandler) => {
      if (address === undefined) return;
      const listener = new HttpListener({
        name,
        address,
        handler,
        log: this.#log,
        isHardFail: isBindHardFail,
      });
      this.#listeners.push(listener);
      await listener.start();
    };
    if (metricsAddress !== undefined) {
      // Loaded when needed: 10 MB.
      const { Metrics } = await import('./metrics/metrics.ts');
      const { metricsHandler } = await import('./metrics/metrics-handler.ts');
      const mode = this.#settings.proxyMode;
      const metrics = new Metrics({ version: readVersion(), mode, families: kernelFamilies() });
      this.#metrics = metrics;
      // Loaded when asked for: most nodes are never asked.
      const connections = async () =>
        (await import('./inspect.ts')).readConnections(this.#settings, this.#log);
      await listen('metrics', metricsAddress, metricsHandler({ metrics, mode, connections }));
    }
    const facts = () => {
      const nowMs = performance.now();
      const { updatedAtMs } = this.#health;
      return {
        families: kernelFamilies(),
        isHealthy: this.#health.isHealthy(nowMs),
        isLive: this.isLive,
        isReady: this.#health.isReady,
        isNodeEligible: this.#isNodeEligible,
        staleSince: this.staleSince,
        updatedAt: updatedAtMs === undefined ? undefined : new Date(Date.now() - nowMs + updatedAtMs),
      };
    };
    const onAnswer = (path: 'healthz' | 'livez' | 'readyz', status: number): void => {
      if (path !== 'readyz') this.#metrics?.answered(path, status);
    };
    await listen('health', healthAddress, healthHandler({ facts, now: () => new Date(), onAnswer }));
  }

  /** False only when the sync loop is stuck. */
  get isLive(): boolean {
    return this.#health.isLive(performance.now());
  }

  /** When the objects that are served were written down, while nobody has confirmed them since. */
  get staleSince(): Date | undefined {
    return this.#store.isStale ? this.#restoredOf : undefined;
  }

  /** A batch of the source, and what it changed. */
  received(events: readonly SourceEvent[], change: StoreChange): void {
    this.#metrics?.received(events, change);
    this.#metrics?.stale(this.#store.isStale);
    const isSyncDue = this.#store.isSynced && (change.services.size > 0 || change.hasNewSurroundings);
    if (isSyncDue) this.queued();
  }

  /** A sync is due. */
  queued(): void {
    this.#health.queued(performance.now());
  }

  /** The store has been given what was known at `writtenAt`, since the source does not answer. */
  restored(writtenAt: Date): void {
    this.#restoredOf = writtenAt;
    this.#metrics?.stale(true);
    this.#metrics?.checkpointTime(writtenAt);
  }

  checkpointWritten(bytes: number, writtenAt: Date): void {
    this.#metrics?.checkpointTime(writtenAt);
    this.#metrics?.checkpointBytes(bytes);
  }

  /** None could be written, or the one that was needed could not be used. */
  checkpointFailed(): void {
    this.#metrics?.checkpointFailed();
  }

  /** What is about to be written. */
  noted(frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>): void {
    this.#metrics?.withoutLocalEndpoints(this.#lacking.update(frontends));
  }

  /** A sync, or another step of the loop. */
  synced(report: SyncReport, isPending: boolean, problems: readonly Problem[]): void {
    this.#metrics?.synced(report);
    this.#metrics?.counted(this.#store.serviceCount, problems);
    if (report.cause === 'cleanup') return;
    const hasFailed = report.failures.some(({ services }) => services.length === 0);
    this.#health.stepped({ hasFailed }, isPending, performance.now());
  }

  /** The kernel was looked at and is as it should be. */
  checked(): void {
    this.#health.stepped({ hasFailed: false }, false, performance.now());
  }

  conntrackPassed(pass: { durationMs: number; deleted: number }): void {
    this.#metrics?.conntrackPassed(pass);
  }

  requested(request: SentRequest): void {
    this.#metrics?.requested(request);
  }

  eventEnded(outcome: EventOutcome): void {
    this.#metrics?.eventEnded(outcome);
  }

  async close(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.close()));
  }

  /** As kube-proxy: a node that the API server does not know is not; manifests need not name one. */
  get #isNodeEligible(): boolean {
    const { node } = this.#store;
    return node === undefined ? this.#settings.source.kind === 'manifests' : node.isEligible;
  }
}

type HttpHandler = ConstructorParameters<typeof HttpListener>[0]['handler'];
