// What the daemon tells its metrics, in its own terms.
//
// kube-proxy runs one proxier per family. Here one sync writes both families, so what is labelled `ip_family` is recorded
// for each of them with the same value; counters of things are recorded under one family only, so that sums stay right.

import { collectDefaultMetrics, Registry } from 'prom-client';
import type { IpFamily } from '../../model/ip.ts';
import type { SourceEvent } from '../../model/source-event.ts';
import type { StoreChange } from '../../model/store.ts';
import type { Problem, ServiceKey } from '../../model/types.ts';
import type { SentRequest } from '../../source/source.ts';
import type { LackingCount } from '../../vip/lacking-local.ts';
import type { EventOutcome } from '../events/event-publisher.ts';
import type { ProbeOutcome } from '../probe/probe-health.ts';
import type { SyncReport } from '../sync-loop.ts';
import { type DeclaredMetrics, declareMetrics } from './declare.ts';
import { declareFailures } from './declare-failures.ts';
import { declareProbe } from './declare-probe.ts';
import { declareTls } from './declare-tls.ts';

export interface MetricsOptions {
  readonly version: string;
  readonly mode: string;
  readonly families: readonly IpFamily[];
  /** Wall clock, seconds since the epoch. */
  readonly nowSeconds?: () => number;
}

/** Beyond this many at once, while syncs fail, latencies of the rest are not recorded. */
const MAX_TRIGGERS = 10_000;

export class Metrics {
  readonly #registry = new Registry();
  readonly #families: readonly string[];
  readonly #nowSeconds: () => number;
  readonly #m: DeclaredMetrics;
  #failed: ReturnType<typeof declareFailures>;
  /** When endpoints changed in the cluster (seconds since the epoch) whose rules are not in force yet. */
  #triggers: number[] = [];
  readonly #startedAtSeconds: number;
  readonly #version: string;
  #tls: ReturnType<typeof declareTls> | undefined;
  #probe: ReturnType<typeof declareProbe> | undefined;

  constructor({ version, mode, families, nowSeconds = () => Date.now() / 1000 }: MetricsOptions) {
    this.#families = families.map((family) => `IPv${family}`);
    this.#nowSeconds = nowSeconds;
    this.#startedAtSeconds = nowSeconds();
    collectDefaultMetrics({ register: this.#registry });
    this.#m = declareMetrics(this.#registry);
    this.#version = version;
    this.#failed = declareFailures(this.#registry, mode, this.#families);
    this.#m.info.set({ version, mode }, 1);
    for (const result of ['applied', 'refused']) this.#m.configReloads.inc({ result }, 0);
    this.#m.configReloadSuccess.set(1);
    this.#m.configReloadTime.set(this.#startedAtSeconds);
    // What never happened is 0 and not missing: an alert on a rate needs that.
    for (const ip_family of this.#families) {
      this.#m.conntrackDeleted.inc({ ip_family }, 0);
      for (const traffic_policy of ['internal', 'external']) {
        this.#m.noLocalEndpoints.set({ traffic_policy, ip_family }, 0);
      }
    }
    for (const outcome of ['written', 'suppressed', 'failed'] satisfies EventOutcome[]) {
      this.#m.events.inc({ outcome }, 0);
    }
    for (const code of ['200', '503']) {
      this.#m.healthz.inc({ code }, 0);
      this.#m.livez.inc({ code }, 0);
    }
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The text exposition format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /**
   * A batch of the source, before it is synced, and what it changed. What changes nothing is counted, and no more: no sync will
   * follow it, and the latencies of a second listing would be those of its age.
   */
  received(events: readonly SourceEvent[], { services: changed, hasNewSurroundings }: StoreChange): void {
    let services = 0;
    let slices = 0;
    for (const event of events) {
      if (event.type !== 'upsert' && event.type !== 'delete') continue;
      if (event.kind === 'Service') services++;
      if (event.kind !== 'EndpointSlice') continue;
      slices++;
      if (event.type === 'delete' || !changed.has(serviceKeyOf(event.object))) continue;
      const trigger = triggerTimeSeconds(event.object);
      // What changed before this process ran is not its latency.
      const isNew = trigger !== undefined && trigger > this.#startedAtSeconds;
      if (isNew && this.#triggers.length < MAX_TRIGGERS) this.#triggers.push(trigger);
    }
    this.#m.serviceChanges.inc(services);
    this.#m.endpointChanges.inc(slices);
    if (changed.size === 0 && !hasNewSurroundings) return;
    this.#m.serviceChangesPending.inc(services);
    this.#m.endpointChangesPending.inc(slices);
    this.#forFamilies((ip_family) => this.#m.lastQueued.set({ ip_family }, this.#nowSeconds()));
  }

  synced(report: SyncReport): void {
    const { cause, writes, transactions, durationMs, isFull, failures } = report;
    if (writes > 0) {
      this.#m.writes.inc({ cause }, writes);
      this.#m.transactionSize.observe(writes);
    }
    this.#m.transactions.inc(transactions);
    if (failures.length > 0) this.#failed({ isFull, isCleanup: cause === 'cleanup' });
    if (cause === 'cleanup') return;
    if (cause === 'drift' && writes > 0) {
      this.#m.driftRepaired.inc();
      this.#m.driftObjects.inc(writes);
    }
    const ofKind = isFull ? this.#m.fullSyncDuration : this.#m.partialSyncDuration;
    this.#forFamilies((ip_family) => {
      this.#m.syncDuration.observe({ ip_family }, durationMs / 1000);
      ofKind.observe({ ip_family }, durationMs / 1000);
    });
    if (failures.length > 0) return;
    const now = this.#nowSeconds();
    this.#m.serviceChangesPending.set(0);
    this.#m.endpointChangesPending.set(0);
    this.#forFamilies((ip_family) => {
      this.#m.lastSync.set({ ip_family }, now);
      // Clocks of nodes differ, and jump.
      for (const trigger of this.#triggers) {
        this.#m.programming.observe({ ip_family }, Math.max(now - trigger, 0));
      }
    });
    this.#triggers = [];
  }

