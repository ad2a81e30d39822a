// The manager that started this daemon, where it wants to be told how it goes.

import type { Log } from './log.ts';
import { readManagerEnvironment, ServiceManager } from './sd-notify.ts';

/** `isLive` is false only when the daemon is stuck. */
export function openServiceManager(isLive: () => boolean, log: Log): ServiceManager | undefined {
  const environment = readManagerEnvironment(process.env, process.pid);
  // For this process alone, not for those that it starts (sd_notify(3), unset_environment).
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete process.env[name];
  return environment && new ServiceManager({ ...environment, isLive, log });
}
