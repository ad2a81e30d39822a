// The parts of the program that commands drive. Each is loaded when first used: `--help` must not pay for a Kubernetes client.

import type { Settings } from '../config/settings.ts';
import type { Log } from '../daemon/log.ts';
import type { Problem } from '../model/types.ts';
import type { VipTableRow } from '../vip/table-row.ts';

export interface Parts {
  /** Runs until stopped by a signal; the exit code. Throws KproxyError. */
  runDaemon(settings: Settings, log: Log): Promise<number>;
  /** What the kernel holds. Throws KernelError, ENOENT when there is no table of ours. */
  readVipTable(): Promise<VipTableRow[]>;
  /** What a daemon with these settings would write, as text; `writes` counts the operations. */
  planDiff(settings: Settings, log: Log): Promise<{ lines: string[]; writes: number; problems: Problem[] }>;
  /** Removes exactly what is ours and names it; nothing the second time. */
  cleanup(log: Log): Promise<string[]>;
}

export const parts: Parts = {
  runDaemon: async (settings, log) => (await import('../daemon/run.ts')).runDaemon(settings, log),
  readVipTable: async () => (await import('../daemon/inspect.ts')).readVipTable(),
  planDiff: async (settings, log) => (await import('../daemon/inspect.ts')).planDiff(settings, log),
  cleanup: async (log) => (await import('../daemon/inspect.ts')).cleanup(log),
};
