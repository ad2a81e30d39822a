// The daemon: source → store → table → backend, until a signal.

import { hostname } from 'node:os';
import type { EffectiveConfig } from '../config/effective-config.ts';
import type { Settings, SettingsResult } from '../config/settings.ts';
import { readVersion } from '../config/version.ts';
import { KproxyError } from '../errors.ts';
import { Store } from '../model/store.ts';
import type { Source } from '../source/source.ts';
import { allOf, answerHealthChecks, countForMetrics, forgetStaleFlows, leaveFormer } from './after-sync.ts';
import type { Backend } from './backend.ts';
import { openCheckpoint } from './checkpoint/open-checkpoint.ts';
import { chooseMode } from './choose-mode.ts';
import { ConntrackReconciler } from './conntrack-reconciler.ts';
import { configurationRefused, starting } from './events/compose.ts';
import { EventPublisher } from './events/event-publisher.ts';
import { type Notify, storeBequest } from './handover/fd-store.ts';
import { offerHandover } from './handover/handover.ts';
import { inherit, managerNotifier } from './handover/inherit.ts';
import { HealthCheckServers } from './health-check-servers.ts';
import { renamedHost } from './host/host-name.ts';
import { HostPreparation } from './host/prepare-host.ts';
import { LiveConfig } from './live-config.ts';
import type { TunableLog } from './log.ts';
import { takeNodeLock } from './node-lock.ts';
import { openServiceManager } from './open-service-manager.ts';
import { openSource } from './open-source.ts';
import { Pipeline } from './pipeline.ts';
import { VipProbe } from './probe/vip-probe.ts';
import { Servers } from './servers.ts';
import { HangUps, stopSignal } from './signals.ts';
import { Stage } from './stage.ts';
import { statusLine } from './status-line.ts';
import { SyncFeedback } from './sync-feedback.ts';
import { Vitals } from './vitals.ts';

export interface RunOptions {
  /** What the settings were made from; /configz shows it. */
  readonly config: EffectiveConfig;
  /** Reads the configuration anew: when the file of it changes, and at SIGHUP. */
  readonly load: () => Promise<SettingsResult>;
  /** The file; undefined when all settings are flags. */
  readonly configPath: string | undefined;
}

/** The longest that a daemon takes to end whose place is taken. */
const LEAVING_MS = 30_000;

/** Runs until SIGTERM or SIGINT, which leave the rules in force. Resolves with the exit code. Throws KproxyError. */
export async function runDaemon(asked: Settings, log: TunableLog, options: RunOptions): Promise<number> {
  const settings = await chooseMode(asked, log);
  const hangUps = new HangUps();
  const stage = new Stage(log);
  const host = new HostPreparation(log);
  const notify = managerNotifier();
  const bequest = await inherit(settings, notify, log);
  try {
    const lock = await takeNodeLock({
      version: readVersion(),
      mode: () => stage.pipeline?.settings.proxyMode ?? settings.proxyMode,
      // Who has left everything to this process ends soon, and nobody serves meanwhile.
      waitMs: Math.max(settings.takeoverWaitMs, bequest === undefined ? 0 : LEAVING_MS),
      log,
    });
    try {
      host.prepare(settings);
      const backend = await stage.open(settings, bequest);
      host.tell();
      let source: Source;
      try {
        source = await openSource(settings, log);
      } catch (error) {
        backend.close();
        throw error;
      }
      return await serve({
        ...{ settings, log, source, stage, host, hangUps, notify },
        firstBackend: backend,
        ...options,
      });
    } finally {
      lock.release();
    }
  } finally {
    await stage.drain();
    hangUps.release();
  }
}

interface Opened extends RunOptions {
  readonly settings: Settings;
  readonly log: TunableLog;
  readonly source: Source;
  readonly stage: Stage;
  readonly firstBackend: Backend;
  readonly host: HostPreparation;
  readonly hangUps: HangUps;
  readonly notify: Notify | undefined;
}

