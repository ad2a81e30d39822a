// What the service manager is told, and when; on a clock of ours, and over real sockets.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadAddon } from '../../native/load.cjs';
import { createLog } from '../../src/daemon/log.ts';
import { readManagerEnvironment, ServiceManager } from '../../src/daemon/sd-notify.ts';
import { statusLine } from '../../src/daemon/status-line.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { NotifySocket } from '../support/notify-socket.ts';

const ECONNREFUSED = 111;

describe('the environment', () => {
  test.each([
    [{}, undefined],
    [{ NOTIFY_SOCKET: '' }, undefined],
    [{ NOTIFY_SOCKET: 'vsock:2:1234' }, undefined],
    [{ NOTIFY_SOCKET: 'relative' }, undefined],
    [{ NOTIFY_SOCKET: '/' }, undefined],
    [{ NOTIFY_SOCKET: '/run/x' }, { address: Buffer.from('/run/x'), watchdogMs: undefined }],
    [
      { NOTIFY_SOCKET: '@x', WATCHDOG_USEC: '3000000' },
      { address: Buffer.from('\0x'), watchdogMs: 3000 },
    ],
    [
      { NOTIFY_SOCKET: '/x', WATCHDOG_USEC: '500', WATCHDOG_PID: '42' },
      { address: Buffer.from('/x'), watchdogMs: 0.5 },
    ],
    [
      { NOTIFY_SOCKET: '/x', WATCHDOG_USEC: '500', WATCHDOG_PID: '43' },
      { address: Buffer.from('/x'), watchdogMs: undefined },
    ],
    [
      { NOTIFY_SOCKET: '/x', WATCHDOG_USEC: 'soon' },
      { address: Buffer.from('/x'), watchdogMs: undefined },
    ],
    [
      { NOTIFY_SOCKET: '/x', WATCHDOG_USEC: '0' },
      { address: Buffer.from('/x'), watchdogMs: undefined },
    ],
  ])('%j', (env, expected) => {
    expect(readManagerEnvironment(env, 42)).toEqual(expected);
  });
});

describe('what is said', () => {
  let clock: FakeClock;
  let said: string[];
  let errno: number;
  let isLive: boolean;
  let lines: string[];
  let manager: ServiceManager;

  function open(watchdogMs?: number): void {
    manager = new ServiceManager({
      address: Buffer.from('/x'),
      watchdogMs,
      isLive: () => isLive,
      clock,
      log: createLog({
        format: 'json',
        verbosity: 0,
        isTty: false,
        destination: { write: (line: string) => lines.push(JSON.parse(line).err.code) },
      }),
      send: (_, message) => {
        if (errno === 0) said.push(message.toString());
        return errno;
      },
    });
  }

  beforeEach(() => {
    clock = new FakeClock();
    [said, lines, errno, isLive] = [[], [], 0, true];
  });

  test('until it is ready it asks for time, and then it shows signs of life', () => {
    open(30_000);
    clock.pass(30_000);
    expect(said.splice(0)).toEqual(Array(3).fill('EXTEND_TIMEOUT_USEC=30000000'));
    manager.ready();
    clock.pass(30_000);
    expect(said.splice(0)).toEqual(['READY=1', 'WATCHDOG=1', 'WATCHDOG=1']);
    isLive = false;
    clock.pass(60_000);
    expect(said).toEqual([]);
    isLive = true;
    clock.pass(15_000);
    expect(said).toEqual(['WATCHDOG=1']);
    manager.stopping();
    manager.close();
    clock.pass(60_000);
    expect(said).toEqual(['WATCHDOG=1', 'STOPPING=1']);
  });

  test('one that is stuck before it is ready gets no more time', () => {
    isLive = false;
    open();
    clock.pass(600_000);
    expect(said).toEqual([]);
  });

  test('without a watchdog there are no signs of life once it is ready', () => {
    open();
    expect(said.splice(0)).toEqual(['EXTEND_TIMEOUT_USEC=60000000']);
    manager.ready();
    clock.pass(600_000);
    expect(said).toEqual(['READY=1']);
  });

  test('a status is said when it is another, once a second at most, and the last one always', () => {
    open();
    said = [];
    for (const text of ['a', 'a', 'b', 'c\nREADY=1']) manager.status(text);
    expect(said).toEqual(['STATUS=a']);
    clock.pass(1000);
    expect(said).toEqual(['STATUS=a', 'STATUS=c READY=1']);
    clock.pass(10_000);
    expect(said).toHaveLength(2);
  });

  test('a reload has the time on the clock that systemd compares', () => {
    open();
    manager.ready();
    said = [];
    const before = process.hrtime.bigint() / 1000n;
    manager.reloading();
    const [, usec] = /^RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec(said[0]!)!;
    expect(BigInt(usec!) - before).toBeLessThan(1_000_000n);
    manager.reloaded();
    expect(said.slice(1)).toEqual(['READY=1']);
  });

  test('a reload makes nobody ready who is not, and ready is said once', () => {
    open();
    said = [];
    manager.reloading();
    manager.reloaded();
    expect(said).toEqual([]);
    manager.ready();
    manager.ready();
    expect(said).toEqual(['READY=1']);
  });

  test('a manager that does not hear is told of once, and told again in order', () => {
    errno = ECONNREFUSED;
    open(30_000);
    for (const text of ['a', 'b', 'c']) {
      manager.status(text);
      clock.pass(1000);
    }
    manager.ready();
    errno = 0;
    clock.pass(1000);
    expect(said).toEqual(['STATUS=c', 'READY=1']);
    expect(lines).toEqual(['ECONNREFUSED']);
    clock.pass(20_000);
    expect(said.slice(2)).toEqual(['WATCHDOG=1']);
  });
});

