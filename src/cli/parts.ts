// The parts of the program that commands drive. Each is loaded when first used: `--help` must not pay for a Kubernetes client.

import type { ProxyMode } from '../config/flags.ts';
import type { Settings } from '../config/settings.ts';
import type { CleanupResult, Diff, FoundTable, InspectOptions } from '../daemon/inspect.ts';
import type { CleanupOptions } from '../daemon/inspector.ts';
import type { Log, TunableLog } from '../daemon/log.ts';
import type { RunOptions } from '../daemon/run.ts';

export interface Parts {
  /** Runs until stopped by a signal; the exit code. Throws KproxyError. */
  runDaemon(settings: Settings, log: TunableLog, options: RunOptions): Promise<number>;
  /** Sets this host up for a daemon with these settings; the exit code. Throws KproxyError. */
  initNode(settings: Settings, log: Log): Promise<number>;
  /** What the kernel holds of a mode, or of the first that it holds something of; undefined when it holds nothing. */
  readVipTable(
    mode: ProxyMode | undefined,
    options: InspectOptions,
    log: Log,
  ): Promise<FoundTable | undefined>;
  /** What a daemon with these settings would write, as text. */
  planDiff(settings: Settings, log: Log): Promise<Diff>;
  /** Removes exactly what is ours and names it; nothing the second time. */
  cleanUp(options: InspectOptions & CleanupOptions, log: Log): Promise<CleanupResult>;
}

export const parts: Parts = {
  initNode: async (settings, log) => (await import('../daemon/host/prepare-host.ts')).initNode(settings, log),
  runDaemon: async (...args) => (await import('../daemon/run.ts')).runDaemon(...args),
  readVipTable: async (...args) => (await import('../daemon/inspect.ts')).readVipTable(...args),
  planDiff: async (...args) => (await import('../daemon/inspect.ts')).planDiff(...args),
  cleanUp: async (...args) => (await import('../daemon/inspect.ts')).cleanUp(...args),
};
