// The unit file, judged by systemd itself: that it is understood, and how much it leaves open.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommand, tryCommand } from '../support/netns/command.ts';
import { KPROXY } from '../support/netns/daemon.ts';

const UNIT = readFileSync(join(import.meta.dirname, '../../systemd/kproxy-ts.service'), 'utf8');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kproxy-unit-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The unit with another program, since it has to exist, and other edits. */
function write(edit: (unit: string) => string = (unit) => unit): string {
  const file = join(folder, 'kproxy-ts.service');
  writeFileSync(file, edit(UNIT.replace('/usr/bin/kproxy-ts', KPROXY)));
  return file;
}

const verify = async (file: string): Promise<string> => {
  const { stdout, stderr } = await tryCommand(['systemd-analyze', 'verify', '--man=no', file]);
  return stdout + stderr;
};

test('systemd understands every line of it', async () => {
  expect(await verify(write())).toBe('');
  expect(await verify(write((unit) => unit.replace('WatchdogSec=', 'WatchdogSeconds=')))).toContain(
    'WatchdogSeconds',
  );
});

test('what it leaves open is what a service proxy is about', async () => {
  const argv = ['systemd-analyze', 'security', '--offline=true', '--no-pager', write()];
  const report = await runCommand(argv, { timeoutMs: 20_000 });
  const [line, exposure] = /Overall exposure level .*: (\d+\.\d)/.exec(report) ?? [];
  console.log(line);
  expect(Number(exposure)).toBeLessThanOrEqual(2.3);
});

test.each([
  ['Type', 'notify'],
  ['CapabilityBoundingSet', 'CAP_NET_ADMIN'],
  ['AmbientCapabilities', 'CAP_NET_ADMIN'],
  ['NoNewPrivileges', 'yes'],
  ['RestartPreventExitStatus', '2'],
])('%s=%s', (name, value) => {
  expect(UNIT.split('\n').filter((line) => line.startsWith(`${name}=`))).toEqual([`${name}=${value}`]);
});
