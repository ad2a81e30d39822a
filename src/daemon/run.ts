// The daemon: source → store → table → backend, until a signal.

import type { Settings } from '../config/settings.ts';
import { readVersion } from '../config/version.ts';
import { Store, type StoreChange } from '../model/store.ts';
import type { NodeEvent } from '../source/node-event.ts';
import type { Source } from '../source/source.ts';
import { nodePortCidrs } from '../vip/node-port-addresses.ts';
import type { Surroundings } from '../vip/surroundings.ts';
import { VipTable } from '../vip/vip-table.ts';
import { allOf, answerHealthChecks, countForMetrics, forgetStaleFlows } from './after-sync.ts';
import type { Backend } from './backend.ts';
import { Checkpoint } from './checkpoint/checkpoint.ts';
import { ConntrackReconciler } from './conntrack-reconciler.ts';
import { notInForce, oddity, repaired, starting } from './events/compose.ts';
import { EventPublisher } from './events/event-publisher.ts';
import { HealthCheckServers } from './health-check-servers.ts';
import { HostPreparation } from './host/prepare-host.ts';
import { interfaceAddresses } from './interfaces.ts';
import type { Log } from './log.ts';
import { takeNodeLock } from './node-lock.ts';
import { openBackend } from './open-backend.ts';
import { openSource } from './open-source.ts';
import { ProblemLog } from './problem-log.ts';
import { releaseGarbage } from './release-garbage.ts';
import { readManagerEnvironment, ServiceManager } from './sd-notify.ts';
import { Servers } from './servers.ts';
import { statusLine } from './status-line.ts';
import { SyncLoop, type SyncReport } from './sync-loop.ts';

/** A sync of as many Services leaves garbage that is worth collecting. */
const COLD_LOAD_SERVICES = 1000;

/** Rest after such a sync before it is collected. */
const GARBAGE_DELAY_MS = 1000;

/** Runs until SIGTERM or SIGINT, which leave the rules in force. Resolves with the exit code. Throws KproxyError. */
export async function runDaemon(settings: Settings, log: Log): Promise<number> {
  const lock = await takeNodeLock({
    version: readVersion(),
    mode: settings.proxyMode,
    waitMs: settings.takeoverWaitMs,
    log,
  });
  const host = new HostPreparation(settings, log);
  try {
    host.begin();
    let suspect = (): void => undefined;
    const backend = await openBackend(settings, log, () => suspect());
    try {
      host.tell();
      const source = await openSource(settings, log);
      return await serve(settings, log, source, backend, host, (look) => {
        suspect = look;
      });
    } finally {
      backend.close();
    }
  } finally {
    lock.release();
  }
}

/** `onSuspicion` is given what is to be called when somebody else may have changed what is ours. */
async function serve(
  settings: Settings,
  log: Log,
  source: Source,
  backend: Backend,
  host: HostPreparation,
  onSuspicion: (suspect: () => void) => void,
): Promise<number> {
  const store = new Store();
  const table = new VipTable(frontendSettings(settings));
  const problems = new ProblemLog(log);
  const conntrack = new ConntrackReconciler({ objects: store, isClaimed: (key) => table.has(key) });
  const healthChecks = new HealthCheckServers(log);
  const servers = new Servers(settings, store, log);
  const events = new EventPublisher({
    write: source.writeEvent?.bind(source),
    log,
    onOutcome: (outcome) => servers.eventEnded(outcome),
  });
  source.observeRequests?.((request) => servers.requested(request));
  const manager = openServiceManager(servers, log);
  const stop = stopSignal();
  let isInForce = false;
  let otherModes = Promise.resolve();
  let failure: string | undefined;
  let garbageTimer: NodeJS.Timeout | undefined;
  const loop = new SyncLoop({
    store,
    table,
    backend,
    surroundings: () => surroundingsOf(settings, store, table),
    minIntervalMs: settings.minSyncPeriodMs,
    checkIntervalMs: settings.syncPeriodMs,
    afterSync: allOf(
      forgetStaleFlows(conntrack, log, (pass) => servers.conntrackPassed(pass)),
      answerHealthChecks(healthChecks, store, settings.nodeName),
      countForMetrics(servers),
    ),
    onCheck: () => servers.checked(),
    onSync: (report) => {
      logSync(log, report);
      if (report.cause !== 'cleanup') healthChecks.setHealthy(report.failures.length === 0);
      if (report.changedServices >= COLD_LOAD_SERVICES) {
        clearTimeout(garbageTimer);
        garbageTimer = setTimeout(() => void releaseGarbage(), GARBAGE_DELAY_MS);
      }
      const present = [
        ...store.problems(),
        ...table.problems(),
        ...backend.problems(),
        ...conntrack.problems(),
      ];
      for (const problem of problems.show(present)) events.tell(oddity(problem));
      for (const event of eventsOf(report, settings.proxyMode)) events.tell(event);
      servers.synced(report, loop.isPending, present);
      if (report.cause !== 'cleanup') failure = report.failures[0]?.error.message;
      tellStatus();
      if (report.cause !== 'cleanup' && report.failures.length === 0 && !isInForce) {
        isInForce = true;
        log.info(
          {
            services: store.serviceCount,
            writes: report.writes,
            sinceStartMs: Math.round(process.uptime() * 1000),
          },
          'rules in force',
        );
        host.rulesInForce();
        otherModes = removeOtherModes(settings, log);
        tellStatus();
        manager?.ready();
      }
    },
  });
  const tellStatus = (): void =>
    manager?.status(
      statusLine({
        source: source.description,
        mode: settings.proxyMode,
        serviceCount: store.serviceCount,
        isInForce,
        failure,
        staleSince: servers.staleSince,
      }),
    );
  const onHangUp = (): void => {
    manager?.reloading();
    log.info('nothing to reload: all settings are flags');
    manager?.ready();
  };
  const checkpoint = openCheckpoint(settings, source, store, servers, log, (change) => {
    servers.queued();
    loop.changed(change);
  });
  try {
    onSuspicion(() => loop.suspect());
    log.info({ source: source.description, node: settings.nodeName, mode: settings.proxyMode }, 'starting');
    await servers.start();
    await source.start((events) => {
      const change = store.apply(events);
      servers.received(events, change);
      loop.changed(change);
      checkpoint?.received(change.services.size > 0 || change.hasNewSurroundings);
      tellStatus();
    });
    events.tell(starting(readVersion(), settings.proxyMode));
    checkpoint?.start();
    tellStatus();
    process.on('SIGHUP', onHangUp);
    const signal = await stop.received;
    log.info({ signal }, 'stopping; the rules stay in force');
    manager?.stopping();
    return 0;
  } finally {
    clearTimeout(garbageTimer);
    process.off('SIGHUP', onHangUp);
    manager?.close();
    stop.release();
    events.close();
    await source.stop();
    await checkpoint?.close();
    await loop.stop();
    await otherModes;
    conntrack.close();
    await healthChecks.close();
    await servers.close();
  }
}

