// What happens once rules are in force: the parts together, and health checks of what is not in force yet.

import { expect, test } from 'vitest';
import { allOf, answerHealthChecks } from '../../src/daemon/after-sync.ts';
import type { SyncFailure } from '../../src/daemon/backend.ts';
import { HealthCheckServers } from '../../src/daemon/health-check-servers.ts';
import { createLog } from '../../src/daemon/log.ts';
import type { AfterSync } from '../../src/daemon/sync-loop.ts';
import { Store } from '../../src/model/store.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import type { HealthCheck } from '../../src/vip/health-checks.ts';
import { upserts } from '../support/in-process-proxy.ts';
import { service } from '../support/manifests.ts';

const log = createLog({
  format: 'json',
  verbosity: 0,
  isTty: false,
  destination: { write: () => undefined },
});
const NOBODY: ReadonlySet<ServiceKey> = new Set();

function part(failure: string | undefined, dueMs: number | undefined, calls: string[]): AfterSync {
  return {
    note: (_, nowMs) => void calls.push(`note ${nowMs}`),
    distrust: (nowMs) => void calls.push(`distrust ${nowMs}`),
    async settle(nowMs, refused): Promise<SyncFailure[]> {
      calls.push(`settle ${[nowMs, ...refused].join(' ')}`);
      return failure === undefined ? [] : [{ error: new Error(failure), services: [] }];
    },
    nextDueMs: (afterMs) => (dueMs !== undefined && dueMs > afterMs ? dueMs : undefined),
  };
}

test('several parts: each is told everything, whatever becomes of the others, and the first to be due counts', async () => {
  const calls: string[] = [];
  const all = allOf(part('one', 30, calls), part(undefined, undefined, calls), part('two', 20, calls));
  all.note({ frontends: new Map(), surroundings: undefined }, 1);
  all.distrust(2);
  const failures = await all.settle(3, new Set(['default/a' as ServiceKey]));
  expect(failures.map(({ error }) => error.message)).toEqual(['one', 'two']);
  const thrice = (call: string): string[] => [call, call, call];
  expect(calls).toEqual([...thrice('note 1'), ...thrice('distrust 2'), ...thrice('settle 3 default/a')]);
  expect([0, 20, 30].map((afterMs) => all.nextDueMs(afterMs))).toEqual([20, 30, undefined]);
});

test('the health checks of a Service that is not in force are as they were', async () => {
  const updates: string[][] = [];
  class Recorded extends HealthCheckServers {
    override update(checks: ReadonlyMap<ServiceKey, readonly HealthCheck[]>): void {
      updates.push([...checks.keys()]);
    }
  }
  const store = new Store();
  const objects = ['a', 'b'].map((name, i) =>
    service(name, { clusterIps: [`10.96.0.${i + 1}`], ports: [{ port: 80 }] }),
  );
  store.apply(upserts(...objects));
  const answering = answerHealthChecks(new Recorded(log), store, 'node-1');
  const [a, b] = ['default/a', 'default/b'] as [ServiceKey, ServiceKey];
  answering.note({ frontends: new Map([a, b].map((key) => [key, []])), surroundings: undefined }, 0);
  expect(await answering.settle(0, new Set([a]))).toEqual([]);
  await answering.settle(1, NOBODY);
  await answering.settle(2, NOBODY);
  expect(updates).toEqual([[b], [a], []]);
});
