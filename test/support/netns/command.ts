// Runs a program to its end and collects what it said. The only place of the test support that starts short commands.

import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { patient } from '../patience.ts';

/** What a finished command left behind. */
export interface CommandResult {
  /** Exit status; 128 + signal number, as a shell reports it, when a signal ended the command. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** Written to standard input, which is then closed. */
  readonly input?: string;
  /** The command is killed, and the promise rejects, after this time. 10,000 by default. */
  readonly timeoutMs?: number;
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Told of the process as soon as it exists. */
  readonly onStart?: (child: ChildProcess) => void;
}

/** A command that ended with a status other than 0, did not start or did not end in time. */
export class CommandError extends Error {
  readonly result: CommandResult;

  constructor(argv: readonly string[], reason: string, result: CommandResult) {
    super(`${argv.join(' ')}: ${reason}${result.stderr === '' ? '' : `\n${result.stderr.trimEnd()}`}`);
    this.name = 'CommandError';
    this.result = result;
  }
}

/** Runs `argv` to its end, whatever its status. @throws CommandError when it cannot start or takes too long. */
export function tryCommand(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [program = '', ...args] = argv;
  const timeoutMs = patient(options.timeoutMs ?? 10_000);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...process.env, ...options.env } });
    options.onStart?.(child);
    const result = { status: 0, stdout: '', stderr: '' };
    let hasTimedOut = false;
    const timer = setTimeout(() => {
      hasTimedOut = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      result.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      result.stderr += text;
    });
    // A command may exit without reading its input: the EPIPE says nothing that its status does not say better.
    child.stdin.on('error', () => undefined).end(options.input ?? '');
    child.on('error', (cause) => {
      clearTimeout(timer);
      reject(new CommandError(argv, cause.message, result));
    });
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      result.status = status ?? 128 + signalNumber(signal);
      if (hasTimedOut) reject(new CommandError(argv, `not finished after ${timeoutMs} ms`, result));
      else resolve(result);
    });
  });
}

/** Runs `argv` and gives its standard output. @throws CommandError when the status is not 0 as well. */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await tryCommand(argv, options);
  if (result.status !== 0) throw new CommandError(argv, `exit status ${result.status}`, result);
  return result.stdout;
}

function signalNumber(signal: NodeJS.Signals | null): number {
  return signal === null ? 0 : (constants.signals[signal] ?? 0);
}
