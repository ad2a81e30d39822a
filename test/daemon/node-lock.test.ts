// One daemon a network namespace: who gets the lock, who does not, and what it is told.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLog } from '../../src/daemon/log.ts';
import { type NodeLock, takeNodeLock } from '../../src/daemon/node-lock.ts';
import { mayAdministerNetwork } from '../../src/daemon/process-rights.ts';

const UNPRIVILEGED = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all'];

let count = 0;
let name: string;
let lines: { level: string; msg: string; pid?: number }[];
let locks: NodeLock[];
let children: ChildProcess[];

beforeEach(() => {
  name = `kpt-${process.pid}-lock-${count++}`;
  [lines, locks, children] = [[], [], []];
});
afterEach(() => {
  for (const lock of locks) lock.release();
  for (const child of children) child.kill('SIGKILL');
});

async function take(waitMs = 0, mode = 'nftables'): Promise<NodeLock> {
  const destination = { write: (line: string) => lines.push(JSON.parse(line)) };
  const log = createLog({ format: 'json', verbosity: 0, isTty: false, destination });
  const lock = await takeNodeLock({ version: '1.2.3', mode: () => mode, waitMs, log, name });
  locks.push(lock);
  return lock;
}

const LISTEN = `
  const [name, answer] = process.argv.slice(1);
  const server = require('node:net').createServer((socket) => socket.on('error', () => undefined).end(answer));
  server.listen({ path: ('\\0' + name).padEnd(108, '\\0') }, () => console.log('here'));
`;
const BIND_ONLY = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(("\\0" + sys.argv[1]).ljust(108, "\\0"))
print("here", flush=True)
sys.stdin.read()
`;

/** Another process, which takes the name and says that it has. */
async function occupy(...argv: readonly string[]): Promise<ChildProcess> {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('the occupant ended')));
  await Promise.race([once(child.stdout!, 'data'), ended]);
  ended.catch(() => undefined);
  return child;
}

/** One that listens and gives each who connects an answer; `wrapper` is a command that runs another. */
const listener = (answer = '', wrapper: readonly string[] = []): Promise<ChildProcess> =>
  occupy(...wrapper, process.execPath, '-e', LISTEN, name, answer);

test('the second is refused and told who is first, until that one is gone', async () => {
  const before = Date.now();
  const first = await take(0, 'iptables');
  const refusal = take();
  await expect(refusal).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
  const { message } = (await refusal.catch((error) => error)) as Error;
  const [, since] =
    /^another kproxy-ts serves this network namespace \(pid \d+, version 1\.2\.3, iptables mode, since (\S+)\); it must be stopped first$/.exec(
      message,
    )!;
  expect(message).toContain(`pid ${process.pid},`);
  expect(Math.abs(Date.parse(since!) - before)).toBeLessThan(2000);
  first.release();
  await take();
  expect(lines).toEqual([]);
});

test('a successor waits, for as long as it is told to', async () => {
  const first = await take();
  const startMs = performance.now();
  await expect(take(500)).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
  expect(performance.now() - startMs).toBeGreaterThan(490);
  const successor = take(20_000);
  setTimeout(() => first.release(), 300);
  await successor;
  expect(performance.now() - startMs).toBeLessThan(10_000);
  expect(lines.map(({ level, pid }) => [level, pid])).toEqual(Array(2).fill(['warn', process.pid]));
});

test('the name is the same in every version of Node', async () => {
  await take();
  const padded = `@${name}`.padEnd(108, '@');
  expect(
    readFileSync('/proc/net/unix', 'utf8')
      .split('\n')
      .filter((line) => line.endsWith(` ${padded}`)),
  ).toHaveLength(1);
});

test('one that is killed holds nothing; one that is stopped does, though it says nothing', async () => {
  const child = await listener();
  child.kill('SIGSTOP');
  await expect(take()).rejects.toThrow(`namespace (pid ${child.pid}); it must`);
  child.kill('SIGKILL');
  await once(child, 'close');
  await take();
});

test.each([
  ['nobody, who may not write rules', () => listener('', UNPRIVILEGED)],
  [
    'nobody, who is root of a user namespace',
    () => listener('', [...UNPRIVILEGED, 'unshare', '--user', '--map-root-user']),
  ],
  ['somebody who does not listen', () => occupy('python3', '-c', BIND_ONLY, name)],
])('%s: cannot keep the node without its proxy', async (_, begin) => {
  await begin();
  await take();
  expect(lines.map(({ level, msg }) => `${level}: ${msg}`)).toEqual([
    'error: a program that is no proxy holds the lock against a second one; going on without',
  ]);
});

test.each(['', 'garbage', '{"pid":"x","mode":7}', '[]', 'null', 'x'.repeat(10_000)])(
  'who answers %.20j holds the lock all the same',
  async (answer) => {
    const child = await listener(answer);
    await expect(take()).rejects.toThrow(`namespace (pid ${child.pid}); it must`);
  },
);

const MAP = '         0          0 4294967295\n';
test.each([
  ['CapEff:\t000001ffffffffff\n', MAP, true],
  ['CapEff:\t0000000000001000\n', MAP, true],
  ['CapEff:\t000001ffffffefff\n', MAP, false],
  ['CapEff:\t000001ffffffffff\n', '         0       1000          1\n', false],
  ['State:\tR\n', MAP, true],
])('rights %j', (status, uidMap, expected) => {
  expect(mayAdministerNetwork(`Name:\tx\n${status}`, uidMap, MAP)).toBe(expected);
});

const WITHOUT_FILES = `
  const [dist, name] = process.argv.slice(1);
  const { createLog } = await import(dist + 'log.js');
  const { takeNodeLock } = await import(dist + 'node-lock.js');
  const { openSync, writeSync } = await import('node:fs');
  const destination = { write: (line) => writeSync(1, line) };
  const log = createLog({ format: 'json', verbosity: 0, isTty: false, destination });
  const lock = takeNodeLock.bind(undefined, { version: '1.2.3', mode: 'nftables', waitMs: 0, log, name });
  (await lock()).release();
  try { for (;;) openSync('/dev/null'); } catch {}
  await lock();
`;

test('where no socket can be had, the node has its proxy without', () => {
  const dist = new URL('../../dist/daemon/', import.meta.url).href;
  const argv = ['--nofile=100', process.execPath, '--input-type=module', '-e', WITHOUT_FILES, dist, name];
  const lines = execFileSync('prlimit', argv, { encoding: 'utf8' }).trim().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { level: 'warn', err: { code: 'EMFILE' }, msg: expect.stringContaining('going on without') },
  ]);
});