describe('over a socket', () => {
  let folder: string;
  let socket: NotifySocket | undefined;
  const { sendDatagram } = loadAddon();

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'kproxy-notify-'));
  });
  afterEach(() => {
    socket?.close();
    rmSync(folder, { recursive: true });
  });

  test.each(['path', 'abstract'])('%s: what is sent arrives, with who sent it', async (kind) => {
    const name = kind === 'path' ? join(folder, 'notify') : `@kpt-${process.pid}-notify`;
    socket = await NotifySocket.open(name);
    const { address } = readManagerEnvironment({ NOTIFY_SOCKET: name }, 1)!;
    expect(sendDatagram(address, Buffer.from('READY=1'))).toBe(0);
    expect(sendDatagram(address, Buffer.from('STATUS=ä'))).toBe(0);
    await expect.poll(() => socket!.received).toHaveLength(2);
    expect(socket.received).toEqual([
      { text: 'READY=1', pid: process.pid },
      { text: 'STATUS=ä', pid: process.pid },
    ]);
  });

  test('failures are numbers', () => {
    const codes = execFileSync('python3', [
      '-c',
      'import errno; print(errno.ENOENT, errno.EINVAL, errno.ENAMETOOLONG)',
    ]);
    const sent = ['/nowhere/at/all', '', 'x'.repeat(109)].map((text) =>
      sendDatagram(Buffer.from(text), Buffer.from('x')),
    );
    expect(sent.join(' ')).toBe(codes.toString().trim());
    expect(sendDatagram(Buffer.from(`\0kpt-${process.pid}-nobody`), Buffer.from('x'))).toBe(ECONNREFUSED);
    expect(() => sendDatagram('/x' as never, Buffer.from('x'))).toThrow(TypeError);
  });

  test('a manager that does not read keeps nobody waiting', async () => {
    const name = `@kpt-${process.pid}-stopped`;
    socket = await NotifySocket.open(name);
    socket.pause();
    const { address } = readManagerEnvironment({ NOTIFY_SOCKET: name }, 1)!;
    const results = new Set<number>();
    const startMs = performance.now();
    for (let i = 0; i < 2000; i++) results.add(sendDatagram(address, Buffer.from('x')));
    expect(performance.now() - startMs).toBeLessThan(2000);
    expect([...results]).toEqual([0, 11]);
  });
});

test.each([
  [{}, '1 Service in force, nftables mode'],
  [{ serviceCount: 2 }, '2 Services in force, nftables mode'],
  [{ isInForce: false }, 'Waiting for API server https://192.0.2.1'],
  [
    { refusal: '--v: must be an integer' },
    '1 Service in force, nftables mode; the new configuration is refused: --v: must be an integer',
  ],
  [{ failure: 'add table: EPERM' }, 'Not all is in force, trying again: add table: EPERM'],
  [
    { staleSince: new Date('2026-03-01T12:00:00Z') },
    '1 Service in force, nftables mode, as of 2026-03-01T12:00:00.000Z: API server https://192.0.2.1 does not answer',
  ],
])('status %j', (facts, expected) => {
  const usual = {
    source: 'API server https://192.0.2.1',
    mode: 'nftables',
    serviceCount: 1,
    isInForce: true,
    failure: undefined,
    staleSince: undefined,
  };
  expect(statusLine({ ...usual, ...facts })).toBe(expected);
});
