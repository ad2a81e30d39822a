// The manifest files of a folder, read again where they changed. Which files count is as with `kubectl apply -f DIR`:
// *.yaml, *.yml and *.json directly in it; hidden files and whatever editors leave beside them are not manifests.

import type { BigIntStats } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type ManifestFile, type RawObjects, readDocuments } from './manifest-file.ts';
import { isSystemError } from './system-error.ts';

/** Where manifests are: a folder, or one file in it. */
export interface ManifestPath {
  readonly folder: string;
  /** undefined for all files of the folder. */
  readonly fileName: string | undefined;
}

/** All files, ordered by name, and the raw values of the objects that were parsed just now. */
export interface FolderContent {
  readonly files: readonly ManifestFile[];
  readonly raws: RawObjects;
}

/** Timestamps younger than this may stand still over two writes (the kernel's clock tick; seconds on some file systems). */
const SETTLED_AFTER_MS = 2_000;
const READS_AT_ONCE = 32;

/**
 * Reads what changed since `previous`; files named in `fresh` are parsed whether they changed or not.
 * Throws the system's error when the folder, or the one file, is not there or cannot be listed.
 */
export async function readFolder(
  { folder, fileName }: ManifestPath,
  previous: readonly ManifestFile[],
  fresh: ReadonlySet<string>,
): Promise<FolderContent> {
  if (fileName !== undefined) await stat(join(folder, fileName));
  const known = new Map(previous.map((file) => [file.name, file]));
  const names = fileName === undefined ? (await readdir(folder)).filter(isManifestName).sort() : [fileName];
  const raws: RawObjects = new Map();
  const files: ManifestFile[] = [];
  for (let i = 0; i < names.length; i += READS_AT_ONCE) {
    const batch = names
      .slice(i, i + READS_AT_ONCE)
      .map((name) => readManifest(folder, name, known.get(name), raws, fresh.has(name)));
    for (const file of await Promise.all(batch)) if (file !== undefined) files.push(file);
  }
  return { files, raws };
}

function isManifestName(name: string): boolean {
  return !name.startsWith('.') && /\.(?:ya?ml|json)$/i.test(name);
}

/** undefined when there is no such file. One that cannot be read keeps the documents it had. */
async function readManifest(
  folder: string,
  name: string,
  before: ManifestFile | undefined,
  raws: RawObjects,
  isFresh: boolean,
): Promise<ManifestFile | undefined> {
  const path = join(folder, name);
  const documents = before?.documents ?? [];
  try {
    const stats = await stat(path, { bigint: true });
    if (!stats.isFile()) return undefined;
    const stamp = stampOf(stats);
    if (!isFresh && stamp !== '' && stamp === before?.stamp) return before;
    const bytes = await readFile(path);
    return { name, stamp, documents: readDocuments(bytes, documents, raws, isFresh), finding: undefined };
  } catch (error) {
    if (!isSystemError(error)) throw error;
    if (error.code === 'ENOENT') return undefined;
    return { name, stamp: '', documents, finding: { code: 'UNREADABLE', reason: error.message } };
  }
}

function stampOf({ ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  const ageMs = Date.now() - Number(ctimeNs / 1_000_000n);
  return ageMs < SETTLED_AFTER_MS ? '' : `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
}
