// Connects to a Service through its virtual IP now and then, as a client on this node would: rules that are in force and do not work
// are seen by nothing else.

import { connect } from 'node:net';
import type { ListenAddress } from '../../config/parse.ts';
import { formatAddress } from '../http-listener.ts';
import type { Log } from '../log.ts';
import { type ProbeFacts, ProbeHealth, type ProbeOutcome } from './probe-health.ts';

/** From the end of one attempt to the next, milliseconds. */
const PAUSE_MS = 5000;
/** Longest wait for a connection, milliseconds. */
const TIMEOUT_MS = 2000;

export interface VipProbeOptions {
  readonly log: Log;
  readonly onEnd: (outcome: ProbeOutcome, durationMs: number, isPassing: boolean) => void;
  readonly pauseMs?: number;
  readonly timeoutMs?: number;
}

export class VipProbe {
  readonly #options: VipProbeOptions;
  #address: ListenAddress | undefined;
  #health: ProbeHealth | undefined;
  #isStarted = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: VipProbeOptions) {
    this.#options = options;
  }

  /** Undefined when nothing is probed. */
  get facts(): ProbeFacts | undefined {
    return this.#health?.facts;
  }

  /** What to probe from now on, if anything. */
  aim(address: ListenAddress | undefined): void {
    clearTimeout(this.#timer);
    this.#address = address;
    this.#health = address && new ProbeHealth(formatAddress(address));
    if (this.#isStarted) void this.#probe();
  }

  /** Rules are in force: it may begin. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    void this.#probe();
  }

  close(): void {
    this.aim(undefined);
  }

  async #probe(): Promise<void> {
    const health = this.#health;
    if (health === undefined || this.#address === undefined) return;
    const { log, onEnd, pauseMs = PAUSE_MS, timeoutMs = TIMEOUT_MS } = this.#options;
    const startMs = performance.now();
    const outcome = await attempt(this.#address, timeoutMs);
    // Meanwhile it may have another aim.
    if (health !== this.#health) return;
    const before = health.facts;
    health.ended(outcome);
    const { isPassing, address } = health.facts;
    onEnd(outcome, performance.now() - startMs, isPassing);
    if (isPassing && !before.isPassing) log.info({ address }, 'probe passes');
    else if (!isPassing && (before.isPassing || before.outcome === undefined))
      log.warn({ address, outcome }, 'probe fails');
    this.#timer = setTimeout(() => void this.#probe(), pauseMs);
    this.#timer.unref();
  }
}

function attempt({ host, port }: ListenAddress, timeoutMs: number): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (outcome: ProbeOutcome): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => end('timeout'), timeoutMs);
    socket.once('connect', () => end('connected'));
    // After the end, too: an error that nobody hears would end the process.
    socket.on('error', ({ code }: NodeJS.ErrnoException) =>
      end(code === 'ECONNREFUSED' ? 'refused' : code === 'ETIMEDOUT' ? 'timeout' : 'unreachable'),
    );
  });
}