/** Make before break: the rules of the mode that served before go once those of this one are in force. */
async function removeOtherModes(settings: Settings, log: Log): Promise<void> {
  const { cleanUpOtherModes } = await import('./inspect.ts');
  await cleanUpOtherModes(settings, log);
}

/** The manager that started this daemon, where it wants to be told how it goes. */
function openServiceManager(servers: Servers, log: Log): ServiceManager | undefined {
  const environment = readManagerEnvironment(process.env, process.pid);
  // For this process alone, not for those that it starts (sd_notify(3), unset_environment).
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete process.env[name];
  return environment && new ServiceManager({ ...environment, isLive: () => servers.isLive, log });
}

/** What keeps the last known objects, where that is wanted. */
function openCheckpoint(
  { stateFolder, nodeName }: Settings,
  source: Source,
  store: Store,
  servers: Servers,
  log: Log,
  onChange: (change: StoreChange) => void,
): Checkpoint | undefined {
  if (stateFolder === undefined) return undefined;
  return new Checkpoint({
    folder: stateFolder,
    owner: () => ({ node: nodeName, source: source.description }),
    store,
    log,
    onRestore: (objects, writtenAt) => {
      servers.restored(writtenAt);
      onChange(store.restore(objects));
    },
    onWritten: (bytes, writtenAt) => servers.checkpointWritten(bytes, writtenAt),
    onFailure: () => servers.checkpointFailed(),
  });
}

/** What of the settings decides Frontends. */
export function frontendSettings(settings: Settings): ConstructorParameters<typeof VipTable>[0] {
  return {
    nodeName: settings.nodeName,
    detectLocal: settings.detectLocal,
    masqueradeAll: settings.masqueradeAll,
    allowedExternalIps: settings.allowedExternalIps,
  };
}

/** What rules depend on besides Frontends, as of now. */
export function surroundingsOf(settings: Settings, store: Store, table: VipTable): Surroundings {
  return {
    nodePortCidrs: nodePortCidrs(settings.nodePortAddresses, store.node, interfaceAddresses()),
    serviceCidrs: store.serviceCidrs,
    localPods: table.facts.localPods,
  };
}

/** SIGTERM or SIGINT as a promise, and what stops listening for them. */
function stopSignal(): { received: Promise<NodeJS.Signals>; release: () => void } {
  const signals = ['SIGTERM', 'SIGINT'] as const;
  let resolve: (signal: NodeJS.Signals) => void = () => undefined;
  const received = new Promise<NodeJS.Signals>((accept) => {
    resolve = accept;
  });
  for (const signal of signals) process.on(signal, resolve);
  return {
    received,
    release: () => {
      for (const signal of signals) process.off(signal, resolve);
    },
  };
}

/** What of a sync an operator must know. */
function eventsOf(report: SyncReport, mode: string): NodeEvent[] {
  const general = report.failures.filter(({ services }) => services.length === 0);
  if (general.length > 0) return general.map(({ error }) => notInForce(error.message));
  return report.cause === 'drift' && report.writes > 0 ? [repaired(mode)] : [];
}

function logSync(log: Log, report: SyncReport): void {
  const { failures, durationMs, ...counts } = report;
  const fields = { ...counts, durationMs: Math.round(durationMs * 1000) / 1000 };
  for (const { error, services } of failures) log.error({ err: error, services }, 'not in force');
  if (failures.length > 0) log.warn(fields, 'sync failed, will be retried');
  else if (report.cause === 'drift' && report.writes > 0)
    log.warn(fields, 'repaired what somebody else had changed');
  else if (report.writes > 0) log.debug(fields, 'synced');
  else log.trace(fields, 'nothing to write');
}
