// scripts/install-addon.mjs: compiles when it must, says what is missing, is silent otherwise.

import { appendFileSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CommandResult, tryCommand } from '../support/netns/command.ts';
import { PackageCopy } from './package-copy.ts';
import { runChild } from './run-child.ts';

let copy: PackageCopy;
beforeAll(() => {
  copy = new PackageCopy();
});
afterAll(() => copy.delete());

const compiling = { status: 0, stdout: '', stderr: 'kproxy-ts: compiling the native addon\n' };
const silent = { status: 0, stdout: '', stderr: '' };

function install(env: Record<string, string> = {}): Promise<CommandResult> {
  const script = copy.path('scripts/install-addon.mjs');
  return tryCommand([process.execPath, script], { timeoutMs: 60_000, env });
}

test('without the addon the error says how to get it', async () => {
  expect(await runChild('missing.ts', { root: copy.root })).toMatchObject({ code: 'ADDON_MISSING' });
});

test('missing tools are named together with their packages', async () => {
  expect(await install({ PATH: '/nonexistent', CXX: 'g++' })).toEqual({
    status: 1,
    stdout: '',
    stderr:
      'kproxy-ts: the native addon must be compiled, and g++, make, python3 cannot be run. ' +
      'On Debian and Ubuntu: apt-get install g++ make python3\n',
  });
});

test('compiles once, and again when a source is newer or the binary does not load', {
  timeout: 90_000,
}, async () => {
  const built = copy.path('build/Release/netlink.node');

  expect(await install()).toEqual(compiling);
  const { mtimeMs } = statSync(built);
  expect(await install()).toEqual(silent);
  expect(statSync(built).mtimeMs).toBe(mtimeMs);

  appendFileSync(copy.path('native/netlink.cc'), '// changed\n');
  expect(await install()).toEqual(compiling);
  expect(await install()).toEqual(silent);

  writeFileSync(built, 'damaged');
  expect(await install()).toEqual(compiling);
  expect(await runChild('failures.ts', { root: copy.root })).toMatchObject({ afterOverrun: [99] });
});

test('a prebuilt binary that does not load gives way to the compiled one', async () => {
  for (const libc of ['', '-musl']) {
    const folder = copy.path(`prebuilds/linux-${process.arch}${libc}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/netlink.node`, 'for another system');
  }

  expect(await install()).toEqual(silent);
  expect(await runChild('failures.ts', { root: copy.root })).toMatchObject({ afterOverrun: [99] });
});

test('a source that does not compile is reported with the words of the compiler', async () => {
  appendFileSync(copy.path('native/netlink.cc'), '#error "not today"\n');

  const { status, stderr } = await install();
  expect(status).toBe(1);
  expect(stderr).toContain('#error "not today"');
});
