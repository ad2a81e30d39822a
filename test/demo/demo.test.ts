// The demo checks the whole program by itself; here it is checked that it says so, and that it cleans up.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runCommand, tryCommand } from '../support/netns/command.ts';
import { isRunning } from '../support/netns/netns.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const DEMO = [
  process.execPath,
  '--import',
  `${root}scripts/register-typescript.mjs`,
  `${root}examples/demo/main.ts`,
];

test('every claim holds', async () => {
  const { status, stdout, stderr } = await tryCommand(DEMO, { timeoutMs: 60_000 });
  expect(stderr).toBe('');
  expect(stdout).toContain('ok no request of the load failed: 0 of ');
  expect(stdout).toMatch(/ok nothing is left on this machine\n\nEverything above was checked\. /);
  expect(status).toBe(0);
}, 70_000);

test('every claim holds in userspace mode', async () => {
  const { status, stdout, stderr } = await tryCommand([...DEMO, '--proxy-mode=userspace'], {
    timeoutMs: 60_000,
  });
  expect(stderr).toBe('');
  expect(stdout).toContain('ok the pods see the node, where the proxy is');
  expect(stdout).toContain('ok no request of the load failed: 0 of ');
  expect(status).toBe(0);
}, 70_000);

test('an unknown argument is named', async () => {
  const { status, stderr } = await tryCommand([...DEMO, '--fast']);
  expect(stderr).toContain("'--fast'");
  expect(status).toBe(2);
});

async function untilPrinted(child: ChildProcessWithoutNullStreams, text: string): Promise<string> {
  let stdout = '';
  for await (const chunk of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    stdout += chunk;
    if (stdout.includes(text)) break;
  }
  return stdout;
}

test('Ctrl-C leaves no namespace, no process and no file', async () => {
  const [program = '', ...args] = DEMO;
  const demo = spawn(program, args, { stdio: 'pipe' });
  const stdout = await untilPrinted(demo, 'the rules are in force');
  const folder = /--source=(\S+)/.exec(stdout)?.[1] ?? '';
  const own = () => readdirSync('/run/netns').filter((name) => name.startsWith(`kpt-${demo.pid}-`));
  const node = own().find((name) => name.endsWith('-node')) ?? '';
  const [daemon = ''] = (await runCommand(['ip', 'netns', 'pids', node])).split('\n');
  expect(own()).toHaveLength(10);
  expect(existsSync(folder)).toBe(true);
  expect(isRunning(Number(daemon))).toBe(true);

  demo.stdout.resume();
  demo.kill('SIGINT');
  const [status] = await once(demo, 'close');
  expect(status).toBe(130);
  expect(own()).toEqual([]);
  expect(existsSync(folder)).toBe(false);
  await expect.poll(() => isRunning(Number(daemon))).toBe(false);
});
