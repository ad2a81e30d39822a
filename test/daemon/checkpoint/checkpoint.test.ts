// When checkpoints are written, and when they are read, with time in our hands and a real folder.

import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Checkpoint } from '../../../src/daemon/checkpoint/checkpoint.ts';
import {
  checkpointPath,
  readCheckpoint,
  writeCheckpoint,
} from '../../../src/daemon/checkpoint/checkpoint-file.ts';
import { encodeCheckpoint } from '../../../src/daemon/checkpoint/checkpoint-format.ts';
import { createLog } from '../../../src/daemon/log.ts';
import type { SourceEvent } from '../../../src/model/source-event.ts';
import { Store } from '../../../src/model/store.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { cluster, clusterEvents, clusterStore } from './objects.ts';

const OWNER = { node: 'node-1', source: 'API server https://192.0.2.1:6443' };
const WRITTEN_AT = new Date('2026-03-01T12:00:00Z');
const ENDS: SourceEvent[] = [
  { type: 'list-end', kind: 'Service' },
  { type: 'list-end', kind: 'EndpointSlice' },
];

let folder: string;
let clock: FakeClock;
let store: Store;
let lines: { level: string; msg: string; code?: string }[];
let restored: Date[];
let writes: number;
let failures: number;
let checkpoint: Checkpoint;

function open(): void {
  checkpoint = new Checkpoint({
    folder,
    owner: () => OWNER,
    store,
    clock,
    log: createLog({
      format: 'json',
      verbosity: 0,
      isTty: false,
      destination: { write: (line: string) => lines.push(JSON.parse(line)) },
    }),
    onRestore: (objects, writtenAt) => {
      restored.push(writtenAt);
      store.restore(objects);
    },
    onWritten: () => writes++,
    onFailure: () => failures++,
  });
  checkpoint.start();
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kproxy-checkpoint-'));
  clock = new FakeClock();
  store = new Store();
  lines = [];
  restored = [];
  writes = 0;
  failures = 0;
});
afterEach(async () => {
  await checkpoint.close();
  rmSync(folder, { recursive: true, force: true });
});

const tell = (...events: SourceEvent[]): void => {
  const { services } = store.apply(events);
  checkpoint.received(services.size > 0);
};
const saved = () => writeCheckpoint(folder, encodeCheckpoint(OWNER, WRITTEN_AT, cluster(3)));
const messages = () => lines.map(({ level, msg }) => `${level}: ${msg}`);
const untilSettled = (isSettled: () => boolean) => expect.poll(isSettled, { timeout: 5000 }).toBe(true);
/** Long enough for what is read or written to be noticed. */
const quiet = async () => {
  for (let i = 0; i < 50; i++) await turn();
  await new Promise((resolve) => setTimeout(resolve, 50));
};

describe('a start without an answer', () => {
  test('after five seconds of silence it is the checkpoint that counts', async () => {
    await saved();
    open();
    clock.pass(4999);
    await quiet();
    expect(restored).toEqual([]);
    clock.pass(1);
    await untilSettled(() => restored.length > 0);
    expect(restored).toEqual([WRITTEN_AT]);
    expect([store.serviceCount, store.isSynced, store.isStale]).toEqual([3, true, true]);
    expect(messages()).toEqual(['warn: no answer yet: the last known objects are served']);
  });

  test('a source that goes on talking has thirty seconds', async () => {
    await saved();
    open();
    for (let i = 0; i < 7; i++) {
      clock.pass(4000);
      tell({ type: 'list-start', kind: 'Service' });
    }
    await quiet();
    expect(restored).toEqual([]);
    clock.pass(2000);
    await untilSettled(() => restored.length > 0);
  });

  test('one that answers in time needs none, even when the reading of it had begun', async () => {
    await saved();
    open();
    clock.pass(4000);
    tell(...clusterEvents(2), ...ENDS);
    clock.pass(60_000);
    await untilSettled(() => writes > 0);
    expect(restored).toEqual([]);

    await checkpoint.close();
    await saved();
    store = new Store();
    open();
    clock.pass(5000);
    tell(...clusterEvents(2), ...ENDS);
    await quiet();
    expect(restored).toEqual([]);
    expect(store.serviceCount).toBe(2);
    expect(lines).toEqual([]);
  });

  test.each([
    [
      'there is none',
      () => undefined,
      'warn: no answer yet, and no checkpoint: nothing is known',
      undefined,
      0,
    ],
    [
      'it is damaged',
      () => writeFileSync(checkpointPath(folder), 'x'),
      'error: no answer yet, and the checkpoint cannot be used',
      'DAMAGED',
      1,
    ],
  ])('%s: that is told, and nothing is served', async (_, prepare, message, code, failed) => {
    prepare();
    open();
    clock.pass(5000);
    await untilSettled(() => lines.length > 0);
    expect(messages()).toEqual([message]);
    expect(lines[0]!.code).toBe(code);
    expect(failures).toBe(failed);
    expect([restored.length, store.isSynced]).toEqual([0, false]);
  });

  test('nothing is written before the source has listed Services and endpoints; then that is told', async () => {
    await saved();
    open();
    clock.pass(5000);
    await untilSettled(() => restored.length > 0);
    tell({ type: 'list-start', kind: 'Service' }, ...clusterEvents(1), { type: 'list-end', kind: 'Service' });
    clock.pass(100_000);
    await quiet();
    expect(writes).toBe(0);
    tell({ type: 'list-start', kind: 'EndpointSlice' }, { type: 'list-end', kind: 'EndpointSlice' });
    expect(messages()[1]).toBe('info: the source has listed everything: nothing of the checkpoint is left');
    clock.pass(1000);
    await untilSettled(() => writes > 0);
    const found = await readCheckpoint(folder, OWNER);
    expect(found).toMatchObject({ objects: [...store.known()] });
  });
});

