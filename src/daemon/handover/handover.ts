// A bequest from a daemon that runs to one that starts beside it, over an abstract Unix socket of the network namespace: first the
// file of facts, then the descriptors, a byte each time, and a byte back when all have come. Both sides must be able to write rules
// here: one gets the connections of others, the other could give sockets of its own, and anybody may take a name.

import { createServer, type Server, type Socket } from 'node:net';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { KernelError, KproxyError } from '../../errors.ts';
import type { Log } from '../log.ts';
import { errnoName, requireAddon } from '../netlink-socket.ts';
import { readNetworkRights } from '../process-rights.ts';
import { abstractPath } from '../unix-path.ts';
import { descriptorOf } from '../userspace/node-sockets.ts';
import { type Bequest, discard, readFacts, writeFacts } from './bequest.ts';

const NAME = 'kproxy-ts-handover';

/** SCM_MAX_FD is 253. */
const FDS_PER_MESSAGE = 250;
const BYTE = Buffer.from([1]);

/** ETOOMANYREFS, which Node does not name: descriptors that nobody has taken yet are limited as open ones are. */
const TOO_MANY_IN_FLIGHT = 109;

const PAUSE_MS = 5;
/** From the first byte to the last, and to the answer. */
const PATIENCE_MS = 10_000;

/** Who can leave its place to another. */
export interface Leaver {
  /** Stops serving and gives everything away; undefined when it has nothing of that kind. */
  bequeath(): Promise<Bequest | undefined>;
  /** Nobody took it: serves again. */
  resume(bequest: Bequest): Promise<void>;
  /** Somebody else serves now. */
  left(): void;
}

/** For tests. */
export interface HandoverPlace {
  readonly name?: string;
  readonly isTrusted?: (pid: number) => boolean;
}

export interface HandoverOptions extends HandoverPlace {
  readonly log: Log;
}

const mayWriteRules = (pid: number): boolean => readNetworkRights(pid) === true;

/** Waits for a successor. Somebody else's name, or a policy, is a warning: then nobody can take over from this daemon. */
export async function offerHandover(
  leaver: Leaver,
  { log, name = NAME, isTrusted = mayWriteRules }: HandoverOptions,
): Promise<{ close(): void }> {
  let isLeaving = false;
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => undefined);
    const pid = requireAddon().peerPid(descriptorOf(socket));
    if (isLeaving || pid <= 0 || !isTrusted(pid)) {
      log.warn({ pid }, 'who asked to take over was refused');
      socket.destroy();
      return;
    }
    isLeaving = true;
    void leaveTo(socket, leaver, log.child({ pid })).finally(() => {
      isLeaving = false;
    });
  });
  const error = await listen(server, abstractPath(name));
  if (error !== undefined) log.warn({ err: error }, 'no other daemon can take over from this one');
  return { close: () => void server.close() };
}

async function leaveTo(socket: Socket, leaver: Leaver, log: Log): Promise<void> {
  const bequest = await leaver.bequeath();
  if (bequest === undefined) {
    socket.destroy();
    return;
  }
  log.info('another daemon takes over');
  try {
    await send(socket, bequest);
  } catch (error) {
    if (!(error instanceof KproxyError)) throw error;
    log.error({ err: error }, 'the other daemon did not take over');
    await leaver.resume(bequest);
    return;
  } finally {
    socket.destroy();
  }
  discard(bequest.fds);
  leaver.left();
}

/** Settles when the other side has all of it. Throws KernelError, KproxyError. */
async function send(socket: Socket, { facts, fds }: Bequest): Promise<void> {
  const untilMs = performance.now() + PATIENCE_MS;
  const file = writeFacts({ facts, count: fds.length });
  try {
    await sendSome(socket, [file], untilMs);
    for (let start = 0; start < fds.length; start += FDS_PER_MESSAGE) {
      await sendSome(socket, fds.slice(start, start + FDS_PER_MESSAGE), untilMs);
    }
    await answered(socket, untilMs);
  } finally {
    discard([file]);
  }
}

async function sendSome(socket: Socket, fds: readonly number[], untilMs: number): Promise<void> {
  for (;;) {
    if (socket.destroyed) throw new KproxyError('BEQUEST', 'the other side has gone');
    const errno = requireAddon().sendDescriptors(descriptorOf(socket), BYTE, fds);
    if (errno === 0) return;
    const isFull = errno === constants.errno.EAGAIN || errno === TOO_MANY_IN_FLIGHT;
    if (!isFull || performance.now() > untilMs)
      throw new KernelError(errnoName(errno), errno, 'send descriptors');
    await sleep(PAUSE_MS);
  }
}

function answered(socket: Socket, untilMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (): void => reject(new KproxyError('BEQUEST', 'the other side has not taken everything'));
    const timer = setTimeout(fail, untilMs - performance.now());
    socket.once('data', () => resolve());
    socket.once('close', () => {
      clearTimeout(timer);
      fail();
    });
    socket.resume();
  });
}

/**
 * Takes over from the daemon that runs here: when it settles, that one has stopped serving and will end. Undefined when none
 * offers that. Throws KernelError, KproxyError when it gave only a part: then it goes on serving.
 */
export async function requestHandover({
  name = NAME,
  isTrusted = mayWriteRules,
}: HandoverPlace = {}): Promise<Bequest | undefined> {
  const addon = requireAddon();
  const socket = addon.connectUnix(Buffer.from(abstractPath(name)));
  if (socket < 0) return undefined;
  const pid = addon.peerPid(socket);
  if (pid <= 0 || !isTrusted(pid)) {
    discard([socket]);
    throw new KproxyError('BEQUEST', `who offers it (pid ${pid}) may not write rules here`);
  }
  const untilMs = performance.now() + PATIENCE_MS;
  const fds: number[] = [];
  let isDone = false;
  try {
    const [file] = await receiveSome(socket, untilMs);
    // Refused, or no daemon of a mode that has something to leave.
    if (file === undefined) return undefined;
    const { facts, count } = takeFacts(file);
    while (fds.length < count) {
      const some = await receiveSome(socket, untilMs);
      if (some.length === 0) throw new KproxyError('BEQUEST', 'the other daemon has gone on the way');
      fds.push(...some);
    }
    addon.sendDescriptors(socket, BYTE, []);
    isDone = true;
    return { facts, fds };
  } finally {
    discard([socket, ...(isDone ? [] : fds)]);
  }
}

function takeFacts(file: number): { facts: unknown; count: number } {
  try {
    const { facts, count } = Object(readFacts(file));
    if (!Number.isSafeInteger(count) || count < 0)
      throw new KproxyError('BEQUEST', 'no number of descriptors was given');
    return { facts, count };
  } finally {
    discard([file]);
  }
}

/** What one byte brought; nothing at the end. */
async function receiveSome(socket: number, untilMs: number): Promise<readonly number[]> {
  for (;;) {
    const got = requireAddon().receiveDescriptors(socket);
    if (got === undefined) return [];
    if (typeof got !== 'number') return got;
    if (got !== constants.errno.EAGAIN || performance.now() > untilMs)
      throw new KernelError(errnoName(got), got, 'receive descriptors');
    await sleep(PAUSE_MS);
  }
}

function listen(server: Server, path: string): Promise<Error | undefined> {
  return new Promise((resolve) => {
    server.once('error', resolve);
    server.listen({ path }, () => {
      server.removeAllListeners('error').on('error', () => undefined);
      resolve(undefined);
      server.unref();
    });
  });
}
