// What another daemon has left for this one: in the keeping of the service manager, or, where that is asked for, the one that runs.

import type { Settings } from '../../config/settings.ts';
import { KproxyError } from '../../errors.ts';
import type { Log } from '../log.ts';
import { requireAddon } from '../netlink-socket.ts';
import { readManagerEnvironment } from '../sd-notify.ts';
import { type Bequest, discard } from './bequest.ts';
import { type Notify, takeStoredBequest } from './fd-store.ts';
import { requestHandover } from './handover.ts';

/** How to tell the service manager something; undefined without one. To be asked before its variables are taken away. */
export function managerNotifier(): Notify | undefined {
  const environment = readManagerEnvironment(process.env, process.pid);
  if (environment === undefined) return undefined;
  return (message, fds) => requireAddon().sendDatagram(environment.address, message, fds);
}

/** Undefined when there is nothing, or nothing that can be used in this mode. What cannot be had is a warning. */
export async function inherit(
  { proxyMode, takesOver }: Settings,
  notify: Notify | undefined,
  log: Log,
): Promise<Bequest | undefined> {
  try {
    const stored = takeStoredBequest(process.env, process.pid, notify);
    if (proxyMode !== 'userspace') {
      discard(stored?.fds ?? []);
      return undefined;
    }
    const bequest = stored ?? (takesOver ? await requestHandover() : undefined);
    if (bequest !== undefined)
      log.info({ descriptors: bequest.fds.length }, 'goes on with what another daemon has left');
    return bequest;
  } catch (error) {
    if (!(error instanceof KproxyError)) throw error;
    log.warn({ err: error }, 'what another daemon has left is lost');
    return undefined;
  }
}
