// `npm test`: sets up, lints, checks types and runs every test; arguments go to vitest (`npm test -- test/netlink`).
// The last line is `N passed, N failed`, with `, N skipped` when some were. Lint, types and a test file that does not
// load count as one failure each. With CI=true a skipped test is a failure: nothing here is impossible on Linux with root.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT, SetupError, setUp } from './setup.mjs';

const isCi = process.env.CI === 'true';
/** Exit status of test/vm/stage.ts. */
const NO_GUEST = 3;
const counts = { passed: 0, failed: 0, skipped: 0 };
const folder = mkdtempSync(join(tmpdir(), 'kproxy-test-'));

try {
  setUp('test');
  check('Lint', 'node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.');
  check('Types', 'node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmit');
  const args = process.argv.slice(2);
  runTests(args);
  if (args.length === 0) runGuestTests();
} catch (error) {
  counts.failed++;
  console.error(error instanceof SetupError ? `kproxy-ts: ${error.message}` : error);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const { passed, failed, skipped } = counts;
console.log(`${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

function check(title, ...argv) {
  if (node(argv) === 0) return;
  counts.failed++;
  console.error(`${title}: failed`);
}

function runTests(args) {
  const report = join(folder, 'report.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  count(report, node(['node_modules/vitest/vitest.mjs', 'run', ...reporters, ...args]));
}

/** Tests for a kernel that this machine may not have (test/vm). */
function runGuestTests() {
  const report = join(folder, 'guest.json');
  try {
    setUp('guest');
    const status = node(['--import', './scripts/register-typescript.mjs', 'test/vm/stage.ts', report]);
    if (existsSync(report)) count(report, status);
    else if (status === NO_GUEST) skipGuest('none could be started');
    else counts.failed++;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    skipGuest(error.message);
  }
}

function skipGuest(reason) {
  console.error(`\nNOT RUN: the tests in the guest, on a kernel with IPVS (test/vm/README.md): ${reason}\n`);
  if (isCi) counts.failed++;
  else counts.skipped++;
}

/** Adds what vitest reports; `status` is its exit status. */
function count(report, status) {
  const failedBefore = counts.failed;
  for (const file of JSON.parse(readFileSync(report, 'utf8')).testResults) countFile(file);
  // An error outside of every test, such as an unhandled rejection.
  if (status !== 0 && counts.failed === failedBefore) counts.failed++;
}

function countFile({ name, status, assertionResults }) {
  const failedBefore = counts.failed;
  for (const test of assertionResults) {
    if (test.status === 'passed') counts.passed++;
    else if (test.status === 'failed') counts.failed++;
    else if (isCi) {
      counts.failed++;
      console.error(`Skipped, which is a failure in CI: ${name} > ${test.fullName}`);
    } else counts.skipped++;
  }
  if (status === 'failed' && counts.failed === failedBefore) counts.failed++;
}

/** The exit status of a program of node_modules. */
function node(argv) {
  return spawnSync(process.execPath, argv, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] }).status;
}
