// Runs one program to its end: no shell, input and output a piece at a time, bounded in time and size.

import { spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { KproxyError } from '../../errors.ts';

/** What a program of iptables-legacy did not do; nobody's rule is to blame. */
export class ToolError extends KproxyError {
  /**
   * `TOOL_MISSING`, `TOOL_TOO_OLD`, `XTABLES_LOCK` (not to be had in time), `TOOL_TIMEOUT`, `TOOL_OUTPUT` (too much of it),
   * `TOOL_FAILED`, `TOOL_STALE` (the tables are not what they were taken for).
   */
  declare readonly code: ToolErrorCode;

  constructor(code: ToolErrorCode, message: string, options?: { cause?: unknown }) {
    super(code, message, options);
  }
}

export type ToolErrorCode =
  | 'TOOL_MISSING'
  | 'TOOL_TOO_OLD'
  | 'XTABLES_LOCK'
  | 'TOOL_TIMEOUT'
  | 'TOOL_OUTPUT'
  | 'TOOL_FAILED'
  | 'TOOL_STALE';

export interface ProgramOptions {
  /** Standard input, read as it is wanted; what it throws the promise rejects with. Nothing unless given. */
  readonly input?: Iterable<string>;
  /** Told each line of standard output as it comes, without its end; what it throws the promise rejects with. */
  readonly onLine?: (line: string) => void;
  /** Killed after this time; 5 minutes unless given: some 100 times what 10,000 Services take. */
  readonly timeoutMs?: number;
}

export interface ProgramResult {
  /** Exit status; -1 when a signal ended it. */
  readonly status: number;
  /** The first 64 KiB. */
  readonly stderr: string;
}

/** Rejects with ToolError: TOOL_MISSING, TOOL_TIMEOUT, TOOL_OUTPUT, or TOOL_FAILED where it could not be started. */
export type RunProgram = (argv: readonly string[], options?: ProgramOptions) => Promise<ProgramResult>;

const TIMEOUT_MS = 300_000;
const MAX_STDERR_CHARS = 65_536;
const PIECE_CHARS = 65_536;
/** Rules of 250,000 Services. */
const MAX_STDOUT_CHARS = 2 ** 29;

export const runProgram: RunProgram = async (argv, { input = [], onLine, timeoutMs = TIMEOUT_MS } = {}) => {
  const [program = '', ...args] = argv;
  const { PATH = '' } = process.env;
  // Where root's path lacks the folders of system programs, as under cron or su.
  const env = { ...process.env, LC_ALL: 'C', PATH: `${PATH}:/usr/local/sbin:/usr/sbin:/sbin` };
  const child = spawn(program, args, { env, stdio: 'pipe' });
  let failure: unknown;
  const stop = (reason: unknown): void => {
    failure ??= reason;
    child.kill('SIGKILL');
  };
  const timer = setTimeout(() => {
    stop(new ToolError('TOOL_TIMEOUT', `${program}: not finished after ${timeoutMs / 1000} s`));
  }, timeoutMs);
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(0, MAX_STDERR_CHARS);
  });
  const lines = new LineCutter(onLine);
  const heard = hear(program, child.stdout, lines).catch(stop);
  const ended = new Promise<number>((resolve, reject) => {
    child.on('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'ENOENT' ? 'TOOL_MISSING' : 'TOOL_FAILED';
      reject(new ToolError(code, `${program}: ${cause.code ?? cause.message}`, { cause }));
    });
    child.on('close', (status) => resolve(status ?? -1));
  });
  // A program may end before it has read everything: its status says more than the EPIPE.
  const fed = pipeline(Readable.from(guarded(input, stop)), child.stdin).catch(() => undefined);
  try {
    const [status] = await Promise.all([ended, fed, heard]);
    if (failure !== undefined) throw failure;
    lines.end();
    return { status, stderr: stderr.trim() };
  } finally {
    clearTimeout(timer);
  }
};

/** Piece by piece, others get their turn in between. */
async function hear(program: string, stdout: Readable, lines: LineCutter): Promise<void> {
  let chars = 0;
  for await (const text of stdout.setEncoding('utf8') as AsyncIterable<string>) {
    chars += text.length;
    if (chars > MAX_STDOUT_CHARS) {
      throw new ToolError('TOOL_OUTPUT', `${program}: more than ${chars} characters`);
    }
    lines.add(text);
  }
}

/** In pieces that are worth a write; what the input throws ends the program, before it takes the rest for all. */
function* guarded(input: Iterable<string>, stop: (reason: unknown) => void): Generator<string> {
  const texts = input[Symbol.iterator]();
  let piece = '';
  for (;;) {
    let next: IteratorResult<string>;
    try {
      next = texts.next();
    } catch (error) {
      stop(error);
      return;
    }
    if (next.done) break;
    piece += next.value;
    if (piece.length < PIECE_CHARS) continue;
    yield piece;
    piece = '';
  }
  if (piece !== '') yield piece;
}

class LineCutter {
  readonly #onLine: ((line: string) => void) | undefined;
  #begun = '';

  constructor(onLine: ((line: string) => void) | undefined) {
    this.#onLine = onLine;
  }

  add(text: string): void {
    if (this.#onLine === undefined) return;
    const lines = (this.#begun + text).split('\n');
    this.#begun = lines.pop()!;
    for (const line of lines) this.#onLine(line);
  }

  end(): void {
    if (this.#begun !== '') this.#onLine?.(this.#begun);
  }
}
