import { mkdtemp, rm, symlink, truncate, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ManifestFile } from '../../../src/source/manifests/manifest-file.ts';
import { readFolder } from '../../../src/source/manifests/manifest-folder.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'manifests-'));
  await writeFile(join(folder, 'a.yaml'), 'kind: Node\nmetadata: {name: a}\n');
});

afterEach(() => rm(folder, { recursive: true }));

function read(previous: readonly ManifestFile[], restMs = 0, fresh: readonly string[] = []) {
  return readFolder({ folder, fileName: undefined }, { previous, restMs, fresh: new Set(fresh) });
}

it('does not take a file that is being written for an empty one', async () => {
  const { files } = await read([]);
  await truncate(join(folder, 'a.yaml'));
  const meanwhile = await read(files, 60_000);
  expect(meanwhile).toMatchObject({ files, isDeferred: true });
  const atRest = await read(meanwhile.files);
  expect(atRest.files).toMatchObject([{ name: 'a.yaml', documents: [] }]);
  expect(atRest.isDeferred).toBe(false);
});

it('parses what did not change only when asked to', async () => {
  const { files, raws } = await read([]);
  expect(raws.size).toBe(1);
  expect((await read(files)).raws.size).toBe(0);
  expect([...(await read(files, 0, ['a.yaml'])).raws.values()]).toEqual([...raws.values()]);
});

it('keeps the documents of a file that cannot be read, and tells why', async () => {
  const { files } = await read([]);
  await unlink(join(folder, 'a.yaml'));
  await symlink('a.yaml', join(folder, 'a.yaml'));
  const { files: unreadable } = await read(files);
  expect(unreadable[0]?.documents).toBe(files[0]?.documents);
  expect(unreadable[0]?.finding).toMatchObject({
    code: 'UNREADABLE',
    reason: expect.stringMatching(/^ELOOP/),
  });
});

it('reads many files in the order of their names', async () => {
  const names = Array.from({ length: 100 }, (_, i) => `f${i}.yaml`);
  for (const name of names) await writeFile(join(folder, name), `kind: Node\nmetadata: {name: ${name}}\n`);
  const { files } = await read([]);
  expect(files.map(({ name }) => name)).toEqual(['a.yaml', ...names].sort());
});
