// Applies a configuration that changed, one at a time: read, validated, and applied as a whole or refused as a whole.

import type { EffectiveConfig } from '../config/effective-config.ts';
import type { Settings, SettingsResult } from '../config/settings.ts';
import { ConfigError, KproxyError } from '../errors.ts';
import type { Log } from './log.ts';
import { planReload, type ReloadPlan } from './reload-plan.ts';

export interface ReloaderOptions {
  /** In force when the reloader starts. */
  readonly settings: Settings;
  /** Reads the configuration anew. */
  readonly load: () => Promise<SettingsResult>;
  /** Makes settings take effect. Throws KproxyError, and then nothing has changed. */
  readonly apply: (settings: Settings, config: EffectiveConfig, plan: ReloadPlan) => Promise<void>;
  /** Told of the end of each; `refusal` says why it was refused. */
  readonly onEnd: (refusal: string | undefined) => void;
  readonly log: Log;
}

export class Reloader {
  readonly #options: ReloaderOptions;
  #settings: Settings;
  #isRunning = false;
  #applying: Promise<void> = Promise.resolve();
  #isWanted = false;
  #isClosed = false;

  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#settings = options.settings;
  }

  /** Reads and applies, soon; what is asked for while one runs is one more after it. */
  request(): void {
    this.#isWanted = true;
    if (!this.#isRunning) void this.#run();
  }

  /** Settles when none is being applied; none will be. A file that takes for ever to be read is not waited for. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#applying;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#isWanted && !this.#isClosed) {
      this.#isWanted = false;
      const found = await this.#options.load();
      if (this.#isClosed) return;
      this.#applying = this.#use(found);
      await this.#applying;
    }
    this.#isRunning = false;
  }

  async #use({ settings, config, errors, warnings }: SettingsResult): Promise<void> {
    const { apply, log, onEnd } = this.#options;
    if (settings === undefined || config === undefined) {
      this.#refuse(errors);
      return;
    }
    const plan = planReload(this.#settings, settings);
    try {
      if (plan.obstacles.length > 0) {
        throw new ConfigError(`takes a restart: another value of ${plan.obstacles.join(', ')}`);
      }
      await apply(settings, config, plan);
    } catch (error) {
      if (!(error instanceof KproxyError)) throw error;
      this.#refuse([error.message]);
      return;
    }
    this.#settings = settings;
    for (const warning of warnings) log.warn(warning);
    log.info({ changed: plan.changed }, 'configuration applied');
    onEnd(undefined);
  }

  #refuse(errors: readonly string[]): void {
    const { log, onEnd } = this.#options;
    log.error({ errors }, 'configuration refused; the one before stays in force');
    onEnd(errors.join('; '));
  }
}
