// What is told of descriptors whose numbers are given anew, with real sockets of this process on loopback.

import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { loadAddon } from '../../../native/load.cjs';
import { EPOLL, Readiness, type Watcher } from '../../../src/daemon/userspace/readiness.ts';

const addon = loadAddon();
const fds = new Set<number>();
afterEach(() => {
  for (const fd of fds) addon.closeTcp(fd, true);
  fds.clear();
});

const opened = (fd: number): number => {
  expect(fd).toBeGreaterThan(0);
  fds.add(fd);
  return fd;
};
const close = (fd: number): void => {
  fds.delete(fd);
  addon.closeTcp(fd, true);
};

/** Writable at once. */
function connected(): number {
  const listener = opened(addon.openTcpListener('127.0.0.1', 0));
  return opened(addon.connectTcp('127.0.0.1', addon.listenTcp(listener, 1), 0));
}

/** Keeps what it is told, and does more. */
class Recorder implements Watcher {
  readonly told: number[] = [];
  readonly #then: () => void;

  constructor(then: () => void = () => undefined) {
    this.#then = then;
  }

  ready(events: number): void {
    this.told.push(events);
    this.#then();
  }
}

async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await turn();
}

test('what is told of a descriptor that was closed in the same batch reaches nobody, whoever has its number', async () => {
  const readiness = new Readiness();
  const [first, second] = [connected(), connected()];
  const successor = new Recorder();
  let other: number | undefined;
  // Whoever is told first closes the other, whose number a socket gets that is not connected and so not ready.
  const swap = (fd: number, id: number): void => {
    if (other !== undefined) return;
    close(fd);
    readiness.forget(id);
    other = opened(addon.openTcpListener('127.0.0.1', 0));
    addon.listenTcp(other, 1);
    expect(other).toBe(fd);
    readiness.watch(other, successor);
  };
  const ids: number[] = [];
  const watchers = [new Recorder(() => swap(second, ids[1]!)), new Recorder(() => swap(first, ids[0]!))];
  ids.push(readiness.watch(first, watchers[0]!), readiness.watch(second, watchers[1]!));
  await turns();
  expect(watchers.map(({ told }) => told.length).sort()).toEqual([0, 1]);
  expect(successor.told).toEqual([]);
  // It is told of its own readiness.
  opened(addon.connectTcp('127.0.0.1', addon.listenTcp(other!, 1), 0));
  await turns();
  expect(successor.told).toEqual([EPOLL.in]);
});

test('a batch that is too small tells everybody all the same', async () => {
  const readiness = new Readiness(2);
  const watchers = Array.from({ length: 7 }, () => new Recorder());
  for (const watcher of watchers) readiness.watch(connected(), watcher);
  await turns();
  await turns();
  expect(watchers.map(({ told }) => told)).toEqual(watchers.map(() => [EPOLL.out]));
});

test('who is unwatched is told nothing, though somebody else has the socket', async () => {
  const readiness = new Readiness();
  const fd = connected();
  const watcher = new Recorder();
  const id = readiness.watch(fd, watcher);
  opened(addon.duplicate(fd));
  readiness.unwatch(fd, id);
  close(fd);
  await turns();
  expect(watcher.told).toEqual([]);
});

test('what cannot be watched is told by its errno', () => {
  expect(new Readiness().watch(-1, new Recorder())).toBe(-9);
});
