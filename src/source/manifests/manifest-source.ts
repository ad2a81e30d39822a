// Manifests in a folder, or in one file, as a source of objects. What can be read is in force; what cannot keeps its
// last good state: a document, a file, or the folder as a whole.

import { watch as fsWatch } from 'node:fs';
import { access, constants, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import type { Logger } from 'pino';
import { ConfigError } from '../../errors.ts';
import type { Source, SourceSink } from '../source.ts';
import { Catalog } from './catalog.ts';
import { Debounce } from './debounce.ts';
import { FolderWatch } from './folder-watch.ts';
import type { ManifestFile, RawObjects } from './manifest-file.ts';
import { type ManifestPath, readFolder } from './manifest-folder.ts';
import { isSystemError } from './system-error.ts';

export interface ManifestSourceOptions {
  /** A folder of manifests, or one manifest. */
  readonly path: string;
  readonly log?: Pick<Logger, 'debug' | 'info' | 'warn'>;
  /** Quiet time after a change before it is read, in milliseconds; 50 when not given. */
  readonly debounceMs?: number;
  /** Between looks for what cannot be watched, in milliseconds; 1,000 when not given. */
  readonly pollMs?: number;
  /** What stands for fs.watch, where the real one is not to be relied on. */
  readonly watch?: typeof fsWatch;
}

/** A change that goes on and on is read at least this often. */
const MAX_DEBOUNCE_MS = 1_000;

/** A source that reads `path` and follows its changes. `start` throws ConfigError when it cannot be read. */
export function createManifestSource(options: ManifestSourceOptions): Source {
  return new ManifestSource(options);
}

class ManifestSource implements Source {
  readonly description: string;
  readonly #options: ManifestSourceOptions;
  readonly #catalog = new Catalog();
  readonly #debounce: Debounce;
  readonly #quietMs: number;
  #where: ManifestPath | undefined;
  #sink: SourceSink = () => {};
  #watch: FolderWatch | undefined;
  #files: readonly ManifestFile[] = [];
  /** The reading under way. */
  #reading: Promise<void> | undefined;
  #isStale = false;
  #isLost = false;
  #isStopped = false;

  constructor(options: ManifestSourceOptions) {
    this.#options = options;
    this.description = `manifests ${options.path}`;
    this.#quietMs = options.debounceMs ?? 50;
    this.#debounce = new Debounce({ quietMs: this.#quietMs, maxMs: MAX_DEBOUNCE_MS }, () => this.#read());
  }

  async start(sink: SourceSink): Promise<void> {
    const { path, log, pollMs = 1_000, watch = fsWatch } = this.#options;
    this.#where = await locate(path);
    if (this.#isStopped) return;
    this.#sink = sink;
    const onChange = (): void => this.#debounce.trigger();
    this.#watch = new FolderWatch({ folder: this.#where.folder, onChange, log, pollMs, watch });
    await this.#watch.open();
    this.#debounce.cancel();
    this.#read();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#watch?.close();
    this.#debounce.cancel();
    await this.#reading;
  }

  /** Reads now, or once more after the reading under way. */
  #read(): void {
    this.#isStale = true;
    this.#reading ??= this.#readWhileStale();
  }

  async #readWhileStale(): Promise<void> {
    while (this.#isStale && !this.#isStopped) {
      this.#isStale = false;
      await this.#readOnce();
    }
    this.#reading = undefined;
  }

  async #readOnce(): Promise<void> {
    try {
      const missing = await this.#tell(new Set());
      if (missing.size > 0) await this.#tell(missing);
      if (this.#isLost) this.#options.log?.info(`${this.description} can be read again`);
      this.#isLost = false;
    } catch (err) {
      if (!isSystemError(err)) throw err;
      if (!this.#isLost)
        this.#options.log?.warn({ err }, `${this.description}: the last state stays in force`);
      this.#isLost = true;
    }
  }

  /** Tells what changed; returns the files to parse afresh, as what they state comes into force only now. */
  async #tell(fresh: ReadonlySet<string>): Promise<ReadonlySet<string>> {
    const isFirst = this.#files.length === 0;
    const options = {
      previous: this.#files,
      fresh,
      restMs: this.#quietMs,
      onPart: isFirst
        ? (soFar: readonly ManifestFile[], raws: RawObjects) => this.#tellPart(soFar, raws)
        : undefined,
    };
    const { files, raws, isDeferred } = await readFolder(this.#where!, options);
    if (this.#isStopped) return new Set();
    if (isDeferred) this.#debounce.trigger();
    this.#files = files;
    const { events, missing } = this.#catalog.update(files, raws);
    this.#options.log?.debug({ files: files.length, events: events.length }, 'manifests read');
    if (events.length > 0) this.#sink(events);
    return missing;
  }

  /** Tells a part of the first listing, so that its raw objects need not be held until the end. */
  #tellPart(files: readonly ManifestFile[], raws: RawObjects): void {
    if (!this.#isStopped) this.#sink(this.#catalog.update(files, raws, false).events);
  }
}

async function locate(path: string): Promise<ManifestPath> {
  const full = resolve(path);
  const stats = await orConfigError(path, stat(full));
  const isFolder = stats.isDirectory();
  if (!isFolder && !stats.isFile()) throw new ConfigError(`manifests ${path}: neither a folder nor a file`);
  await orConfigError(path, access(full, isFolder ? constants.R_OK | constants.X_OK : constants.R_OK));
  return isFolder
    ? { folder: full, fileName: undefined }
    : { folder: dirname(full), fileName: basename(full) };
}

async function orConfigError<T>(path: string, attempt: Promise<T>): Promise<T> {
  try {
    return await attempt;
  } catch (cause) {
    if (!isSystemError(cause)) throw cause;
    throw new ConfigError(`manifests ${path}: ${cause.code}`, { cause });
  }
}
