// A sync, in the log.

import type { Log } from './log.ts';
import type { SyncReport } from './sync-loop.ts';

export function logSync(log: Log, report: SyncReport): void {
  const { failures, durationMs, ...counts } = report;
  const fields = { ...counts, durationMs: Math.round(durationMs * 1000) / 1000 };
  for (const { error, services } of failures) log.error({ err: error, services }, 'not in force');
  if (failures.length > 0) log.warn(fields, 'sync failed, will be retried');
  else if (report.cause === 'drift' && report.writes > 0)
    log.warn(fields, 'repaired what somebody else had changed');
  else if (report.writes > 0) log.debug(fields, 'synced');
  else log.trace(fields, 'nothing to write');
}
