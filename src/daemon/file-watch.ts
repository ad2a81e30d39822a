// Says when files have other content. Each is looked at each second, by name: so it does not matter whether it was written in place,
// replaced by another (editors), or stands behind symbolic links that now lead elsewhere (a ConfigMap that kubelet mounts swaps the
// folder). It is told once they have been at rest between two looks: who writes in place truncates first.

import { stat } from 'node:fs/promises';

/** Between looks, in milliseconds. */
const LOOK_MS = 1000;

export class FileWatch {
  readonly #paths: readonly string[];
  readonly #onChange: () => void;
  readonly #lookMs: number;
  /** Of the content that was told of last. */
  #told: string | undefined;
  /** At the last look. */
  #seen: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(paths: readonly string[], onChange: () => void, lookMs = LOOK_MS) {
    this.#paths = paths;
    this.#onChange = onChange;
    this.#lookMs = lookMs;
  }

  /** Settles when a change from now on will be noticed. */
  async open(): Promise<void> {
    await this.acknowledge();
    this.#plan();
  }

  /** Somebody is about to read them: what they are now need not be told. */
  async acknowledge(): Promise<void> {
    this.#told = await identityOf(this.#paths);
    this.#seen = this.#told;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    const identity = await identityOf(this.#paths);
    if (this.#isClosed) return;
    const isAtRest = identity === this.#seen;
    this.#seen = identity;
    if (isAtRest && identity !== this.#told) {
      this.#told = identity;
      this.#onChange();
    }
    this.#plan();
  }

  #plan(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.#look(), this.#lookMs);
    this.#timer.unref();
  }
}

/** Equal for the same content of the same files. */
async function identityOf(paths: readonly string[]): Promise<string> {
  return (await Promise.all(paths.map(identityOfOne))).join('\n');
}

/** Empty when there is none that can be looked at. */
async function identityOfOne(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return '';
  }
}
