// What has to happen outside the rules once they are in force: stale flows forgotten, health checks answered.

import type { Store } from '../model/store.ts';
import type { ServiceKey } from '../model/types.ts';
import { buildHealthChecks, type HealthCheck } from '../vip/health-checks.ts';
import type { LivePortals, SyncFailure } from './backend.ts';
import type { ConntrackReconciler } from './conntrack-reconciler.ts';
import type { HealthCheckServers } from './health-check-servers.ts';
import type { Log } from './log.ts';
import type { Stage } from './stage.ts';
import type { AfterSync } from './sync-loop.ts';
import type { Vitals } from './vitals.ts';

/** Several such parts as one; each is settled whatever becomes of the others. */
export function allOf(...parts: readonly AfterSync[]): AfterSync {
  return {
    note: (update, nowMs) => {
      for (const part of parts) part.note(update, nowMs);
    },
    distrust: (nowMs) => {
      for (const part of parts) part.distrust(nowMs);
    },
    async settle(nowMs, refused) {
      const failures: SyncFailure[] = [];
      for (const part of parts) failures.push(...(await part.settle(nowMs, refused)));
      return failures;
    },
    nextDueMs(afterMs) {
      const times = parts.flatMap((part) => part.nextDueMs(afterMs) ?? []);
      return times.length === 0 ? undefined : Math.min(...times);
    },
  };
}

/** Whoever the rules before have led to this process is done with before flows there are deleted. */
export function leaveFormer(stage: Pick<Stage, 'leaveFormer'>): AfterSync {
  return {
    note: () => undefined,
    distrust: () => undefined,
    async settle(_, refused) {
      if (refused.size === 0) await stage.leaveFormer();
      return [];
    },
    nextDueMs: () => undefined,
  };
}

/**
 * Flows to endpoints that no longer serve are deleted: conntrack would keep sending packets there. With `portals` that goes for
 * proxies: where those are is known once the update is written.
 */
export function forgetStaleFlows(
  conntrack: ConntrackReconciler,
  log: Log,
  onPass: (pass: { durationMs: number; deleted: number }) => void = () => undefined,
  portals?: Pick<LivePortals, 'takeMoved' | 'endsOf' | 'resetIf'>,
): AfterSync {
  return {
    note: ({ frontends, surroundings }, nowMs) =>
      conntrack.note({ frontends: portals === undefined ? frontends : new Map(), surroundings }, nowMs),
    distrust: (nowMs) => conntrack.distrust(nowMs),
    async settle(nowMs, refused) {
      const startMs = performance.now();
      if (portals !== undefined) {
        const frontends = portals.takeMoved();
        conntrack.note({ frontends, surroundings: undefined }, nowMs, (one) => portals.endsOf(one));
      }
      const { deleted, failure, isIdle } = await conntrack.reconcile(nowMs, refused, portals?.resetIf);
      if (isIdle !== true) onPass({ durationMs: performance.now() - startMs, deleted });
      if (deleted > 0) log.debug({ deleted }, 'stale flows deleted');
      return failure === undefined ? [] : [{ error: failure, services: [] }];
    },
    nextDueMs: (afterMs) => conntrack.nextDueMs(afterMs),
  };
}

/** healthCheckNodePort servers answer what is in force, never what is only wanted. */
export function answerHealthChecks(servers: HealthCheckServers, store: Store, nodeName: string): AfterSync {
  const noted = new Map<ServiceKey, readonly HealthCheck[]>();
  return {
    note: ({ frontends }) => {
      for (const key of frontends.keys()) {
        const service = store.service(key);
        noted.set(key, service === undefined ? [] : buildHealthChecks(service, store.slices(key), nodeName));
      }
    },
    distrust: () => undefined,
    async settle(_, refused) {
      const inForce = new Map([...noted].filter(([key]) => !refused.has(key)));
      servers.update(inForce);
      for (const key of inForce.keys()) noted.delete(key);
      return [];
    },
    nextDueMs: () => undefined,
  };
}

/** Counts what an update says. */
export function countForMetrics(vitals: Pick<Vitals, 'noted'>): AfterSync {
  return {
    note: ({ frontends }) => vitals.noted(frontends),
    distrust: () => undefined,
    settle: async () => [],
    nextDueMs: () => undefined,
  };
}
