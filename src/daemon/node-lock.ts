// One daemon a network namespace: two would write over each other's rules. The lock is the name of an abstract Unix socket, of
// which each network namespace has its own, and which is gone with the process that holds it, however that ends (unix(7)).

import { connect, createServer, type Server } from 'node:net';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { AlreadyRunningError } from '../errors.ts';
import type { Log } from './log.ts';
import { requireAddon } from './netlink-socket.ts';
import { readNetworkRights } from './process-rights.ts';
import { abstractPath } from './unix-path.ts';

export interface NodeLockOptions {
  /** Both are told to those who come after. */
  readonly version: string;
  /** At the time of asking: it may change. */
  readonly mode: () => string;
  /** How long a holder may take to end. */
  readonly waitMs: number;
  readonly log: Log;
  /** For tests, whose namespace may have a daemon. */
  readonly name?: string;
}

export interface NodeLock {
  /** Idempotent. The end of the process does the same. */
  release(): void;
}

/** What a holder says of itself. */
interface Holder {
  readonly pid: number;
  readonly version: string;
  readonly mode: string;
  /** ISO 8601. */
  readonly since: string;
}

const LOCK_NAME = 'kproxy-ts';
const POLL_MS = 100;
const MAX_UNHEARD = 10;
const ANSWER_LIMIT_MS = 1000;
const MAX_ANSWER_BYTES = 4096;

/** Throws AlreadyRunningError, which names the holder, when the lock cannot be had in time. */
export async function takeNodeLock({
  version,
  mode,
  waitMs,
  log,
  name = LOCK_NAME,
}: NodeLockOptions): Promise<NodeLock> {
  const path = abstractPath(name);
  const since = new Date().toISOString();
  const answer = (): string => {
    const self: Holder = { pid: process.pid, version, mode: mode(), since };
    return `${JSON.stringify(self)}\n`;
  };
  const startMs = performance.now();
  let isTold = false;
  let unheard = 0;
  for (;;) {
    const server = await listen(path, answer);
    if (server instanceof Error) {
      // A policy may keep us from it (LSMs mediate Unix sockets). The node needs its proxy more than the lock.
      log.warn({ err: server }, 'no lock against a second kproxy-ts can be had here; going on without');
      return { release: () => undefined };
    }
    if (server !== undefined) return { release: () => void server.close() };
    const pid = requireAddon().listenerPid(Buffer.from(path));
    // Between two calls of one that starts or ends, nobody listens at its name. Nobody does so for long.
    unheard = pid === -constants.errno.ECONNREFUSED ? unheard + 1 : 0;
    if (unheard > 0 && unheard < MAX_UNHEARD) {
      await sleep(POLL_MS);
      continue;
    }
    if (unheard > 0 || (pid > 0 && !mayWriteRules(pid))) {
      // Anybody may take a name. That must not keep the node from having a proxy.
      log.error(
        { pid, name },
        'a program that is no proxy holds the lock against a second one; going on without',
      );
      return { release: () => undefined };
    }
    const waitedMs = performance.now() - startMs;
    if (waitedMs >= waitMs) throw new AlreadyRunningError(describe(pid, await ask(path)));
    if (!isTold)
      log.warn({ pid, waitMs }, 'another kproxy-ts serves this network namespace: waiting for its end');
    isTold = true;
    await sleep(Math.min(POLL_MS, waitMs - waitedMs));
  }
}

/** Throws AlreadyRunningError where a kproxy-ts serves this network namespace: for what must not be done beside one. */
export async function refuseBesideDaemon(name = LOCK_NAME): Promise<void> {
  const path = abstractPath(name);
  const pid = requireAddon().listenerPid(Buffer.from(path));
  // A daemon that is too busy to answer is there; where sockets cannot be had at all, none could have taken the lock.
  const isThere = pid >= 0 || pid === -constants.errno.EAGAIN;
  if (!isThere || (pid > 0 && !mayWriteRules(pid))) return;
  throw new AlreadyRunningError(describe(pid, await ask(path)));
}

function describe(pid: number, holder: Partial<Holder>): string {
  // The kernel's word counts; what it cannot see from here may be told by the holder, as its own namespace numbers it.
  const process = pid > 0 ? `pid ${pid}` : `pid ${holder.pid ?? 'unknown'} of another pid namespace`;
  const facts = [
    process,
    ...(holder.version === undefined ? [] : [`version ${holder.version}`]),
    ...(holder.mode === undefined ? [] : [`${holder.mode} mode`]),
    ...(holder.since === undefined ? [] : [`since ${holder.since}`]),
  ];
  return `another kproxy-ts serves this network namespace (${facts.join(', ')}); it must be stopped first`;
}

/** Undefined when somebody else has the name, an error where nobody may have it. */
function listen(path: string, answer: () => string): Promise<Server | Error | undefined> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.setTimeout(ANSWER_LIMIT_MS, () => socket.destroy());
    socket.end(answer());
    socket.resume();
  });
  server.maxConnections = 16;
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'EADDRINUSE' ? undefined : error);
    });
    server.listen({ path }, () => {
      server.removeAllListeners('error').on('error', () => undefined);
      resolve(server.unref());
    });
  });
}

/** What the holder says; nothing when it does not answer, as one that is stopped. */
function ask(path: string): Promise<Partial<Holder>> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect({ path });
    const end = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(parseHolder(text));
    };
    const timer = setTimeout(end, ANSWER_LIMIT_MS);
    socket.setEncoding('utf8').on('data', (data: string) => {
      text += data;
      if (text.length > MAX_ANSWER_BYTES) end();
    });
    socket.on('error', end).on('end', end);
  });
}

function parseHolder(text: string): Partial<Holder> {
  try {
    const { pid, version, mode, since } = Object(JSON.parse(text));
    return {
      ...(Number.isSafeInteger(pid) && { pid }),
      ...(typeof version === 'string' && { version }),
      ...(typeof mode === 'string' && { mode }),
      ...(typeof since === 'string' && { since }),
    };
  } catch {
    return {};
  }
}

/** False only when it is known that the process cannot be a proxy: it lacks CAP_NET_ADMIN, or has it elsewhere only. */
function mayWriteRules(pid: number): boolean {
  return readNetworkRights(pid) !== false;
}
