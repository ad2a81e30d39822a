// Whether this kernel can do ipvs mode, before anything of it is programmed: what is missing is told at once and with what to
// load. The kernel loads most modules by itself when it is asked for what they do; where it has no modprobe of its own to
// run, as for a module that only this process's file system has, ours is tried.

import { execFile } from 'node:child_process';
import { KernelError, KproxyError } from '../../errors.ts';
import { isScheduler, type Scheduler } from '../../netlink/ipvs/schedulers.ts';

/** Code of the error that tells what is missing. */
export const IPVS_MISSING = 'IPVS_MISSING';

/** Each asks the kernel, and rejects with KernelError unless it can. */
export interface PreflightProbes {
  ipvs(): Promise<void>;
  scheduler(name: string): Promise<void>;
  dummyDevice(): Promise<void>;
  nftables(): Promise<void>;
  connectionTracking(): Promise<void>;
}

/** Runs modprobe for one of the modules named here; resolves with why that failed, in its own words. */
export type LoadModule = (module: string) => Promise<string | undefined>;

export interface MissingSupport {
  /** `IPVS`, `the IPVS scheduler wlc` */
  readonly what: string;
  /** undefined where it is of no module that is known. */
  readonly module: string | undefined;
  /** What the kernel said. */
  readonly error: KernelError;
  /** What modprobe said. */
  readonly loading: string | undefined;
}

interface Part {
  readonly what: string;
  readonly module: string | undefined;
  /** Without IPVS there is no asking for it. */
  readonly isOfIpvs?: true;
  probe(): Promise<void>;
}

const MODPROBE_TIMEOUT_MS = 10_000;

const IPVS = 'IPVS';

/** A daemon's path may lack the folder that modprobe is in. */
const MODPROBE_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * What the kernel lacks for ipvs mode with these schedulers; empty when it has everything. Rejects with KernelError EPERM
 * without CAP_NET_ADMIN, when there is no telling.
 */
export async function findMissingSupport(
  schedulers: readonly string[],
  probes: PreflightProbes,
  loadModule: LoadModule = modprobe,
): Promise<MissingSupport[]> {
  const found: MissingSupport[] = [];
  for (const part of partsOf(schedulers, probes)) {
    if (part.isOfIpvs && found.some(({ what }) => what === IPVS)) continue;
    const missing = await check(part, loadModule);
    if (missing !== undefined) found.push(missing);
  }
  return found;
}

function partsOf(schedulers: readonly string[], probes: PreflightProbes): Part[] {
  return [
    { what: IPVS, module: 'ip_vs', probe: () => probes.ipvs() },
    ...schedulers.map((name) => ({
      what: `the IPVS scheduler ${name}`,
      // Only names that are written in our source become arguments of modprobe.
      module: isScheduler(name) ? moduleOf(name) : undefined,
      isOfIpvs: true as const,
      probe: () => probes.scheduler(name),
    })),
    { what: 'dummy devices', module: 'dummy', probe: () => probes.dummyDevice() },
    { what: 'nf_tables', module: 'nf_tables', probe: () => probes.nftables() },
    { what: 'connection tracking', module: 'nf_conntrack', probe: () => probes.connectionTracking() },
  ];
}

async function check(
  { what, module, probe }: Part,
  loadModule: LoadModule,
): Promise<MissingSupport | undefined> {
  if ((await attempt(probe)) === undefined) return undefined;
  const loading = module === undefined ? undefined : await loadModule(module);
  const error = await attempt(probe);
  return error && { what, module, error, loading };
}

/** Why the kernel cannot. */
async function attempt(probe: () => Promise<void>): Promise<KernelError | undefined> {
  try {
    await probe();
    return undefined;
  } catch (error) {
    if (!(error instanceof KernelError) || error.code === 'EPERM') throw error;
    return error;
  }
}

function moduleOf(scheduler: Scheduler): string {
  return `ip_vs_${scheduler}`;
}

/** One error for all that is missing, with the command that would load it. */
export function missingSupportError(missing: readonly MissingSupport[]): KproxyError {
  const parts = missing.map(({ what, error, loading }) => {
    const tried = loading === undefined ? '' : `; modprobe: ${loading}`;
    return `${what} (${error.message}${tried})`;
  });
  const modules = missing.flatMap(({ module }) => module ?? []);
  const advice = modules.length === 0 ? '' : `. On this host, as root: modprobe -a ${modules.join(' ')}`;
  return new KproxyError(
    IPVS_MISSING,
    `ipvs mode cannot run: the kernel lacks ${parts.join(', ')}${advice}`,
    { cause: missing[0]?.error },
  );
}

/** Resolves with the first line of what it complained of. */
function modprobe(module: string): Promise<string | undefined> {
  const options = { timeout: MODPROBE_TIMEOUT_MS, env: { PATH: MODPROBE_PATH } };
  return new Promise((resolve) => {
    execFile('modprobe', [module], options, (error, _, stderr) => {
      if (error === null) resolve(undefined);
      else
        resolve(
          stderr.split('\n')[0]?.trim() || (error.code === 'ENOENT' ? 'no such program' : error.message),
        );
    });
  });
}
