// The stage of `npm test` that runs in the guest: its tests go to standard output, and vitest's report to the file named by the
// argument. Without a guest the exit status is 3, and there is no report.

import { writeFileSync } from 'node:fs';
import { GUEST_FOLDER } from '../../scripts/guest-kernel.mjs';
import { Guest, GuestError } from './guest.ts';

const NO_GUEST = 3;
/** In the guest, where it is gone with it. */
const REPORT = '/tmp/report.json';
const VITEST = [
  ...[process.execPath, 'node_modules/vitest/vitest.mjs', 'run', '--config', 'test/vm/vitest.config.ts'],
  ...['--reporter=verbose', '--reporter=json', `--outputFile.json=${REPORT}`],
];

const [reportPath = ''] = process.argv.slice(2);
try {
  const guest = await Guest.start({ folder: GUEST_FOLDER });
  try {
    const tests = guest.spawn(VITEST, {
      onStdout: (text) => process.stdout.write(text),
      onStderr: (text) => process.stderr.write(text),
    });
    tests.end();
    process.exitCode = await tests.ended;
    writeFileSync(reportPath, (await guest.run(['cat', REPORT])).stdout);
  } finally {
    await guest.stop();
  }
} catch (error) {
  if (!(error instanceof GuestError)) throw error;
  console.error(error.message);
  process.exitCode = NO_GUEST;
}
