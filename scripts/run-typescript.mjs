// Runs a program of the repository that is written in TypeScript, here or in a fresh guest (test/vm), and passes on signals and
// its exit status.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { ROOT } from './setup.mjs';

const TYPESCRIPT = [process.execPath, '--import', './scripts/register-typescript.mjs'];

/** A guest ends with this process. */
export function runTypescript(file, argv, { isInGuest = false } = {}) {
  const command = [...TYPESCRIPT, file, ...argv];
  const [program, ...args] = isInGuest ? [...TYPESCRIPT, 'test/vm/run.ts', ...command] : command;
  const child = spawn(program, args, { cwd: ROOT, stdio: 'inherit' });
  // It cleans up on a signal; this process only passes on what may have reached it alone, and waits.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('close', (status) => {
    process.exitCode = status ?? 1;
  });
}

/** Whether this kernel can do ipvs mode; what it has as modules is loaded. */
export function hasIpvs() {
  spawnSync('modprobe', ['-qa', 'ip_vs', 'ip_vs_rr', 'dummy']);
  return existsSync('/proc/net/ip_vs');
}
