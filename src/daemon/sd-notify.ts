// The service manager's side channel: datagrams of KEY=VALUE lines to $NOTIFY_SOCKET. Authority: sd_notify(3) and
// systemd.service(5), WatchdogSec=, TimeoutStartSec=. Without a manager that listens nothing here does anything.

import { getSystemErrorName } from 'node:util';
import { loadAddon } from '../../native/load.cjs';
import { KernelError } from '../errors.ts';
import type { Log } from './log.ts';
import { type Clock, systemClock } from './sync-loop.ts';

/** What a manager put into the environment. */
export interface ManagerEnvironment {
  /** As `sendDatagram` takes it. */
  readonly address: Uint8Array;
  /** How long it waits for a sign of life; undefined when it does not. */
  readonly watchdogMs: number | undefined;
}

/** Undefined without a manager, or when it uses sockets of a kind that is not known here, such as vsock. */
export function readManagerEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
): ManagerEnvironment | undefined {
  const { NOTIFY_SOCKET: socket = '', WATCHDOG_USEC: limit = '', WATCHDOG_PID: watched = '' } = env;
  if (!/^[/@]./.test(socket)) return undefined;
  const address = Buffer.from(socket);
  if (socket.startsWith('@')) address[0] = 0;
  const isWatched = /^[1-9]\d*$/.test(limit) && (watched === '' || watched === String(pid));
  return { address, watchdogMs: isWatched ? Number(limit) / 1000 : undefined };
}

export interface ServiceManagerOptions extends ManagerEnvironment {
  /** False only when the daemon is stuck, so that a restart may help. */
  readonly isLive: () => boolean;
  readonly log: Log;
  readonly clock?: Clock;
  /** 0 or an errno. */
  readonly send?: (address: Uint8Array, message: Uint8Array) => number;
}

/** Signs of life where no watchdog is set: while it starts, a manager gives up after some time without. */
const DEFAULT_WATCHDOG_MS = 60_000;
/** Status lines come no faster. */
const STATUS_PAUSE_MS = 1000;
/** What could not be sent is sent again after so long. */
const RETRY_MS = 1000;

export class ServiceManager {
  readonly #options: ServiceManagerOptions;
  readonly #clock: Clock;
  /** The manager is told that the service lives so often. */
  readonly #lifeSignMs: number;
  #isReady = false;
  #isReloading = false;
  #status = '';
  #sentStatus = '';
  /** What is to be said, in order, and is said again until it has been heard. */
  #unsent: string[] = [];
  #cancelLifeSign: (() => void) | undefined;
  #cancelStatus: (() => void) | undefined;
  #cancelRetry: (() => void) | undefined;
  #hasFailed = false;

  constructor(options: ServiceManagerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#lifeSignMs = (options.watchdogMs ?? DEFAULT_WATCHDOG_MS) / 2;
    this.#giveLifeSign();
  }

  /** The rules are in force. */
  ready(): void {
    if (this.#isReady) return;
    this.#isReady = true;
    this.#say('READY=1');
  }

  /** Settings are being read again; `reloaded` ends that. Who is not ready yet does not become so by it. */
  reloading(): void {
    if (!this.#isReady) return;
    this.#isReloading = true;
    const monotonicUsec = process.hrtime.bigint() / 1000n;
    this.#say(`RELOADING=1\nMONOTONIC_USEC=${monotonicUsec}`);
  }

  reloaded(): void {
    if (!this.#isReloading) return;
    this.#isReloading = false;
    this.#say('READY=1');
  }

  /** The one line of `systemctl status`. */
  status(text: string): void {
    this.#status = text.replaceAll('\n', ' ');
    if (this.#status === this.#sentStatus || this.#cancelStatus !== undefined) return;
    this.#sentStatus = this.#status;
    this.#unsent = this.#unsent.filter((line) => !line.startsWith('STATUS='));
    this.#say(`STATUS=${this.#status}`);
    this.#cancelStatus = this.#clock.after(STATUS_PAUSE_MS, () => {
      this.#cancelStatus = undefined;
      this.status(this.#status);
    });
  }

  stopping(): void {
    this.#say('STOPPING=1');
  }

  close(): void {
    this.#cancelLifeSign?.();
    this.#cancelStatus?.();
    this.#cancelRetry?.();
  }

  /**
   * While it starts, each sign buys time: a source that is away for hours is no reason to be killed. Afterwards only a manager
   * that watches is told.
   */
  #giveLifeSign(): void {
    const { isLive, watchdogMs } = this.#options;
    const extension = `EXTEND_TIMEOUT_USEC=${this.#lifeSignMs * 2 * 1000}`;
    const sign = this.#isReady ? (watchdogMs === undefined ? undefined : 'WATCHDOG=1') : extension;
    if (sign !== undefined && isLive()) this.#sendNow(sign);
    this.#cancelLifeSign = this.#clock.after(this.#lifeSignMs, () => this.#giveLifeSign());
  }

  #say(text: string): void {
    this.#unsent.push(text);
    if (this.#cancelRetry === undefined) this.#sayUnsent();
  }

  #sayUnsent(): void {
    this.#cancelRetry = undefined;
    while (this.#unsent[0] !== undefined) {
      if (!this.#sendNow(this.#unsent[0])) {
        this.#cancelRetry = this.#clock.after(RETRY_MS, () => this.#sayUnsent());
        return;
      }
      this.#unsent.shift();
    }
  }

  #sendNow(text: string): boolean {
    const { send = loadAddon().sendDatagram, address, log } = this.#options;
    const errno = send(address, Buffer.from(text));
    if (errno !== 0) {
      const err = new KernelError(getSystemErrorName(-errno), errno, 'notify the service manager');
      log[this.#hasFailed ? 'debug' : 'warn']({ err }, 'the service manager does not hear');
    }
    this.#hasFailed = errno !== 0;
    return errno === 0;
  }
}
