// Says when a folder may have changed. inotify tells at once about what happens in the folder; a look each second sees
// what inotify does not tell: that the path leads to another folder now (deleted and made again, a symbolic link
// pointed elsewhere). Where inotify is not to be had, that look is all there is, and every one counts as a change.

import type { FSWatcher, watch as fsWatch } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Logger } from 'pino';
import { isSystemError } from './system-error.ts';

export interface FolderWatchOptions {
  readonly folder: string;
  readonly onChange: () => void;
  readonly log: Pick<Logger, 'warn'> | undefined;
  /** Between looks, in milliseconds. */
  readonly pollMs: number;
  /** fs.watch, or what stands for it. */
  readonly watch: typeof fsWatch;
}

/** Identity of a folder that is not there. */
const ABSENT = '';

export class FolderWatch {
  readonly #options: FolderWatchOptions;
  #watcher: FSWatcher | undefined;
  #identity: string = ABSENT;
  #isPolling = false;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: FolderWatchOptions) {
    this.#options = options;
  }

  /** Returns once changes are noticed: what is read after that is read again when it changes. */
  async open(): Promise<void> {
    await this.#look();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#watcher?.close();
  }

  async #look(): Promise<void> {
    const identity = await identityOf(this.#options.folder);
    if (this.#isClosed) return;
    if (identity !== this.#identity) this.#arm(identity);
    else if (this.#isPolling) this.#options.onChange();
    this.#timer = setTimeout(() => void this.#look(), this.#options.pollMs);
  }

  #arm(identity: string): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#identity = identity;
    if (identity !== ABSENT && !this.#isPolling) {
      try {
        this.#watcher = this.#options.watch(this.#options.folder, this.#options.onChange);
        this.#watcher.on('error', (error) => this.#poll(error));
      } catch (error) {
        if (!isSystemError(error)) throw error;
        // Gone since the look: the next one sees it.
        if (error.code === 'ENOENT') this.#identity = ABSENT;
        else this.#poll(error);
      }
    }
    this.#options.onChange();
  }

  /** ENOSPC and EMFILE are the limits on inotify watches and instances of the user. */
  #poll(err: Error): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#isPolling = true;
    const { folder, log, pollMs } = this.#options;
    log?.warn({ err, folder }, `changes cannot be watched, so the folder is read every ${pollMs} ms`);
  }
}

/** Equal for the same folder, ABSENT when there is none to look at. */
async function identityOf(folder: string): Promise<string> {
  try {
    // A folder made just after another was deleted gets its inode number.
    const { dev, ino, birthtimeNs } = await stat(folder, { bigint: true });
    return `${dev} ${ino} ${birthtimeNs}`;
  } catch (error) {
    if (isSystemError(error)) return ABSENT;
    throw error;
  }
}
