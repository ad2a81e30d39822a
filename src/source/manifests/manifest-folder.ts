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

/** What a reading starts from. */
export interface ReadOptions {
  /** The files as last read. */
  readonly previous: readonly ManifestFile[];
  /** Names of files to parse whether they changed or not. */
  readonly fresh: ReadonlySet<string>;
  /** A known file is not read again before it has been at rest for this long: writers truncate first. */
  readonly restMs: number;
  /**
   * Called with all files so far whenever many objects have been parsed. What it was given in `raws` is forgotten then:
   * a large folder's raw objects are several times the size of what is kept of them.
   */
  readonly onPart?: ((files: readonly ManifestFile[], raws: RawObjects) => void) | undefined;
}

/** What a reading comes to. */
export interface FolderContent {
  /** Ordered by name. */
  readonly files: readonly ManifestFile[];
  /** The raw values of the objects that were parsed just now, or since the last part. */
  readonly raws: RawObjects;
  /** True when a file was being written, and is to be read later. */
  readonly isDeferred: boolean;
}

/** Timestamps younger than this may stand still over two writes (the kernel's clock tick; seconds on some file systems). */
const SETTLED_AFTER_MS = 2_000;
/** Few, because each file is held as bytes, as text and as objects at a time. */
const READS_AT_ONCE = 8;
/** Parsed objects that make a part. */
const PART_OBJECTS = 20_000;

/** Reads what changed. Throws the system's error when the folder, or the one file, is not there or cannot be listed. */
export async function readFolder(
  { folder, fileName }: ManifestPath,
  { previous, fresh, restMs, onPart }: ReadOptions,
): Promise<FolderContent> {
  if (fileName !== undefined) await stat(join(folder, fileName));
  const names = fileName === undefined ? (await readdir(folder)).filter(isManifestName).sort() : [fileName];
  const known = new Map(previous.map((file) => [file.name, file]));
  const raws: RawObjects = new Map();
  const readings: Reading[] = [];
  for (let i = 0; i < names.length; i += READS_AT_ONCE) {
    const batch = names.slice(i, i + READS_AT_ONCE).map((name) => {
      return readManifest(join(folder, name), name, known.get(name), {
        raws,
        restMs,
        isFresh: fresh.has(name),
      });
    });
    readings.push(...(await Promise.all(batch)));
    if (onPart !== undefined && raws.size >= PART_OBJECTS) {
      onPart(
        readings.flatMap(({ file }) => file ?? []),
        raws,
      );
      raws.clear();
    }
  }
  return {
    files: readings.flatMap(({ file }) => file ?? []),
    raws,
    isDeferred: readings.some(({ isDeferred }) => isDeferred),
  };
}

function isManifestName(name: string): boolean {
  return !name.startsWith('.') && /\.(?:ya?ml|json)$/i.test(name);
}

interface Reading {
  /** undefined when there is no such file. */
  readonly file: ManifestFile | undefined;
  readonly isDeferred: boolean;
}

/** Reads one file; one that cannot be read keeps the documents it had. */
async function readManifest(
  path: string,
  name: string,
  before: ManifestFile | undefined,
  { raws, restMs, isFresh }: { raws: RawObjects; restMs: number; isFresh: boolean },
): Promise<Reading> {
  const done = (file: ManifestFile | undefined): Reading => ({ file, isDeferred: false });
  const later: Reading = { file: before, isDeferred: true };
  const documents = before?.documents ?? [];
  try {
    const stats = await stat(path, { bigint: true });
    if (!stats.isFile()) return done(undefined);
    const stamp = ageMs(stats) < SETTLED_AFTER_MS ? '' : identity(stats);
    if (!isFresh && stamp !== '' && stamp === before?.stamp) return done(before);
    if (before !== undefined && ageMs(stats) >= 0 && ageMs(stats) < restMs) return later;
    const bytes = await readFile(path);
    if (before !== undefined && identity(stats) !== identity(await stat(path, { bigint: true })))
      return later;
    return done({
      name,
      stamp,
      documents: readDocuments(bytes, documents, raws, isFresh),
      finding: undefined,
    });
  } catch (error) {
    if (!isSystemError(error)) throw error;
    if (error.code === 'ENOENT') return done(undefined);
    return done({ name, stamp: '', documents, finding: { code: 'UNREADABLE', reason: error.message } });
  }
}

/** Since the last change of content or attributes; negative when another machine's clock is ahead. */
function ageMs({ ctimeNs }: BigIntStats): number {
  return Date.now() - Number(ctimeNs / 1_000_000n);
}

/** Different after each change that the clock can tell from the one before. */
function identity({ ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
}
