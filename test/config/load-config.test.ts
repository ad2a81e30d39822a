import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kproxy-ts-load-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const HEAD = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';

it.each([
  ['what is not there', 'absent', /^\S+\/absent: cannot be read \(ENOENT\)$/],
  ['a folder', '.', /: cannot be read \(EISDIR\)$/],
  ['a device without an end', '/dev/zero', /^\/dev\/zero: is larger than 1048576 bytes$/],
  ['a device without a beginning', '/dev/null', /^\/dev\/null: /],
])('%s is an error that names it', async (_, name, expected) => {
  const { errors } = await loadConfig(path.resolve(folder, name));
  expect(errors.length).toBeGreaterThan(0);
  for (const error of errors) expect(error).toMatch(expected);
});

it.each([
  [1024 * 1024, []],
  [1024 * 1024 + 1, [expect.stringMatching(/: is larger than 1048576 bytes$/)]],
])('a file of %i bytes', async (size, expected) => {
  const file = path.join(folder, 'config.yaml');
  writeFileSync(file, `${HEAD}mode: nftables\n`.padEnd(size - 1, '#').concat('\n'));
  const { errors, fields } = await loadConfig(file);
  expect(errors).toEqual(expected);
  expect(fields.get('mode')).toEqual(expected.length === 0 ? ['nftables'] : undefined);
});
