// Brings the host to what the settings say of it: sysctls, the hash table of connection tracking, the OOM score. What cannot be
// set is told and keeps nobody from being served; kube-proxy would not start.

import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { ConntrackSettings } from '../../config/settings.ts';
import { KernelError } from '../../errors.ts';
import { readSysctl, setSysctl } from '../sysctl.ts';
import { CONNTRACK_MAX, conntrackSysctls, neededBuckets, type Sysctl } from './host-settings.ts';

const BUCKETS_FILE = '/sys/module/nf_conntrack/parameters/hashsize';
const OOM_SCORE_FILE = '/proc/self/oom_score_adj';

/**
 * Why something is not as it was to be.
 * - `foreign`: it belongs to the first network namespace, and this is another.
 * - `absent`: the kernel does not have it, or not yet: connection tracking comes with the first rule that asks for it.
 * - `refused`: by the kernel.
 */
export interface Unset {
  readonly kind: 'foreign' | 'absent' | 'refused';
  readonly what: string;
  readonly error?: KernelError;
}

/** What could not be set; nothing when all is as it was to be. */
export function applyConntrackSettings(settings: ConntrackSettings): Unset[] {
  const sysctls = conntrackSysctls(settings, cpus().length || 1);
  const unset = sysctls.flatMap(applySysctl);
  const max = sysctls.find(({ name }) => name === CONNTRACK_MAX);
  if (max === undefined || unset.some(({ what }) => what === describe(max))) return unset;
  return [...unset, ...widenTable(Number(max.value))];
}

export function applySysctl(sysctl: Sysctl): Unset[] {
  const { name, value } = sysctl;
  const what = describe(sysctl);
  const present = readSysctl(name);
  if (present === value) return [];
  if (present === undefined) return [{ kind: 'absent', what }];
  // Read-only for everybody is how the kernel shows what belongs to the first network namespace.
  if ((statSync(`/proc/sys/${name}`).mode & 0o222) === 0) return [{ kind: 'foreign', what }];
  return attempt(what, () => setSysctl(name, value));
}

/** The score of this process, -1000 to 1000: who is killed first when memory runs out. */
export function applyOomScore(score: number): Unset[] {
  if (readFileSync(OOM_SCORE_FILE, 'utf8').trim() === String(score)) return [];
  return attempt(`oom_score_adj=${score}`, () => writeSetting(OOM_SCORE_FILE, score));
}

/** There is one table for all network namespaces; only who sets the limit of all widens it. */
function widenTable(max: number): Unset[] {
  return attempt(`nf_conntrack hashsize for ${max} connections`, () => {
    const buckets = neededBuckets(max, Number(readFileSync(BUCKETS_FILE, 'utf8')));
    if (buckets !== undefined) writeSetting(BUCKETS_FILE, buckets);
  });
}

function describe({ name, value }: Sysctl): string {
  return `${name.replaceAll('/', '.')}=${value}`;
}

function writeSetting(file: string, value: number): void {
  writeFileSync(file, String(value));
}

function attempt(what: string, set: () => void): Unset[] {
  try {
    set();
    return [];
  } catch (error) {
    if (error instanceof KernelError) return [{ kind: 'refused', what, error }];
    const { code, errno } = error as NodeJS.ErrnoException;
    if (code === undefined || errno === undefined) throw error;
    return [{ kind: 'refused', what, error: new KernelError(code, -errno, `set ${what}`) }];
  }
}
