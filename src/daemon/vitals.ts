// How the daemon does: told by its parts, shown by its servers. What nobody listens to costs next to nothing.

import type { Settings } from '../config/settings.ts';
import type { SourceEvent } from '../model/source-event.ts';
import type { Store, StoreChange } from '../model/store.ts';
import type { Problem, ServiceKey } from '../model/types.ts';
import type { SentRequest } from '../source/source.ts';
import type { Frontend } from '../vip/frontend.ts';
import { LackingLocal } from '../vip/lacking-local.ts';
import type { EventOutcome } from './events/event-publisher.ts';
import type { HealthFacts } from './health/health-answer.ts';
import { SyncHealth } from './health/sync-health.ts';
import { kernelFamilies } from './interfaces.ts';
import type { Metrics } from './metrics/metrics.ts';
import type { ProbeFacts } from './probe/probe-health.ts';
import type { SyncReport } from './sync-loop.ts';

export class Vitals {
  readonly #sourceKind: Settings['source']['kind'];
  readonly #store: Store;
  readonly #health: SyncHealth;
  readonly #lacking = new LackingLocal();
  #metrics: Metrics | undefined;
  #probe: () => ProbeFacts | undefined = () => undefined;
  /** When the objects that were restored were written down. */
  #restoredOf: Date | undefined;

  constructor({ source, syncPeriodMs }: Settings, store: Store) {
    this.#sourceKind = source.kind;
    this.#store = store;
    this.#health = new SyncHealth(syncPeriodMs, performance.now());
  }

  /** What is told from now on is counted there, too. */
  countIn(metrics: Metrics): void {
    this.#metrics = metrics;
  }

  get metrics(): Metrics | undefined {
    return this.#metrics;
  }

  /** Other settings are in force. */
  apply({ syncPeriodMs, proxyMode }: Settings): void {
    this.#health.retime(syncPeriodMs);
    this.#metrics?.mode(proxyMode);
  }

  /** Readiness depends on it, too. */
  heed(probe: () => ProbeFacts | undefined): void {
    this.#probe = probe;
  }

  /** What health servers answer by. */
  healthFacts(): HealthFacts {
    const nowMs = performance.now();
    const { updatedAtMs } = this.#health;
    return {
      families: kernelFamilies(),
      isHealthy: this.#health.isHealthy(nowMs),
      isLive: this.isLive,
      isReady: this.#health.isReady,
      isNodeEligible: this.#isNodeEligible,
      staleSince: this.staleSince,
      probe: this.#probe(),
      updatedAt: updatedAtMs === undefined ? undefined : new Date(Date.now() - nowMs + updatedAtMs),
    };
  }

  /** A health server has answered. */
  answered(path: 'healthz' | 'livez' | 'readyz', status: number): void {
    if (path !== 'readyz') this.#metrics?.answered(path, status);
  }

  /** False only when the sync loop is stuck. */
  get isLive(): boolean {
    return this.#health.isLive(performance.now());
  }

  /** When the objects that are served were written down, while nobody has confirmed them since. */
  get staleSince(): Date | undefined {
    return this.#store.isStale ? this.#restoredOf : undefined;
  }

  /** A changed configuration was read. */
  reloaded(result: 'applied' | 'refused'): void {
    this.#metrics?.reloaded(result);
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

  /** As kube-proxy: a node that the API server does not know is not; manifests need not name one. */
  get #isNodeEligible(): boolean {
    const { node } = this.#store;
    return node === undefined ? this.#sourceKind === 'manifests' : node.isEligible;
  }
}
