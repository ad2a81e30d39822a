// Who is told of each sync: the log, health checks, Events, health and metrics; and what follows from it.

import type { Store } from '../model/store.ts';
import type { Problem } from '../model/types.ts';
import type { NodeEvent } from '../source/node-event.ts';
import type { ConntrackReconciler } from './conntrack-reconciler.ts';
import { notInForce, oddity, repaired } from './events/compose.ts';
import type { EventPublisher } from './events/event-publisher.ts';
import type { HealthCheckServers } from './health-check-servers.ts';
import type { Log } from './log.ts';
import { logSync } from './log-sync.ts';
import type { Pipeline } from './pipeline.ts';
import { ProblemLog } from './problem-log.ts';
import { releaseGarbage } from './release-garbage.ts';
import type { SyncReport } from './sync-loop.ts';
import type { Vitals } from './vitals.ts';

/** A sync of as many Services leaves garbage that is worth collecting. */
const COLD_LOAD_SERVICES = 1000;

/** Rest after such a sync before it is collected. */
const GARBAGE_DELAY_MS = 1000;

export interface SyncFeedbackOptions {
  readonly store: Store;
  readonly conntrack: ConntrackReconciler;
  readonly healthChecks: HealthCheckServers;
  readonly vitals: Vitals;
  readonly events: EventPublisher;
  readonly log: Log;
  /** What is odd about this host. */
  readonly hostProblems: () => readonly Problem[];
  /** The first clean sync of a pipeline has ended. */
  readonly onInForce: () => void;
}

export class SyncFeedback {
  readonly #options: SyncFeedbackOptions;
  readonly #problems: ProblemLog;
  /** The last one whose rules came into force. */
  #inForce: Pipeline | undefined;
  #failure: string | undefined;
  #garbageTimer: NodeJS.Timeout | undefined;

  constructor(options: SyncFeedbackOptions) {
    this.#options = options;
    this.#problems = new ProblemLog(options.log);
  }

  /** Rules were in force at some time. */
  get isInForce(): boolean {
    return this.#inForce !== undefined;
  }

  /** Of what the last sync could not do, the first reason. */
  get failure(): string | undefined {
    return this.#failure;
  }

  told(pipeline: Pipeline, report: SyncReport): void {
    const { store, conntrack, healthChecks, vitals, events, log, hostProblems } = this.#options;
    logSync(log, report);
    const present = [...store.problems(), ...pipeline.problems(), ...conntrack.problems(), ...hostProblems()];
    for (const problem of this.#problems.show(present)) events.tell(oddity(problem));
    for (const event of eventsOf(report, pipeline.settings.proxyMode)) events.tell(event);
    vitals.synced(report, pipeline.isPending, present);
    if (report.changedServices >= COLD_LOAD_SERVICES) this.#collectGarbage();
    if (report.cause === 'cleanup') return;
    healthChecks.setHealthy(report.failures.length === 0);
    this.#failure = report.failures[0]?.error.message;
    if (this.#failure === undefined && this.#inForce !== pipeline) this.#comeIntoForce(pipeline, report);
  }

  close(): void {
    clearTimeout(this.#garbageTimer);
  }

  #comeIntoForce(pipeline: Pipeline, { writes }: SyncReport): void {
    const { store, log, onInForce } = this.#options;
    this.#inForce = pipeline;
    const sinceStartMs = Math.round(process.uptime() * 1000);
    log.info({ services: store.serviceCount, writes, sinceStartMs }, 'rules in force');
    onInForce();
  }

  #collectGarbage(): void {
    clearTimeout(this.#garbageTimer);
    this.#garbageTimer = setTimeout(() => void releaseGarbage(), GARBAGE_DELAY_MS);
  }
}

/** What of a sync an operator must know. */
function eventsOf(report: SyncReport, mode: string): NodeEvent[] {
  const general = report.failures.filter(({ services }) => services.length === 0);
  if (general.length > 0) return general.map(({ error }) => notInForce(error.message));
  return report.cause === 'drift' && report.writes > 0 ? [repaired(mode)] : [];
}
