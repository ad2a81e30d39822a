// The stage of `npm test` that runs in the guest: what its tests say goes to standard output, and vitest's report to the file named
// by the argument. Without a guest the exit status is 3, and there is no report.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { GUEST_FOLDER } from '../../scripts/guest-kernel.mjs';
import { Guest, GuestError } from './guest.ts';

const NO_GUEST = 3;
/** Several times what it takes. */
const LONGEST_MS = 40 * 60_000;
/** In the guest, where it is gone with it. */
const REPORT = '/tmp/report.json';
const VITEST = [process.execPath, 'node_modules/vitest/vitest.mjs'];
const CONFIG = ['--config', 'test/vm/vitest.config.ts'];

const [reportPath = ''] = process.argv.slice(2);

/** Compiles them, which an emulated processor would take a minute for (vitest.config.ts, fsModuleCache). */
function collectTests(): void {
  const [program = '', ...args] = [...VITEST, 'list', ...CONFIG];
  spawnSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

async function runTests(guest: Guest): Promise<void> {
  const reporters = ['--reporter=verbose', '--reporter=json', `--outputFile.json=${REPORT}`];
  const tests = guest.spawn([...VITEST, 'run', ...CONFIG, ...reporters], {
    env: passedOn(),
    onStdout: (text) => process.stdout.write(text),
    onStderr: (text) => process.stderr.write(text),
  });
  tests.end();
  const timer = setTimeout(() => {
    console.error(`not finished after ${LONGEST_MS / 60_000} minutes`);
    tests.kill('SIGKILL');
  }, LONGEST_MS);
  process.exitCode = await tests.ended;
  clearTimeout(timer);
  const { status, stdout } = await guest.run(['cat', REPORT]);
  if (status === 0) writeFileSync(reportPath, stdout);
}

/** What of this process's environment is for the tests. */
function passedOn(): Record<string, string> {
  const entries = Object.entries(process.env).filter(([name]) => name.startsWith('KPROXY_GUEST_'));
  return Object.fromEntries(entries) as Record<string, string>;
}

collectTests();
const startMs = performance.now();
try {
  const guest = await Guest.start({ folder: GUEST_FOLDER });
  try {
    await runTests(guest);
  } finally {
    await guest.stop();
  }
  const took = ((performance.now() - startMs) / 60_000).toFixed(1);
  console.log(`the guest took ${took} minutes (${guest.accelerator})`);
} catch (error) {
  if (!(error instanceof GuestError)) throw error;
  console.error(error.message);
  process.exitCode = NO_GUEST;
}
