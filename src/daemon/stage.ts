// Which pipeline is in use, and how another takes its place: before rules of another mode are in force those of the former one stay,
// and then they are removed.

import type { ProxyMode } from '../config/flags.ts';
import type { Settings } from '../config/settings.ts';
import { KproxyError } from '../errors.ts';
import type { Backend } from './backend.ts';
import type { Log } from './log.ts';
import { openBackend } from './open-backend.ts';
import type { Pipeline } from './pipeline.ts';

export class Stage {
  readonly #log: Log;
  #pipeline: Pipeline | undefined;
  /** Modes that were in use and may have rules. */
  readonly #former = new Set<ProxyMode>();
  #removal: Promise<void> = Promise.resolve();

  constructor(log: Log) {
    this.#log = log;
  }

  get pipeline(): Pipeline | undefined {
    return this.#pipeline;
  }

  /** The way into the kernel that settings ask for. Throws KproxyError where every sync would fail. */
  async open(settings: Settings): Promise<Backend> {
    // What is being removed may be what comes back.
    await this.#removal;
    return openBackend(settings, this.#log, () => this.#pipeline?.suspect());
  }

  /** Settles when the former pipeline is closed; the new one syncs from then on. */
  async replace(pipeline: Pipeline): Promise<void> {
    const former = this.#pipeline;
    if (former !== undefined) await former.close();
    this.#pipeline = pipeline;
    if (former === undefined) return;
    if (former.settings.proxyMode !== pipeline.settings.proxyMode)
      this.#former.add(former.settings.proxyMode);
    pipeline.succeed(former);
  }

  /** Rules of the pipeline in use are in force: those of other modes may go. */
  inForce(): void {
    if (this.#pipeline === undefined) return;
    const { proxyMode, iptables } = this.#pipeline.settings;
    const modes = [...this.#former].filter((mode) => mode !== proxyMode);
    this.#former.clear();
    if (modes.length > 0) this.#removal = this.#remove(modes, iptables.backend);
  }

  /** Closes what is open. The rules stay in force. */
  async close(): Promise<void> {
    const pipeline = this.#pipeline;
    this.#pipeline = undefined;
    await pipeline?.close();
    await this.#removal;
  }

  async #remove(
    modes: readonly ProxyMode[],
    iptablesBackend: Settings['iptables']['backend'],
  ): Promise<void> {
    const { cleanUpMode } = await import('./inspect.ts');
    for (const mode of modes) {
      try {
        const { removed } = await cleanUpMode(mode, { iptablesBackend }, this.#log);
        this.#log.info({ mode, removed }, 'rules of the former mode removed');
      } catch (err) {
        if (!(err instanceof KproxyError)) throw err;
        this.#log.error(
          { err, mode },
          'rules of the former mode could not be removed; `kproxy-ts cleanup` does',
        );
      }
    }
  }
}
