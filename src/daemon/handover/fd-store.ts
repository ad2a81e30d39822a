// A bequest in the keeping of the service manager, between the end of one daemon and the start of the next. Authority: sd_notify(3)
// (FDSTORE=, FDNAME=, FDSTOREREMOVE=), sd_listen_fds(3), systemd.service(5) (FileDescriptorStoreMax=).

import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { KernelError } from '../../errors.ts';
import { errnoName } from '../netlink-socket.ts';
import { type Bequest, discard, readFacts, writeFacts } from './bequest.ts';

/** Sends to the manager: 0 or an errno. */
export type Notify = (message: Uint8Array, fds?: readonly number[]) => number;

/** The manager hands descriptors over under names, in no order that is promised. */
const FACTS = 'kproxy-facts';
const PREFIX = 'kproxy-';

/** sd_listen_fds(3): the first of them. */
const FIRST_FD = 3;

/** A manager that is busy is waited for so long, once for all. */
const PATIENCE_MS = 2000;
const PAUSE_MS = 5;

/** Gives a bequest to the manager; the descriptors are closed here. Throws KernelError when it does not take all of them. */
export async function storeBequest({ facts, fds }: Bequest, notify: Notify): Promise<void> {
  const file = writeFacts(facts);
  const untilMs = performance.now() + PATIENCE_MS;
  const store = async (name: string, fd: number): Promise<void> => {
    const message = Buffer.from(`FDSTORE=1\nFDNAME=${name}\nFDPOLL=0`);
    let errno = notify(message, [fd]);
    while (errno === constants.errno.EAGAIN && performance.now() < untilMs) {
      await sleep(PAUSE_MS);
      errno = notify(message, [fd]);
    }
    if (errno !== 0) throw new KernelError(errnoName(errno), errno, 'leave sockets to the service manager');
  };
  try {
    for (const [i, fd] of fds.entries()) await store(`${PREFIX}${i}`, fd);
    // Last: without it there is no bequest.
    await store(FACTS, file);
  } finally {
    discard([...fds, file]);
  }
}

/**
 * What the manager has kept, and keeps no more then; undefined when it has nothing for this process. What belongs to no whole
 * bequest is closed. Takes the variables of the protocol from `env`, as they are for this process alone.
 */
export function takeStoredBequest(
  env: Record<string, string | undefined>,
  pid: number,
  notify: Notify | undefined,
): Bequest | undefined {
  const { LISTEN_PID: forPid, LISTEN_FDS: count = '', LISTEN_FDNAMES: joined = '' } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  if (forPid !== String(pid) || !/^[1-9]\d{0,5}$/.test(count)) return undefined;
  const names = joined.split(':');
  const found = new Map<string, number>();
  for (let i = 0; i < Number(count); i++) {
    const name = names[i] ?? '';
    if (name.startsWith(PREFIX)) found.set(name, FIRST_FD + i);
  }
  for (const name of found.keys()) notify?.(Buffer.from(`FDSTOREREMOVE=1\nFDNAME=${name}`));
  const file = found.get(FACTS);
  found.delete(FACTS);
  const fds = Array.from({ length: found.size }, (_, i) => found.get(`${PREFIX}${i}`));
  if (file === undefined || fds.includes(undefined)) {
    discard([...found.values(), ...(file === undefined ? [] : [file])]);
    return undefined;
  }
  try {
    return { facts: readFacts(file), fds: fds as number[] };
  } catch (error) {
    discard(fds as number[]);
    throw error;
  } finally {
    discard([file]);
  }
}