  /** A pass over connection tracking. */
  conntrackPassed({ durationMs, deleted }: { durationMs: number; deleted: number }): void {
    this.#forFamilies((ip_family) => this.#m.conntrackDuration.observe({ ip_family }, durationMs / 1000));
    const [ip_family] = this.#families;
    if (ip_family !== undefined) this.#m.conntrackDeleted.inc({ ip_family }, deleted);
  }

  withoutLocalEndpoints(counts: readonly LackingCount[]): void {
    for (const { family, policy, count } of counts) {
      const ip_family = `IPv${family}`;
      if (!this.#families.includes(ip_family)) continue;
      this.#m.noLocalEndpoints.set({ traffic_policy: policy, ip_family }, count);
    }
  }

  /** The mode that is in use. */
  mode(mode: string): void {
    this.#failed = declareFailures(this.#registry, mode, this.#families);
    this.#m.info.reset();
    this.#m.info.set({ version: this.#version, mode }, 1);
  }

  /** A changed configuration was read. */
  reloaded(result: 'applied' | 'refused'): void {
    this.#m.configReloads.inc({ result });
    this.#m.configReloadSuccess.set(result === 'applied' ? 1 : 0);
    if (result === 'applied') this.#m.configReloadTime.set(this.#nowSeconds());
  }

  /** The certificate of the metrics server ends then; undefined when it has none. */
  certificateUntil(expiresAt: Date | undefined): void {
    if (expiresAt === undefined) {
      this.#tls?.forget();
      this.#tls = undefined;
      return;
    }
    this.#tls ??= declareTls(this.#registry);
    this.#tls.expiry.set(expiresAt.getTime() / 1000);
  }

  /** A connection of the probe was tried. */
  probed(outcome: ProbeOutcome, durationMs: number, isPassing: boolean): void {
    this.#probe ??= declareProbe(this.#registry);
    this.#probe.passing.set(isPassing ? 1 : 0);
    this.#probe.probes.inc({ outcome });
    if (outcome === 'connected') this.#probe.duration.observe(durationMs / 1000);
  }

  /** Nothing is probed any more. */
  unprobed(): void {
    this.#probe?.forget();
    this.#probe = undefined;
  }

  /** Changed credentials of the metrics server were read. */
  credentialsReloaded(result: 'applied' | 'refused'): void {
    this.#tls?.reloads.inc({ result });
  }

  answered(path: 'healthz' | 'livez', status: number): void {
    this.#m[path].inc({ code: String(status) });
  }

  /** An answer of the API server, or a request without one. */
  requested({ method, host, code, durationMs }: SentRequest): void {
    this.#m.requests.inc({ code, method, host });
    this.#m.requestDuration.observe({ verb: method, host }, durationMs / 1000);
  }

  /** What became of something that was to be told in an Event. */
  eventEnded(outcome: EventOutcome): void {
    this.#m.events.inc({ outcome });
  }

  /** Whether the objects served are restored ones that no API server has confirmed. */
  stale(isStale: boolean): void {
    this.#m.stale.set(isStale ? 1 : 0);
  }

  checkpointTime(writtenAt: Date): void {
    this.#m.checkpointTime.set(writtenAt.getTime() / 1000);
  }

  checkpointBytes(bytes: number): void {
    this.#m.checkpointBytes.set(bytes);
  }

  checkpointFailed(): void {
    this.#m.checkpointFailures.inc();
  }

  /** What is known now. */
  counted(services: number, problems: readonly Problem[]): void {
    this.#m.services.set(services);
    this.#m.problems.reset();
    for (const { code } of problems) this.#m.problems.inc({ code });
  }

  #forFamilies(record: (ip_family: string) => void): void {
    for (const family of this.#families) record(family);
  }
}

/** Written by the endpoint slice controller: when the change that led to this version of the slice happened. */
const TRIGGER_ANNOTATION = 'endpoints.kubernetes.io/last-change-trigger-time';

/** The Service that a raw slice names; what is no slice names none that exists. */
function serviceKeyOf(object: unknown): ServiceKey {
  const { metadata } = (object ?? {}) as {
    metadata?: { namespace?: unknown; labels?: Record<string, unknown> | null } | null;
  };
  return `${metadata?.namespace}/${metadata?.labels?.['kubernetes.io/service-name']}` as ServiceKey;
}

/** Seconds since the epoch; undefined when the object does not say. Nothing about the object is trusted. */
function triggerTimeSeconds(object: unknown): number | undefined {
  const text = (
    object as { metadata?: { annotations?: Record<string, unknown> | null } | null } | null | undefined
  )?.metadata?.annotations?.[TRIGGER_ANNOTATION];
  const ms = typeof text === 'string' ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms / 1000;
}
