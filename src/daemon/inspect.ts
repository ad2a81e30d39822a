// One-shot looks at the kernel: the table as it is, what a daemon would change, and taking away what is ours. Each mode
// contributes its Inspector.

import { type IptablesBackendChoice, PROXY_MODES, type ProxyMode } from '../config/flags.ts';
import type { Settings } from '../config/settings.ts';
import { KproxyError, KubeError } from '../errors.ts';
import { Store } from '../model/store.ts';
import type { Problem } from '../model/types.ts';
import type { ConnectionCount } from '../vip/connection-counts.ts';
import type { VipTableRow } from '../vip/table-row.ts';
import { VipTable } from '../vip/vip-table.ts';
import { chooseMode } from './choose-mode.ts';
import type { CleanupOptions, CleanupReport, Inspector } from './inspector.ts';
import type { Log } from './log.ts';
import { refuseBesideDaemon } from './node-lock.ts';
import { openSource } from './open-source.ts';
import { frontendSettings, surroundingsOf } from './pipeline.ts';

/** How long `diff` waits for a source to be listed. */
const LIST_TIMEOUT_MS = 60_000;

export interface InspectOptions {
  readonly iptablesBackend: IptablesBackendChoice;
}

/** A virtual-IP table that the kernel holds. */
export interface FoundTable {
  readonly mode: ProxyMode;
  readonly rows: readonly VipTableRow[];
  /** Modes that were not asked for and have rules, too. */
  readonly others: readonly ProxyMode[];
}

export interface Diff {
  readonly lines: readonly string[];
  readonly problems: readonly Problem[];
}

export interface CleanupResult extends CleanupReport {
  /** Why something may be left, one per mode. */
  readonly failures: readonly KproxyError[];
}

/**
 * The table of the mode asked for, else of the first that has one; undefined when there is none. Throws KproxyError when no
 * table was found and some mode could not be looked at.
 */
export async function readVipTable(
  mode: ProxyMode | undefined,
  options: InspectOptions,
  log: Log,
): Promise<FoundTable | undefined> {
  let found: Pick<FoundTable, 'mode' | 'rows'> | undefined;
  const others: ProxyMode[] = [];
  const failures = await visit(
    mode === undefined ? PROXY_MODES : [mode],
    options,
    log,
    async (inspector, one) => {
      if (found === undefined) {
        const rows = await inspector.readVipTable();
        if (rows !== undefined) found = { mode: one, rows };
      } else if (await inspector.isPresent()) others.push(one);
    },
  );
  if (found === undefined && failures[0] !== undefined) throw failures[0];
  return found && { ...found, others };
}

/** What the kernel has counted for the mode of these settings; undefined where it does not. Throws KproxyError. */
export async function readConnections(
  { proxyMode, iptables }: Pick<Settings, 'proxyMode' | 'iptables'>,
  log: Log,
): Promise<ConnectionCount[] | undefined> {
  const inspector = await openInspector(proxyMode, { iptablesBackend: iptables.backend }, log);
  try {
    return await inspector.readConnections?.();
  } finally {
    inspector.close();
  }
}

/** What a daemon with these settings would write now. Throws KproxyError. */
export async function planDiff(asked: Settings, log: Log): Promise<Diff> {
  const settings = await chooseMode(asked, log);
  const store = await listOnce(settings, log);
  const table = new VipTable(frontendSettings(settings));
  const frontends = table.refresh(store, store.serviceKeys());
  const wanted = { frontends, surroundings: surroundingsOf(settings, store, table) };
  const inspector = await openInspector(
    settings.proxyMode,
    { iptablesBackend: settings.iptables.backend },
    log,
  );
  try {
    const lines = await inspector.planDiff(settings, wanted);
    return { lines, problems: [...store.problems(), ...table.problems()] };
  } finally {
    inspector.close();
  }
}

/**
 * Removes what is ours of every mode: what one mode refuses is not lost to the others. Throws AlreadyRunningError beside a daemon,
 * which would write it again.
 */
export async function cleanUp(
  { includesKubeProxy, excludedCidrs, ...options }: InspectOptions & CleanupOptions,
  log: Log,
): Promise<CleanupResult> {
  await refuseBesideDaemon();
  const reports: CleanupReport[] = [];
  const failures = await visit(PROXY_MODES, options, log, async (inspector) => {
    reports.push(await inspector.cleanUp({ includesKubeProxy, excludedCidrs }));
  });
  return {
    removed: reports.flatMap(({ removed }) => removed),
    kept: reports.flatMap(({ kept }) => kept),
    failures,
  };
}

/**
 * Removes what an earlier daemon of another mode has left; `signal` ends the wait for open connections. What cannot be removed is a
 * warning: it goes on serving Services as they were then.
 */
export async function cleanUpOtherModes(
  { proxyMode, iptables, ipvs: { drainTimeoutMs, excludedCidrs } }: Settings,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const others = PROXY_MODES.filter((mode) => mode !== proxyMode);
  await visit(others, { iptablesBackend: iptables.backend }, log, async (inspector, mode) => {
    if (!(await inspector.isPresent())) return;
    try {
      const report = await (inspector.leave === undefined
        ? inspector.cleanUp({ includesKubeProxy: false, excludedCidrs })
        : inspector.leave({ drainTimeoutMs, excludedCidrs, signal }));
      if (report !== undefined && report.removed.length > 0)
        log.info({ mode, removed: report.removed.length }, 'removed the rules of another mode');
    } catch (error) {
      if (!(error instanceof KproxyError)) throw error;
      log.warn({ err: error, mode }, 'rules of another mode could not be removed');
    }
  });
}

/** One mode after the other; returns why some could not be used, at most one reason each. */
async function visit(
  modes: readonly ProxyMode[],
  options: InspectOptions,
  log: Log,
  use: (inspector: Inspector, mode: ProxyMode) => Promise<void>,
): Promise<KproxyError[]> {
  const failures: KproxyError[] = [];
  for (const mode of modes) {
    try {
      const inspector = await openInspector(mode, options, log);
      try {
        await use(inspector, mode);
      } finally {
        inspector.close();
      }
    } catch (error) {
      if (!(error instanceof KproxyError)) throw error;
      log.debug({ err: error, mode }, 'cannot be inspected');
      failures.push(error);
    }
  }
  return failures;
}

async function openInspector(
  mode: ProxyMode,
  { iptablesBackend }: InspectOptions,
  log: Log,
): Promise<Inspector> {
  switch (mode) {
    case 'nftables':
      return new (await import('./inspect-nftables.ts')).NftablesInspector();
    case 'iptables':
      return (await import('./iptables/inspect-iptables.ts')).IptablesInspector.open(iptablesBackend, log);
    case 'ipvs':
      return new (await import('./ipvs/inspect-ipvs.ts')).IpvsInspector();
    case 'userspace':
      return new (await import('./userspace/inspect-userspace.ts')).UserspaceInspector();
  }
}

/** Reads the source until all of it is listed. Throws ConfigError, KubeError. */
async function listOnce(settings: Settings, log: Log): Promise<Store> {
  const store = new Store();
  const source = await openSource(settings, log);
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => {
        reject(new KubeError(`${source.description}: not listed within ${LIST_TIMEOUT_MS / 1000} s`));
      }, LIST_TIMEOUT_MS);
      source
        .start((events) => {
          store.apply(events);
          if (store.isSynced && store.isListed('Node') && store.isListed('ServiceCIDR')) resolve();
        })
        .catch(reject);
    });
    return store;
  } finally {
    clearTimeout(timer);
    await source.stop();
  }
}
