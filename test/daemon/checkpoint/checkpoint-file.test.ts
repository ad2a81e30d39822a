// Checkpoints on a real file system: what is written is read, whatever is cut, flipped or full.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  checkpointPath,
  isUnusable,
  readCheckpoint,
  writeCheckpoint,
} from '../../../src/daemon/checkpoint/checkpoint-file.ts';
import { encodeCheckpoint } from '../../../src/daemon/checkpoint/checkpoint-format.ts';
import type { KnownObject } from '../../../src/model/saved-object.ts';
import { SAVED_VERSION } from '../../../src/model/saved-object.ts';
import { runCommand } from '../../support/netns/command.ts';
import { cluster } from './objects.ts';

const OWNER = { node: 'node-1', source: 'API server https://192.0.2.1:6443' };
const AT = new Date('2026-03-01T12:00:00Z');
const OBJECTS = cluster(300);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kproxy-checkpoint-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (objects: readonly KnownObject[] = OBJECTS, owner = OWNER, maxBytes?: number) =>
  writeCheckpoint(folder, encodeCheckpoint(owner, AT, objects), maxBytes);
const codeOf = async (maxBytes?: number) => {
  const found = await readCheckpoint(folder, OWNER, maxBytes);
  return found === undefined ? 'none' : isUnusable(found) ? found.code : 'read';
};

test('what was written is read, with its time', async () => {
  expect(await codeOf()).toBe('none');
  const bytes = await write();
  expect(statSync(checkpointPath(folder))).toMatchObject({ size: bytes, mode: 0o100600 });
  expect(await readCheckpoint(folder, OWNER)).toStrictEqual({ writtenAt: AT, objects: OBJECTS });
  await write([]);
  expect(await readCheckpoint(folder, OWNER)).toStrictEqual({ writtenAt: AT, objects: [] });
  expect(readdirSync(folder)).toEqual(['checkpoint']);
});

test('a folder that is not there is made, for its owner only', async () => {
  folder = join(folder, 'var', 'lib');
  await write();
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(await codeOf()).toBe('read');
});

test('a folder that cannot be used is told by its code', async () => {
  writeFileSync(join(folder, 'file'), '');
  folder = join(folder, 'file');
  await expect(write()).rejects.toMatchObject({ code: 'EEXIST' });
  expect(await readCheckpoint(join(folder, 'x'), OWNER)).toMatchObject({ code: 'UNREADABLE' });
});

test('of another node, another cluster, another version', async () => {
  await write(OBJECTS, { ...OWNER, node: 'node-2' });
  expect(await codeOf()).toBe('OTHER_OWNER');
  await write(OBJECTS, { ...OWNER, source: 'API server https://192.0.2.2:6443' });
  expect(await codeOf()).toBe('OTHER_OWNER');
  await write();
  const file = checkpointPath(folder);
  writeFileSync(file, readFileSync(file, 'utf8').replace(`"version":${SAVED_VERSION}`, '"version":999'));
  expect(await codeOf()).toBe('FOREIGN_VERSION');
});

test('too large a one is neither read nor written, and the last one stays', async () => {
  const bytes = await write();
  expect(await codeOf(bytes - 1)).toBe('OVERSIZED');
  expect(await codeOf(bytes)).toBe('read');
  await expect(write(cluster(400), OWNER, bytes)).rejects.toMatchObject({ code: 'EFBIG' });
  expect(readdirSync(folder)).toEqual(['checkpoint']);
  expect(await codeOf()).toBe('read');
});

describe('damage', () => {
  let bytes: Buffer;
  beforeAll(() => {
    bytes = Buffer.concat([...encodeCheckpoint(OWNER, AT, OBJECTS)]);
  });

  test('one bit anywhere', async () => {
    const property = fc.asyncProperty(fc.nat(bytes.length - 2), fc.nat(7), async (at, bit) => {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1 << bit;
      writeFileSync(checkpointPath(folder), flipped);
      // A bit of the header may make it somebody else's.
      expect(await codeOf()).not.toMatch(/read|none/);
    });
    await fc.assert(property, { numRuns: 300 });
  });

  test('an end that is missing, from nothing at all to the last byte but one', async () => {
    const property = fc.asyncProperty(fc.nat(bytes.length - 2), async (size) => {
      writeFileSync(checkpointPath(folder), bytes);
      truncateSync(checkpointPath(folder), size);
      expect(await codeOf()).toBe('DAMAGED');
    });
    await fc.assert(property, { numRuns: 200, examples: [[0], [bytes.length - 2]] });
  });

  test('lines that are taken out, or come twice', async () => {
    const lines = bytes.toString().split('\n');
    for (const edited of [lines.toSpliced(5, 1), lines.toSpliced(5, 0, lines[5]!), lines.toReversed()]) {
      writeFileSync(checkpointPath(folder), edited.join('\n'));
      expect(await codeOf()).toBe('DAMAGED');
    }
  });

  test('anything at all', async () => {
    const property = fc.asyncProperty(fc.uint8Array({ maxLength: 4096 }), async (content) => {
      writeFileSync(checkpointPath(folder), content);
      expect(await codeOf()).toBe('DAMAGED');
    });
    await fc.assert(property, { numRuns: 100 });
  });
});

test('a full disk is told, keeps the last checkpoint and is left without remains; with room again all is well', async () => {
  const steps = 'mount -t tmpfs -o size=256k tmpfs "$1" && exec "$2" --import "$3" "$4" "$1"';
  const child = join(import.meta.dirname, 'full-disk.test-child.ts');
  const register = join(import.meta.dirname, '../../../scripts/register-typescript.mjs');
  // The file system is seen by this command only, and gone with it.
  const argv = ['unshare', '--mount', 'sh', '-ec', steps, 'sh', folder, process.execPath, register, child];
  expect(JSON.parse(await runCommand(argv, { timeoutMs: 20_000 }))).toEqual({
    failure: 'ENOSPC',
    isLastKept: true,
    remains: ['checkpoint'],
    objectsAfterwards: 40,
  });
});

test('killed at any moment while it writes, there is always a whole one', async () => {
  const sources = mkdtempSync(join(tmpdir(), 'kproxy-sources-'));
  const sizes = [300, 500, 1000];
  const files = sizes.map((size) => join(sources, String(size)));
  for (const [i, size] of sizes.entries()) {
    writeFileSync(files[i]!, Buffer.concat([...encodeCheckpoint(OWNER, AT, cluster(size))]));
  }
  const seen = new Set<string>();
  for (let round = 0; round < 25; round++) {
    const argv = [join(import.meta.dirname, 'writer.mjs'), folder, ...files];
    const writer = spawn(process.execPath, argv, { stdio: 'pipe' });
    await once(writer.stdout, 'data');
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 40));
    writer.kill('SIGKILL');
    await once(writer, 'close');
    for (const file of readdirSync(folder)) seen.add(file);
    const found = await readCheckpoint(folder, OWNER);
    const objectCount = found !== undefined && !isUnusable(found) ? found.objects.length : found;
    expect(sizes.map((size) => 2 * size)).toContain(objectCount);
  }
  rmSync(sources, { recursive: true });
  // Or none was interrupted.
  expect([...seen].sort()).toEqual(['checkpoint', 'checkpoint.unfinished']);
}, 60_000);
