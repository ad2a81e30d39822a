// Which pipeline is in use, and how another takes its place. Rules of other modes, left by a pipeline or a daemon before, stay until
// those of this one are in force, and then they are removed.

import type { ProxyMode } from '../config/flags.ts';
import type { Settings } from '../config/settings.ts';
import type { Backend } from './backend.ts';
import type { Log } from './log.ts';
import { openBackend } from './open-backend.ts';
import type { Pipeline } from './pipeline.ts';

export class Stage {
  readonly #log: Log;
  #pipeline: Pipeline | undefined;
  /** The mode whose rules are the only ones. */
  #soleMode: ProxyMode | undefined;
  #removal: Promise<void> = Promise.resolve();
  #endRemoval = new AbortController();

  constructor(log: Log) {
    this.#log = log;
  }

  get pipeline(): Pipeline | undefined {
    return this.#pipeline;
  }

  /** The way into the kernel that settings ask for. Throws KproxyError where every sync would fail. */
  async open(settings: Settings): Promise<Backend> {
    // What is being removed may be what comes back.
    await this.#stopRemoval();
    return openBackend(settings, this.#log, () => this.#pipeline?.suspect());
  }

  /** Settles when the former pipeline is closed; the new one syncs from then on. */
  async replace(pipeline: Pipeline): Promise<void> {
    const former = this.#pipeline;
    if (former !== undefined) await former.close();
    this.#pipeline = pipeline;
    if (former === undefined) return;
    if (former.settings.proxyMode !== pipeline.settings.proxyMode) this.#soleMode = undefined;
    pipeline.succeed(former);
  }

  /** Rules of the pipeline in use are in force: those of other modes may go. */
  inForce(): void {
    if (this.#pipeline === undefined) return;
    const { settings } = this.#pipeline;
    if (this.#soleMode === settings.proxyMode) return;
    this.#soleMode = settings.proxyMode;
    this.#endRemoval = new AbortController();
    this.#removal = removeOtherModes(settings, this.#log, this.#endRemoval.signal);
  }

  /** Closes what is open. The rules stay in force. */
  async close(): Promise<void> {
    const pipeline = this.#pipeline;
    this.#pipeline = undefined;
    await pipeline?.close();
    await this.#stopRemoval();
  }

  /** What is left of it is for whoever comes next. */
  #stopRemoval(): Promise<void> {
    this.#endRemoval.abort();
    return this.#removal;
  }
}

async function removeOtherModes(settings: Settings, log: Log, signal: AbortSignal): Promise<void> {
  const { cleanUpOtherModes } = await import('./inspect.ts');
  await cleanUpOtherModes(settings, log, signal);
}
