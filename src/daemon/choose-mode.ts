// Which mode the daemon runs in, where it may fall back.

import type { Settings } from '../config/settings.ts';
import type { Log } from './log.ts';

/** The settings with the mode that is used. Throws KernelError EPERM where there is no telling. */
export async function chooseMode(settings: Settings, log: Log): Promise<Settings> {
  const { proxyMode, fallbackMode, ipvs } = settings;
  if (fallbackMode === undefined) return settings;
  const { findMissingSupport, missingSupportError } = await import('./ipvs/preflight.ts');
  const { kernelProbes } = await import('./ipvs/preflight-probes.ts');
  const missing = await findMissingSupport([ipvs.scheduler], kernelProbes);
  if (missing.length === 0) return settings;
  log.warn(
    { err: missingSupportError(missing) },
    `${proxyMode} mode cannot be used: ${fallbackMode} mode is`,
  );
  return { ...settings, proxyMode: fallbackMode, fallbackMode: undefined };
}
