// `npm test`: sets up, lints, checks types and runs every test; arguments go to vitest (`npm test -- test/netlink`).
// The last line is `N passed, N failed`, with `, N skipped` when some were. Lint, types and a test file that does not
// load count as one failure each. With CI=true a skipped test is a failure: nothing here is impossible on Linux with root.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { inspect } from 'node:util';
import { ROOT, SetupError, setUp } from './setup.mjs';

const isCi = process.env.CI === 'true';
/** Exit status of test/vm/stage.ts. */
const NO_GUEST = 3;
const counts = { passed: 0, failed: 0, skipped: 0 };
/** What failed, said again at the end: a run prints thousands of lines. */
const failures = [];
/** Of a failure's message. */
const FIRST_LINES = 12;
const folder = mkdtempSync(join(tmpdir(), 'kproxy-test-'));

try {
  setUp('test');
  check('Lint', 'node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.');
  check('Types', 'node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmit');
  const args = process.argv.slice(2);
  runTests(args);
  if (args.length === 0) runGuestTests();
} catch (error) {
  fail(error instanceof SetupError ? `kproxy-ts: ${error.message}` : inspect(error));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const { passed, failed, skipped } = counts;
for (const failure of failures) console.log(`\nFAILED: ${failure}`);
console.log(`${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

function check(title, ...argv) {
  if (node(argv) !== 0) fail(title);
}

function fail(what) {
  counts.failed++;
  failures.push(what);
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
    else fail(`the guest's stage ended with status ${status} and without a report`);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    skipGuest(error.message);
  }
}

function skipGuest(reason) {
  const message = `NOT RUN: the tests in the guest, on a kernel with IPVS (test/vm/README.md): ${reason}`;
  console.error(`\n${message}\n`);
  if (isCi) fail(message);
  else counts.skipped++;
}

/** Adds what vitest reports; `status` is its exit status. */
function count(report, status) {
  const failedBefore = counts.failed;
  for (const file of JSON.parse(readFileSync(report, 'utf8')).testResults) countFile(file);
  if (status !== 0 && counts.failed === failedBefore)
    fail('an error outside of every test, such as an unhandled rejection: see above');
}

function countFile({ name, status, message, assertionResults }) {
  const failedBefore = counts.failed;
  const path = relative(ROOT, name);
  for (const { fullName, status, failureMessages } of assertionResults) {
    if (status === 'passed') counts.passed++;
    else if (status === 'failed') fail(`${path} > ${fullName}\n${beginningOf(failureMessages.join('\n'))}`);
    else if (isCi) fail(`${path} > ${fullName}\nSkipped, which is a failure in CI`);
    else counts.skipped++;
  }
  if (status === 'failed' && counts.failed === failedBefore) fail(`${path}\n${beginningOf(message)}`);
}

function beginningOf(text) {
  return text.split('\n').slice(0, FIRST_LINES).join('\n');
}

/** The exit status of a program of node_modules. */
function node(argv) {
  return spawnSync(process.execPath, argv, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] }).status;
}
