// What one-shot commands need of a mode: its rules as they are, what a daemon would change of them, and their removal.

import type { Settings } from '../config/settings.ts';
import type { Cidr } from '../model/ip.ts';
import type { ConnectionCount } from '../vip/connection-counts.ts';
import type { VipTableRow } from '../vip/table-row.ts';
import type { BackendUpdate } from './backend.ts';

/** All of its methods throw KernelError or another KproxyError for what the kernel, or a program, refuses. */
export interface Inspector {
  /** Whether there is something that `readVipTable` would read. */
  isPresent(): Promise<boolean>;
  /** The virtual-IP table as the kernel holds it; undefined when it holds nothing of this mode. */
  readVipTable(): Promise<VipTableRow[] | undefined>;
  /** Connections so far; undefined where the kernel holds nothing of this mode. Missing where it does not count them. */
  readConnections?(): Promise<ConnectionCount[] | undefined>;
  /** One line for each thing that a daemon just started would write; `wanted` has all Services, and surroundings. */
  planDiff(settings: Settings, wanted: BackendUpdate): Promise<string[]>;
  cleanUp(options: CleanupOptions): Promise<CleanupReport>;
  /**
   * As `cleanUp`, but for a mode that has taken over: what open connections need stays for as long as they take. Undefined when
   * `signal` ended that, and not all is removed. Missing where connections need nothing.
   */
  leave?(options: LeaveOptions): Promise<CleanupReport | undefined>;
  close(): void;
}

export interface LeaveOptions extends Pick<CleanupOptions, 'excludedCidrs'> {
  /** The longest that connections may take. */
  readonly drainTimeoutMs: number;
  readonly signal: AbortSignal;
}

export interface CleanupOptions {
  /** Also what a kube-proxy made in this mode, whether it still runs or not. */
  readonly includesKubeProxy: boolean;
  /** Networks in which virtual servers are somebody else's (`--ipvs-exclude-cidrs`). */
  readonly excludedCidrs: readonly Cidr[];
}

/** In words for humans. */
export interface CleanupReport {
  readonly removed: readonly string[];
  /** What looks as if it could be removed, and why it was not. */
  readonly kept: readonly string[];
}
