// The configuration while the daemon runs: read again when its file changes and at SIGHUP.

import type { EffectiveConfig } from '../config/effective-config.ts';
import type { Settings, SettingsResult } from '../config/settings.ts';
import { FileWatch } from './file-watch.ts';
import type { Log } from './log.ts';
import type { ReloadPlan } from './reload-plan.ts';
import { Reloader } from './reloader.ts';

export interface LiveConfigOptions {
  /** In force at the start. */
  readonly settings: Settings;
  /** Reads the configuration anew. */
  readonly load: () => Promise<SettingsResult>;
  /** The file of it; undefined when all of it is flags. */
  readonly path: string | undefined;
  readonly log: Log;
  /** Makes settings take effect. Throws KproxyError, and then nothing has changed. */
  readonly apply: (settings: Settings, config: EffectiveConfig, plan: ReloadPlan) => Promise<void>;
  /** It is being read. */
  readonly onStart: () => void;
  /** It is in force; or it is not, for a reason, and the one before stays. */
  readonly onEnd: (refusal: string | undefined) => void;
}

export class LiveConfig {
  readonly #options: LiveConfigOptions;
  readonly #watch: FileWatch | undefined;
  readonly #reloader: Reloader;

  constructor(options: LiveConfigOptions) {
    this.#options = options;
    const { settings, load, path, log, apply, onStart, onEnd } = options;
    const watch = path === undefined ? undefined : new FileWatch([path], () => this.#reloader.request());
    this.#watch = watch;
    this.#reloader = new Reloader({
      settings,
      load: async () => {
        onStart();
        await watch?.acknowledge();
        return load();
      },
      log,
      apply,
      onEnd,
    });
  }

  /** Settles when a change of the file from now on will be noticed. */
  async open(): Promise<void> {
    await this.#watch?.open();
  }

  /** Somebody wants it read again now. */
  request(): void {
    const { path, log, onStart, onEnd } = this.#options;
    if (path !== undefined) {
      this.#reloader.request();
      return;
    }
    onStart();
    log.info('nothing to reload: all settings are flags');
    onEnd(undefined);
  }

  /** Settles when none is being applied; none will be. */
  async close(): Promise<void> {
    this.#watch?.close();
    await this.#reloader.close();
  }
}
