// On what a run was measured: figures mean nothing without it.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

export interface Machine {
  readonly kernel: string;
  readonly node: string;
  readonly nft: string;
  readonly cpus: number;
  readonly cpuModel: string;
  readonly memoryGb: number;
  /** Before the run, over one minute: more than a fraction of `cpus` means that the figures are pessimistic. */
  readonly load: number;
  /** Of kproxy-ts. */
  readonly version: string;
}

export function describeMachine(): Machine {
  const packageJson = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return {
    kernel: release(),
    node: process.versions.node,
    nft: /v([\d.]+)/.exec(execFileSync('nft', ['--version'], { encoding: 'utf8' }))?.[1] ?? 'unknown',
    cpus: cpus().length,
    cpuModel: cpus()[0]?.model ?? 'unknown',
    memoryGb: Math.round(totalmem() / 1024 ** 3),
    load: loadavg()[0] ?? 0,
    version: (JSON.parse(packageJson) as { version: string }).version,
  };
}
