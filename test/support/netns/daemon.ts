// Starts the real program in a network namespace and reads its log, which is JSON lines on stderr.

import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { patient } from '../patience.ts';
import type { CommandOptions, CommandResult } from './command.ts';
import type { Netns } from './netns.ts';

export const KPROXY = fileURLToPath(new URL('../../../bin/kproxy-ts', import.meta.url));

/** One line of the daemon's log. A line that is not JSON has it all in `msg`. */
export interface LogLine {
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** Runs `kproxy-ts` with `args` to its end. */
export function runKproxy(
  netns: Netns,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  return netns.tryExec([process.execPath, KPROXY, ...args], options);
}

/** A running daemon; it is killed with its namespace. */
export class Daemon {
  /** Everything it has logged so far. */
  readonly log: LogLine[] = [];
  /** Settles with the exit status, or the name of the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #watchers = new Set<() => void>();

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.log.push(parseLine(line));
        this.#wake();
      });
    }
    this.ended = new Promise((resolve) => {
      child.on('close', (status, signal) => resolve(signal ?? status ?? 0));
    });
    void this.ended.then(() => this.#wake());
  }

  /** Starts the daemon with `flags`. It is up when `rulesInForce` settles. */
  static start(
    netns: Netns,
    flags: readonly string[],
    env: Readonly<Record<string, string>> = {},
    program = KPROXY,
  ): Daemon {
    return new Daemon(netns.spawn([process.execPath, program, ...flags], env));
  }

  /** Resident memory and the like are found under `/proc/<pid>`: `ip netns exec` replaces itself by the daemon. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The line that tells of the first clean sync. */
  rulesInForce(timeoutMs = 15_000): Promise<LogLine> {
    return this.waitForLog('rules in force', { timeoutMs });
  }

  /**
   * The first line at or after index `from` (0) of the log whose message contains `match`, or that `match` accepts.
   * @throws when the daemon ends before, or after `timeoutMs` (10,000), with the end of its log.
   */
  waitForLog(
    match: string | ((line: LogLine) => boolean),
    { from = 0, timeoutMs = 10_000 }: { readonly from?: number; readonly timeoutMs?: number } = {},
  ): Promise<LogLine> {
    const isMatch = typeof match === 'string' ? (line: LogLine) => line.msg.includes(match) : match;
    return new Promise((resolve, reject) => {
      const settle = (reason?: string) => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        const tail = this.log.slice(-10).map((line) => JSON.stringify(line));
        if (reason !== undefined)
          reject(new Error(`daemon ${reason}; its log ends with\n${tail.join('\n')}`));
      };
      const look = () => {
        const line = this.log.slice(from).find(isMatch);
        if (line !== undefined) {
          settle();
          resolve(line);
        } else if (this.hasEnded) settle('ended early');
      };
      const patienceMs = patient(timeoutMs);
      const timer = setTimeout(() => settle(`did not log ${match} within ${patienceMs} ms`), patienceMs);
      this.#watchers.add(look);
      look();
    });
  }

  /** Sends a signal, SIGTERM by default, and waits for the end. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    this.#child.kill(signal);
    return this.ended;
  }

  /** It runs no more. */
  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #wake(): void {
    for (const look of this.#watchers) look();
  }
}

function parseLine(line: string): LogLine {
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed === 'object' && parsed !== null && 'msg' in parsed) return parsed as LogLine;
  } catch {
    // Not from the logger.
  }
  return { msg: line };
}
