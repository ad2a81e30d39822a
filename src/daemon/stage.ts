// Which pipeline is in use, and how another takes its place. Rules of other modes, left by a pipeline or a daemon before, stay until
// those of this one are in force, and then they are removed.

import type { ProxyMode } from '../config/flags.ts';
import type { Settings } from '../config/settings.ts';
import type { Backend } from './backend.ts';
import type { Bequest } from './handover/bequest.ts';
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
  /** Former ones whose rules lead to this process, until others are in force. */
  #leaving: Pipeline[] = [];
  /** Of whose rules nothing is left, but for what is still under way. */
  readonly #draining = new Set<Pipeline>();

  constructor(log: Log) {
    this.#log = log;
  }

  get pipeline(): Pipeline | undefined {
    return this.#pipeline;
  }

  /** The way into the kernel that settings ask for. Throws KproxyError where every sync would fail. */
  async open(settings: Settings, bequest?: Bequest): Promise<Backend> {
    // What is being removed may be what comes back.
    await this.#stopRemoval();
    const present = [this.#pipeline, ...this.#leaving].flatMap((one) => one?.backend ?? []);
    return openBackend(settings, this.#log, () => this.#pipeline?.suspect(), present, bequest);
  }

  /** Settles when the former pipeline is closed; the new one syncs from then on. */
  async replace(pipeline: Pipeline): Promise<void> {
    const former = this.#pipeline;
    await former?.stop();
    if (former?.portals !== undefined) this.#leaving.push(former);
    else former?.close();
    this.#pipeline = pipeline;
    if (former === undefined) return;
    if (former.settings.proxyMode !== pipeline.settings.proxyMode) this.#soleMode = undefined;
    pipeline.succeed(former);
  }

  /**
   * What the pipeline in use wants is written: nobody is led to former ones any more. Settles when those who were have been answered,
   * whom connection tracking goes on leading there.
   */
  async leaveFormer(): Promise<void> {
    await Promise.all(
      this.#leaving.map(async ({ portals }) => {
        await portals?.withdraw(true);
        await portals?.answered();
      }),
    );
  }

  /** Rules of the pipeline in use are in force: those of other modes may go. */
  inForce(): void {
    if (this.#pipeline === undefined) return;
    const { settings } = this.#pipeline;
    const withdrawal = this.#withdraw(true);
    if (this.#soleMode === settings.proxyMode) return;
    this.#soleMode = settings.proxyMode;
    this.#endRemoval = new AbortController();
    const { signal } = this.#endRemoval;
    this.#removal = withdrawal.then(() => removeOtherModes(settings, this.#log, signal));
  }

  /**
   * All that serves by this process, for another one to go on with; undefined where rules serve without it. Nothing is synced any
   * more, and after `close` nothing is left to drain. Throws KproxyError.
   */
  async bequeath(): Promise<Bequest | undefined> {
    if (this.#pipeline?.portals?.isShared() !== false) return undefined;
    await this.#pipeline.stop();
    return this.#pipeline.portals.bequeath();
  }

  /** Closes what is open. The rules stay in force, where they serve without this process. */
  async close(): Promise<void> {
    const pipeline = this.#pipeline;
    this.#pipeline = undefined;
    await pipeline?.stop();
    if (pipeline?.portals !== undefined) this.#leaving.push(pipeline);
    else pipeline?.close();
    await Promise.all([this.#withdraw(false), this.#stopRemoval()]);
  }

  /** What is left of it is for whoever comes next. */
  #stopRemoval(): Promise<void> {
    this.#endRemoval.abort();
    return this.#removal;
  }

  /** To be called after `close`. Settles when all that goes on without rules has ended, or had its time to. */
  async drain(): Promise<void> {
    await Promise.all(
      [...this.#draining].map((one) => this.#drain(one, one.settings.userspace.drainTimeoutMs)),
    );
  }

  /** Settles when nothing leads to what is left; that goes on until it ends. */
  async #withdraw(isFollowed: boolean): Promise<void> {
    const leaving = this.#leaving;
    this.#leaving = [];
    await Promise.all(
      leaving.map(async (pipeline) => {
        this.#draining.add(pipeline);
        await pipeline.portals?.withdraw(isFollowed);
        void this.#drain(pipeline);
      }),
    );
  }

  async #drain(pipeline: Pipeline, forMs?: number): Promise<void> {
    await pipeline.portals?.drain(forMs);
    if (this.#draining.delete(pipeline)) pipeline.close();
  }
}

async function removeOtherModes(settings: Settings, log: Log, signal: AbortSignal): Promise<void> {
  const { cleanUpOtherModes } = await import('./inspect.ts');
  await cleanUpOtherModes(settings, log, signal);
}
