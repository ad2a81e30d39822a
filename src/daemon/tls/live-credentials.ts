// Credentials while the daemon runs: read again when a file of them changes, as cert-manager and kubelet replace them. What cannot be used
// is told, and what was in use stays.

import type { MetricsTls } from '../../config/settings.ts';
import { ConfigError } from '../../errors.ts';
import { FileWatch } from '../file-watch.ts';
import type { Log } from '../log.ts';
import { type Credentials, readCredentials } from './credentials.ts';

export interface LiveCredentialsOptions {
  readonly files: MetricsTls;
  readonly log: Log;
  /** Files have changed: told of what is in use now, or that they cannot be used. */
  readonly onReload: (credentials: Credentials | undefined) => void;
  /** Between looks at the files, milliseconds. */
  readonly lookMs?: number;
}

export class LiveCredentials {
  readonly #options: LiveCredentialsOptions;
  readonly #watch: FileWatch;
  #current: Credentials;
  #isClosed = false;

  /** Throws ConfigError when they cannot be used. */
  static async open(options: LiveCredentialsOptions): Promise<LiveCredentials> {
    const live = new LiveCredentials(options, await readCredentials(options.files));
    await live.#watch.open();
    return live;
  }

  private constructor(options: LiveCredentialsOptions, current: Credentials) {
    this.#options = options;
    this.#current = current;
    this.#use(current);
    const paths = Object.values(options.files).filter((path) => path !== undefined);
    this.#watch = new FileWatch(paths, () => void this.#reload(), options.lookMs);
  }

  get current(): Credentials {
    return this.#current;
  }

  close(): void {
    this.#isClosed = true;
    this.#watch.close();
  }

  async #reload(): Promise<void> {
    const { files, log, onReload } = this.#options;
    let credentials: Credentials;
    try {
      credentials = await readCredentials(files);
    } catch (err) {
      if (!(err instanceof ConfigError)) throw err;
      if (this.#isClosed) return;
      log.error({ err }, 'credentials of the metrics server refused; those before stay in use');
      onReload(undefined);
      return;
    }
    if (this.#isClosed) return;
    this.#use(credentials);
    log.info({ expiresAt: credentials.expiresAt }, 'credentials of the metrics server replaced');
    onReload(credentials);
  }

  #use(credentials: Credentials): void {
    this.#current = credentials;
    const { expiresAt } = credentials;
    if (expiresAt.getTime() >= Date.now()) return;
    this.#options.log.warn({ expiresAt }, 'the certificate of the metrics server has expired');
  }
}
