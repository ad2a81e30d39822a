// Descriptors and facts from one daemon to another, over a real socket: both ends are in this process.

import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { devNull } from 'node:os';
import { pino } from 'pino';
import { afterEach, expect, test, vi } from 'vitest';
import { loadAddon } from '../../../native/load.cjs';
import { type Bequest, discard } from '../../../src/daemon/handover/bequest.ts';
import { type Leaver, offerHandover, requestHandover } from '../../../src/daemon/handover/handover.ts';
import { descriptorOf } from '../../../src/daemon/userspace/node-sockets.ts';

const addon = loadAddon();
const log = pino({ level: 'silent' });
const NAME = `kproxy-ts-handover-test-${process.pid}`;
const TRUSTING = { log, name: NAME, isTrusted: () => true };

let offer: { close(): void } | undefined;
const servers: Server[] = [];
afterEach(() => {
  offer?.close();
  for (const server of servers.splice(0)) server.close();
});

function leaverOf(bequest: Bequest) {
  return {
    bequeath: vi.fn(async () => bequest),
    resume: vi.fn(async () => undefined),
    left: vi.fn(),
  } satisfies Leaver;
}

function fileWith(text: string): number {
  const fd = addon.memoryFile();
  writeSync(fd, text);
  return fd;
}

function textOf(fd: number): string {
  const bytes = Buffer.alloc(fstatSync(fd).size);
  readSync(fd, bytes, 0, bytes.length, 0);
  return bytes.toString();
}

const isOpen = (fd: number): boolean => {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
};

test.each([0, 1, 250, 251, 1000])('%d descriptors arrive in their order, with the facts', async (count) => {
  const facts = { mode: 'userspace', list: [1, 'two', null] };
  const leaver = leaverOf({ facts, fds: Array.from({ length: count }, (_, i) => fileWith(`file ${i}`)) });
  offer = await offerHandover(leaver, TRUSTING);
  const bequest = (await requestHandover(TRUSTING))!;
  expect(bequest.facts).toEqual(facts);
  expect(bequest.fds.map(textOf)).toEqual(Array.from({ length: count }, (_, i) => `file ${i}`));
  discard(bequest.fds);
  await expect.poll(() => leaver.left.mock.calls.length).toBe(1);
  expect(leaver.resume).not.toHaveBeenCalled();
});

test('a socket that listens goes on listening: who dials in between is answered by the successor', async () => {
  const first = createServer((socket) => socket.end('first'));
  await new Promise<void>((resolve) => first.listen(0, '127.0.0.1', resolve));
  const { port } = first.address() as { port: number };
  const leaver: Leaver = {
    bequeath: async () => {
      const fd = addon.duplicate(descriptorOf(first));
      await new Promise((resolve) => first.close(resolve));
      return { facts: {}, fds: [fd] };
    },
    resume: async () => undefined,
    left: () => undefined,
  };
  offer = await offerHandover(leaver, TRUSTING);
  const { fds } = (await requestHandover(TRUSTING))!;
  const answer = new Promise<string>((resolve) => {
    let text = '';
    connect(port, '127.0.0.1')
      .on('data', (data) => {
        text += data;
      })
      .on('end', () => resolve(text));
  });
  const second = createServer((socket) => socket.end('second'));
  servers.push(second);
  second.listen({ fd: fds[0]! });
  expect(await answer).toBe('second');
});

test('nobody offers: nothing is taken', async () => {
  expect(await requestHandover({ ...TRUSTING, name: `${NAME}-nobody` })).toBeUndefined();
});

test('who may not write rules gets nothing, and nothing is stopped for it', async () => {
  const leaver = leaverOf({ facts: {}, fds: [] });
  offer = await offerHandover(leaver, { ...TRUSTING, isTrusted: () => false });
  expect(await requestHandover(TRUSTING)).toBeUndefined();
  expect(leaver.bequeath).not.toHaveBeenCalled();
});

test('who offers and may not write rules is not taken from', async () => {
  const leaver = leaverOf({ facts: {}, fds: [] });
  offer = await offerHandover(leaver, TRUSTING);
  const isTrusted = vi.fn(() => false);
  await expect(requestHandover({ ...TRUSTING, isTrusted })).rejects.toMatchObject({ code: 'BEQUEST' });
  expect(isTrusted).toHaveBeenCalledWith(process.pid);
  expect(leaver.left).not.toHaveBeenCalled();
});

test('the pid that is trusted is that of the process that asks', async () => {
  const isTrusted = vi.fn(() => true);
  offer = await offerHandover(leaverOf({ facts: {}, fds: [] }), { ...TRUSTING, isTrusted });
  await requestHandover(TRUSTING);
  expect(isTrusted).toHaveBeenCalledWith(process.pid);
});

test('who goes before it has all leaves the first one serving, with what it had', async () => {
  const bequest = { facts: {}, fds: [fileWith('kept')] };
  const leaver = leaverOf(bequest);
  offer = await offerHandover(leaver, TRUSTING);
  const socket = addon.connectUnix(Buffer.from(`\0${NAME}`.padEnd(108, '\0')));
  await expect.poll(() => leaver.bequeath.mock.calls.length).toBe(1);
  closeSync(socket);
  await expect.poll(() => leaver.resume.mock.calls).toEqual([[bequest]]);
  expect(textOf(bequest.fds[0]!)).toBe('kept');
  expect(leaver.left).not.toHaveBeenCalled();
  discard(bequest.fds);
});

test('afterwards the first one has none of the descriptors, and the next may ask again', async () => {
  const fds = [fileWith('one')];
  const leaver = leaverOf({ facts: {}, fds });
  offer = await offerHandover(leaver, TRUSTING);
  const bequest = (await requestHandover(TRUSTING))!;
  await expect.poll(() => isOpen(fds[0]!)).toBe(false);
  discard(bequest.fds);
  leaver.bequeath.mockResolvedValue({ facts: 2, fds: [] });
  await expect.poll(() => requestHandover(TRUSTING)).toEqual({ facts: 2, fds: [] });
});

test('a descriptor is not that of another file', () => {
  const fd = openSync(devNull, 'r');
  const copy = addon.duplicate(fd);
  closeSync(fd);
  expect(fstatSync(copy).rdev).toBeGreaterThan(0);
  closeSync(copy);
  expect(addon.duplicate(copy)).toBe(-9);
});
