import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FileWatch } from '../../src/daemon/file-watch.ts';

const LOOK_MS = 20;

let folder: string;
let file: string;
let told: number;
let watch: FileWatch;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kproxy-ts-watch-'));
  file = path.join(folder, 'config.yaml');
  writeFileSync(file, 'a');
  told = 0;
  watch = new FileWatch([file], () => told++, LOOK_MS);
  await watch.open();
});
afterEach(() => {
  watch.close();
  rmSync(folder, { recursive: true });
});

/** Long enough for several looks. */
const looks = () => new Promise((resolve) => setTimeout(resolve, 10 * LOOK_MS));

it('tells each change once, and nothing without one', async () => {
  await looks();
  expect(told).toBe(0);
  writeFileSync(file, 'b');
  await expect.poll(() => told).toBe(1);
  await looks();
  expect(told).toBe(1);
  writeFileSync(`${file}.new`, 'c');
  renameSync(`${file}.new`, file);
  await expect.poll(() => told).toBe(2);
});

it('tells that the file has gone, and that it is back', async () => {
  rmSync(file);
  await expect.poll(() => told).toBe(1);
  await looks();
  expect(told).toBe(1);
  writeFileSync(file, 'a');
  await expect.poll(() => told).toBe(2);
});

it('waits while it is being written', async () => {
  const end = performance.now() + 10 * LOOK_MS;
  for (let text = ''; performance.now() < end; text += 'x') {
    writeFileSync(file, text);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS / 5));
    expect(told).toBe(0);
  }
  await expect.poll(() => told).toBe(1);
});

it('is silent about what somebody has read already, and once it is closed', async () => {
  writeFileSync(file, 'b');
  await watch.acknowledge();
  await looks();
  expect(told).toBe(0);
  watch.close();
  writeFileSync(file, 'c');
  await looks();
  expect(told).toBe(0);
});

it('of several files each counts', async () => {
  const others = ['b', 'c'].map((name) => path.join(folder, name));
  const all = new FileWatch(others, () => told++, LOOK_MS);
  await all.open();
  writeFileSync(others[1]!, 'x');
  await expect.poll(() => told).toBe(1);
  writeFileSync(others[0]!, 'x');
  await expect.poll(() => told).toBe(2);
  all.close();
});
