// The service manager's store: what is said to it, and what a process that it starts makes of what it gets.

import { spawn } from 'node:child_process';
import { closeSync, fstatSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { loadAddon } from '../../../native/load.cjs';
import { discard } from '../../../src/daemon/handover/bequest.ts';
import { storeBequest, takeStoredBequest } from '../../../src/daemon/handover/fd-store.ts';

const addon = loadAddon();
const EAGAIN = 11;
const EPERM = 1;
const REGISTER = fileURLToPath(new URL('../../../scripts/register-typescript.mjs', import.meta.url));
const HEIR = fileURLToPath(new URL('./child/heir.ts', import.meta.url));

interface Stored {
  readonly name: string;
  readonly fd: number;
}

let kept: Stored[] = [];
afterEach(() => {
  discard(kept.map(({ fd }) => fd));
  kept = [];
});

/** A manager that keeps what it gets, after so many times EAGAIN. */
function manager(busy = 0) {
  return (message: Uint8Array, fds: readonly number[] = []): number => {
    if (busy-- > 0) return EAGAIN;
    const fields = Object.fromEntries(
      Buffer.from(message)
        .toString()
        .split('\n')
        .map((line) => line.split('=')),
    );
    expect(fields).toMatchObject({ FDSTORE: '1', FDPOLL: '0' });
    kept.push({ name: fields['FDNAME'], fd: addon.duplicate(fds[0]!) });
    return 0;
  };
}

function fileWith(text: string): number {
  const fd = addon.memoryFile();
  writeSync(fd, text);
  return fd;
}

/** What a process says that is started with these descriptors from 3 on. */
async function inherit(stored: readonly Stored[], env: Record<string, string> = {}): Promise<unknown> {
  const child = spawn(process.execPath, ['--import', REGISTER, HEIR], {
    stdio: ['ignore', 'pipe', 'inherit', ...stored.map(({ fd }) => fd)],
    env: {
      ...process.env,
      LISTEN_FDS: String(stored.length),
      LISTEN_FDNAMES: stored.map(({ name }) => name).join(':'),
      ...env,
    },
  } as Parameters<typeof spawn>[2]);
  let text = '';
  child.stdout!.on('data', (data) => {
    text += data;
  });
  await new Promise((resolve) => child.on('close', resolve));
  return JSON.parse(text);
}

test('what was stored is taken in its order, whatever order the manager has, and kept no more', async () => {
  await storeBequest({ facts: { a: [1, null] }, fds: [fileWith('zero'), fileWith('one')] }, manager(2));
  expect(await inherit([...kept].reverse())).toEqual({
    bequest: { facts: { a: [1, null] }, texts: ['zero', 'one'] },
    said: expect.arrayContaining(
      ['kproxy-0', 'kproxy-1', 'kproxy-facts'].map((name) => `FDSTOREREMOVE=1\nFDNAME=${name}`),
    ),
    env: [],
  });
});

test('others’ descriptors are left alone', async () => {
  await storeBequest({ facts: 1, fds: [fileWith('zero')] }, manager());
  const other = { name: 'http', fd: fileWith('other') };
  kept.push(other);
  expect(await inherit([other, ...kept.slice(0, 2)])).toMatchObject({
    bequest: { facts: 1, texts: ['zero'] },
  });
});

test.each([
  ['the facts are missing', (all: Stored[]) => all.filter(({ name }) => name !== 'kproxy-facts')],
  ['one is missing', (all: Stored[]) => all.filter(({ name }) => name !== 'kproxy-0')],
])('%s: nothing is taken, and all is kept no more', async (_, part) => {
  await storeBequest({ facts: 1, fds: [fileWith('zero'), fileWith('one')] }, manager());
  const answer = (await inherit(part(kept))) as { bequest?: unknown; said: string[] };
  expect(answer.bequest).toBeUndefined();
  expect(answer.said).toHaveLength(2);
});

test('what is for another process is not taken', async () => {
  await storeBequest({ facts: 1, fds: [] }, manager());
  expect(await inherit(kept, { LISTEN_PID: '1' })).toEqual({ said: [], env: [] });
});

test('facts that are none are an error', async () => {
  const file = { name: 'kproxy-facts', fd: fileWith('{"a":') };
  kept.push(file);
  expect(await inherit([file])).toMatchObject({ error: 'BEQUEST' });
});

test('no manager: nothing', () => {
  expect(takeStoredBequest({}, process.pid, undefined)).toBeUndefined();
});

test('a manager that takes no more is an error, and nothing stays open', async () => {
  const fd = fileWith('zero');
  await expect(storeBequest({ facts: 1, fds: [fd] }, () => EPERM)).rejects.toMatchObject({ code: 'EPERM' });
  expect(() => fstatSync(fd)).toThrow('EBADF');
  expect(() => closeSync(fd)).toThrow('EBADF');
});
