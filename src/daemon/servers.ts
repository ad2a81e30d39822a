// The HTTP servers of the daemon: health for load balancers and the kubelet, metrics for whoever scrapes them.

import type { EffectiveConfig } from '../config/effective-config.ts';
import type { Settings } from '../config/settings.ts';
import { readVersion } from '../config/version.ts';
import { isDeepEqual } from '../model/deep-equal.ts';
import type { LivePortals } from './backend.ts';
import { healthHandler } from './health/health-server.ts';
import { HttpListener } from './http-listener.ts';
import { kernelFamilies } from './interfaces.ts';
import type { Log } from './log.ts';
import { guarded, isGuarded } from './tls/guard.ts';
import { LiveCredentials } from './tls/live-credentials.ts';
import type { Vitals } from './vitals.ts';

export interface ServersOptions {
  readonly settings: Settings;
  /** What the settings were made from. */
  readonly config: EffectiveConfig;
  readonly vitals: Vitals;
  readonly log: Log;
  /** Of the mode in use, where it has proxies. */
  readonly portals: () => LivePortals | undefined;
  /** Verbosity of the log until the settings change. */
  readonly setVerbosity: (verbosity: number) => void;
}

/** Which of the daemon's servers, where the settings say that it listens, and with what else it has to begin anew. */
const SERVERS = {
  health: { address: 'healthAddress', settings: ['healthAddress'] },
  metrics: { address: 'metricsAddress', settings: ['metricsAddress', 'metricsTls'] },
} as const;
type ServerName = keyof typeof SERVERS;

export class Servers {
  #settings: Settings;
  #config: EffectiveConfig;
  readonly #vitals: Vitals;
  readonly #log: Log;
  readonly #setVerbosity: (verbosity: number) => void;
  readonly #listeners = new Map<ServerName, HttpListener>();
  /** Of the metrics server. */
  #credentials: LiveCredentials | undefined;
  readonly #portals: () => LivePortals | undefined;
  #debug: HttpHandler | undefined;

  constructor({ settings, config, vitals, log, portals, setVerbosity }: ServersOptions) {
    this.#portals = portals;
    this.#settings = settings;
    this.#config = config;
    this.#vitals = vitals;
    this.#log = log;
    this.#setVerbosity = setVerbosity;
  }

  /**
   * Throws KernelError when an address cannot be had and that is final (`--bind-address-hard-fail`), ConfigError when the credentials
   * cannot be used.
   */
  async start(): Promise<void> {
    this.#credentials = await this.#openCredentials(this.#settings);
    for (const name of ['metrics', 'health'] as const) await this.#listen(name, this.#settings);
  }

  /**
   * Goes over to other settings; an address that stays is not touched. Throws KernelError when one cannot be had and that is
   * final, ConfigError when credentials cannot be used: then the servers are where they were.
   */
  async apply(settings: Settings, config: EffectiveConfig): Promise<void> {
    const former = this.#settings;
    const formerCredentials = this.#credentials;
    const moved = (Object.keys(SERVERS) as ServerName[]).filter((name) =>
      SERVERS[name].settings.some((one) => !isDeepEqual(former[one], settings[one])),
    );
    const isNewTls = !isDeepEqual(former.metricsTls, settings.metricsTls);
    if (isNewTls) this.#credentials = await this.#openCredentials(settings);
    const done: ServerName[] = [];
    try {
      for (const name of moved) {
        done.push(name);
        await this.#move(name, settings);
      }
    } catch (error) {
      if (isNewTls) this.#credentials?.close();
      this.#credentials = formerCredentials;
      for (const name of done) await this.#move(name, { ...former, isBindHardFail: false });
      throw error;
    }
    if (isNewTls) formerCredentials?.close();
    this.#settings = settings;
    this.#config = config;
    if (settings.hasProfiling) await this.#loadDebug();
  }

  async close(): Promise<void> {
    this.#credentials?.close();
    await Promise.all([...this.#listeners.values()].map((listener) => listener.close()));
  }

  async #openCredentials({ metricsTls }: Settings): Promise<LiveCredentials | undefined> {
    if (metricsTls === undefined) return undefined;
    return LiveCredentials.open({
      files: metricsTls,
      log: this.#log,
      onReload: (credentials) => {
        if (credentials !== undefined) {
          this.#listeners.get('metrics')?.renew(credentials);
          this.#vitals.metrics?.certificateUntil(credentials.expiresAt);
        }
        this.#vitals.metrics?.credentialsReloaded(credentials === undefined ? 'refused' : 'applied');
      },
    });
  }

  /** The port is let go first: of two addresses with one port each may need it. */
  async #move(name: ServerName, settings: Settings): Promise<void> {
    await this.#listeners.get(name)?.close();
    this.#listeners.delete(name);
    await this.#listen(name, settings);
  }

  async #listen(name: ServerName, settings: Settings): Promise<void> {
    const address = settings[SERVERS[name].address];
    if (address === undefined) return;
    const handler = name === 'metrics' ? await this.#metricsHandler() : this.#healthHandler();
    const listener = new HttpListener({
      name,
      address,
      handler,
      credentials: name === 'metrics' ? this.#credentials?.current : undefined,
      log: this.#log,
      isHardFail: settings.isBindHardFail,
    });
    this.#listeners.set(name, listener);
    await listener.start();
  }

  async #metricsHandler(): Promise<HttpHandler> {
    // Loaded when needed: 10 MB.
    const { Metrics } = await import('./metrics/metrics.ts');
    const { metricsHandler } = await import('./metrics/metrics-handler.ts');
    const mode = () => this.#settings.proxyMode;
    const metrics =
      this.#vitals.metrics ??
      new Metrics({ version: readVersion(), mode: mode(), families: kernelFamilies() });
    this.#vitals.countIn(metrics);
    if (this.#settings.hasProfiling) await this.#loadDebug();
    metrics.certificateUntil(this.#credentials?.current.expiresAt);
    const handler = metricsHandler({
      metrics,
      mode,
      config: () => this.#config,
      // Loaded when asked for: most nodes are never asked.
      connections: async () => (await import('./inspect.ts')).readConnections(this.#settings, this.#log),
      proxies: () => this.#portals()?.counts(),
      debug: () => (this.#settings.hasProfiling ? this.#debug : undefined),
    });
    const credentials = this.#credentials;
    return credentials === undefined ? handler : guarded(() => credentials.current, handler);
  }

  async #loadDebug(): Promise<void> {
    const { debugHandler } = await import('./debug/debug-handler.ts');
    this.#debug ??= debugHandler({
      tableJson: async () => {
        const { tableJson } = await import('./debug/table-json.ts');
        return tableJson(this.#settings, this.#log, this.#portals());
      },
      setVerbosity: this.#setVerbosity,
      isGuarded: () => this.#credentials !== undefined && isGuarded(this.#credentials.current),
      onError: (err) => this.#log.error({ err }, 'debug request'),
    });
  }

  #healthHandler(): HttpHandler {
    return healthHandler({
      facts: () => this.#vitals.healthFacts(),
      now: () => new Date(),
      onAnswer: (path, status) => this.#vitals.answered(path, status),
    });
  }
}

type HttpHandler = ConstructorParameters<typeof HttpListener>[0]['handler'];