describe('writing', () => {
  test('a second after the first change, and then every ten at most', async () => {
    open();
    tell(...clusterEvents(2), ...ENDS);
    clock.pass(999);
    await quiet();
    expect(writes).toBe(0);
    clock.pass(1);
    await untilSettled(() => writes === 1);
    await quiet();
    tell(...clusterEvents(3));
    tell(...clusterEvents(4));
    clock.pass(9999);
    await quiet();
    expect(writes).toBe(1);
    clock.pass(1);
    await untilSettled(() => writes === 2);
    await quiet();
    // And no more when nothing changes.
    tell(...clusterEvents(4));
    clock.pass(1_000_000);
    await quiet();
    expect(writes).toBe(2);
  });

  test('what has not been written when it stops is written then', async () => {
    open();
    tell(...clusterEvents(2), ...ENDS);
    await checkpoint.close();
    expect(writes).toBe(1);
    expect(await readCheckpoint(folder, OWNER)).toMatchObject({ objects: [...store.known()] });
  });

  test('a failure is told once, tried again, and so is its end', async () => {
    const place = folder;
    folder = join(place, 'state');
    writeFileSync(folder, 'not a folder');
    open();
    tell(...clusterEvents(2), ...ENDS);
    clock.pass(1000);
    await untilSettled(() => failures === 1);
    await quiet();
    clock.pass(29_999);
    await quiet();
    expect(failures).toBe(1);
    clock.pass(1);
    await untilSettled(() => failures === 2);
    await quiet();
    rmSync(folder);
    clock.pass(30_000);
    await untilSettled(() => writes === 1);
    expect(messages()).toEqual(['error: no checkpoint could be written', 'info: checkpoint written again']);
    rmSync(place, { recursive: true });
  });

  test('10,000 Services are written without stopping the event loop for long, and come back', async () => {
    store = clusterStore(10_000);
    open();
    const pauses: number[] = [];
    // The best of some: what others do on this machine is not meant.
    for (let i = 1; i <= 5; i++) {
      checkpoint.received(true);
      let [longestMs, lastMs, isOver] = [0, performance.now(), false];
      const look = (): void => {
        const nowMs = performance.now();
        longestMs = Math.max(longestMs, nowMs - lastMs);
        lastMs = nowMs;
        if (!isOver) setTimeout(look, 1);
      };
      look();
      clock.pass(i === 1 ? 1000 : 10_000);
      await untilSettled(() => writes === i);
      await quiet();
      isOver = true;
      pauses.push(longestMs);
    }
    expect(statSync(checkpointPath(folder)).size).toBeGreaterThan(10_000_000);
    expect(Math.min(...pauses)).toBeLessThan(20);
    expect(await readCheckpoint(folder, OWNER)).toMatchObject({ objects: { length: 20_000 } });
  });
});