async function serve({
  settings,
  log,
  source,
  stage,
  firstBackend,
  host,
  hangUps,
  notify,
  config,
  load,
  configPath,
}: Opened): Promise<number> {
  const store = new Store();
  const vitals = new Vitals(settings, store);
  const conntrack = new ConntrackReconciler({
    objects: store,
    isClaimed: (key) => stage.pipeline?.isClaimed(key) === true,
  });
  const healthChecks = new HealthCheckServers(log);
  const setVerbosity = (verbosity: number): void => log.tune({ verbosity });
  const servers = new Servers({
    settings,
    config,
    vitals,
    log,
    portals: () => stage.pipeline?.portals,
    setVerbosity,
  });
  const events = new EventPublisher({
    write: source.writeEvent?.bind(source),
    log,
    onOutcome: (outcome) => vitals.eventEnded(outcome),
  });
  source.observeRequests?.((request) => vitals.requested(request));
  const probe = new VipProbe({ log, onEnd: (...probed) => vitals.metrics?.probed(...probed) });
  vitals.heed(() => probe.facts);
  probe.aim(settings.probeAddress);
  const manager = openServiceManager(() => vitals.isLive, log);
  const stop = stopSignal();
  let refusal: string | undefined;
  const onInForce = (): void => {
    stage.inForce();
    host.rulesInForce();
    probe.start();
    tellStatus();
    manager?.ready();
  };
  let handover: { close(): void } | undefined;
  const firstName = hostname();
  const feedback = new SyncFeedback({
    ...{ store, conntrack, healthChecks, vitals, events, log, onInForce },
    hostProblems: () => renamedHost(settings.nodeName, firstName, hostname()),
  });
  const tellStatus = (): void =>
    manager?.status(
      statusLine({
        source: source.description,
        mode: stage.pipeline?.settings.proxyMode ?? settings.proxyMode,
        serviceCount: store.serviceCount,
        isInForce: feedback.isInForce,
        failure: feedback.failure,
        staleSince: vitals.staleSince,
        refusal,
      }),
    );
  const afterSync = allOf(
    answerHealthChecks(healthChecks, store, settings.nodeName),
    countForMetrics(vitals),
  );
  const layOut = (backend: Backend, settings: Settings): Pipeline => {
    const pipeline: Pipeline = new Pipeline({
      settings,
      store,
      backend,
      afterSync: allOf(
        leaveFormer(stage),
        forgetStaleFlows(conntrack, log, (pass) => vitals.conntrackPassed(pass), backend.portals),
        afterSync,
        ...(backend.afterSync === undefined ? [] : [backend.afterSync]),
      ),
      onCheck: () => vitals.checked(),
      onSync: (report) => {
        feedback.told(pipeline, report);
        tellStatus();
      },
    });
    return pipeline;
  };
  const liveConfig = new LiveConfig({
    settings,
    load: async () => {
      const result = await load();
      return result.settings === undefined
        ? result
        : { ...result, settings: await chooseMode(result.settings, log) };
    },
    path: configPath,
    log,
    apply: async (to, toConfig, { parts }) => {
      const backend = parts.has('rules') ? await stage.open(to) : undefined;
      try {
        await servers.apply(to, toConfig);
      } catch (error) {
        backend?.close();
        throw error;
      }
      vitals.apply(to);
      if (parts.has('host')) {
        host.prepare(to);
        host.tell();
      }
      if (parts.has('probe')) {
        vitals.metrics?.unprobed();
        probe.aim(to.probeAddress);
      }
      if (parts.has('log')) log.tune({ format: to.logFormat, verbosity: to.verbosity });
      if (backend !== undefined) await stage.replace(layOut(backend, to));
    },
    onStart: () => manager?.reloading(),
    onEnd: (reason) => {
      refusal = reason;
      vitals.reloaded(reason === undefined ? 'applied' : 'refused');
      if (reason !== undefined) events.tell(configurationRefused(reason));
      tellStatus();
      manager?.reloaded();
    },
  });
  const checkpoint = openCheckpoint(settings, source, store, vitals, log, (change) => {
    vitals.queued();
    stage.pipeline?.changed(change);
  });
  try {
    await stage.replace(layOut(firstBackend, settings));
    log.info({ source: source.description, node: settings.nodeName, mode: settings.proxyMode }, 'starting');
    await servers.start();
    await liveConfig.open();
    hangUps.tell(() => liveConfig.request());
    await source.start((batch) => {
      const change = store.apply(batch);
      vitals.received(batch, change);
      stage.pipeline?.changed(change);
      checkpoint?.received(change.services.size > 0 || change.hasNewSurroundings);
      tellStatus();
    });
    events.tell(starting(readVersion(), settings.proxyMode));
    checkpoint?.start();
    tellStatus();
    handover = await offerHandover(
      {
        bequeath: () => stage.bequeath(),
        resume: async (bequest) => {
          const { settings: current = settings } = stage.pipeline ?? {};
          await stage.replace(layOut(await stage.open(current, bequest), current));
        },
        left: () => stop.stop('takeover'),
      },
      { log },
    );
    const signal = await stop.received;
    log.info(
      { signal },
      stage.pipeline?.portals === undefined ? 'stopping; the rules stay in force' : 'stopping',
    );
    manager?.stopping();
    if (settings.usesFdStore && notify !== undefined) await leaveToManager(stage, notify, log);
    return 0;
  } finally {
    handover?.close();
    feedback.close();
    probe.close();
    manager?.close();
    stop.release();
    await liveConfig.close();
    events.close();
    await source.stop();
    await checkpoint?.close();
    await stage.close();
    conntrack.close();
    await healthChecks.close();
    await servers.close();
  }
}

/** What this process alone serves is kept until the next start. What is not kept ends with this process. */
async function leaveToManager(stage: Stage, notify: Notify, log: TunableLog): Promise<void> {
  try {
    const bequest = await stage.bequeath();
    if (bequest === undefined) return;
    await storeBequest(bequest, notify);
    log.info({ descriptors: bequest.fds.length }, 'left to the service manager');
  } catch (error) {
    if (!(error instanceof KproxyError)) throw error;
    log.error({ err: error }, 'could not be left to the service manager');
  }
}
