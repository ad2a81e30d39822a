// The log: pino, as one-liners for humans or JSON lines for machines, written synchronously so that nothing is lost on exit.
// Values come from the cluster and are not trusted: unprintable characters are escaped in both forms.

import { type Logger, pino } from 'pino';
import type { LogFormat } from '../config/flags.ts';
import { printable, printableLines, quote } from '../config/printable.ts';

/** `log.info({ service }, 'message')` or `log.info('message')`; an error goes in the field `err`. */
export type Log = Pick<
  Logger,
  'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'child' | 'isLevelEnabled'
>;

/** Where whole lines go. Must be synchronous. */
export interface LogDestination {
  write(text: string): unknown;
}

export interface LogOptions {
  readonly format: LogFormat;
  /** Below 0 warnings only, 0 info, 2 debug, 5 trace; from 4 on errors are logged with their stack. */
  readonly verbosity: number;
  readonly isTty: boolean;
  readonly destination: LogDestination;
}

/** A log whose form and verbosity may change. */
export interface TunableLog extends Log {
  tune(tuning: Partial<Pick<LogOptions, 'format' | 'verbosity'>>): void;
}

export function createLog({ format, verbosity, isTty, destination }: LogOptions): TunableLog {
  const now = { format, verbosity };
  const isText = () => now.format === 'text' || (now.format === 'auto' && isTty);
  const logger = pino(
    {
      level: levelOf(verbosity),
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: (error) => describeError(error, now.verbosity >= 4) },
    },
    {
      write: (line: string) =>
        destination.write(isText() ? formatLine(JSON.parse(line), isTty) : printableLines(line)),
    },
  );
  return Object.assign(logger, {
    tune: (tuning: Parameters<TunableLog['tune']>[0]) => {
      now.format = tuning.format ?? now.format;
      now.verbosity = tuning.verbosity ?? now.verbosity;
      logger.level = levelOf(now.verbosity);
    },
  });
}

function levelOf(verbosity: number): string {
  return verbosity < 0 ? 'warn' : verbosity < 2 ? 'info' : verbosity < 5 ? 'debug' : 'trace';
}

function describeError(error: unknown, hasStack: boolean): unknown {
  if (!(error instanceof Error)) return error;
  const { code } = error as { code?: unknown };
  return {
    ...(code === undefined ? {} : { code }),
    message: error.message,
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause, false) }),
    ...(hasStack ? { stack: error.stack } : {}),
  };
}

/** `HH:MM:SS LEVEL message key=value`, with the date too when not on a terminal. */
function formatLine(record: Record<string, unknown>, isTty: boolean): string {
  const { level, time, msg, err, ...fields } = record;
  const at = isTty ? new Date(String(time)).toTimeString().slice(0, 8) : String(time);
  const words = [at, String(level).toUpperCase().padEnd(5)];
  if (msg !== undefined) words.push(printable(String(msg)));
  for (const [key, value] of Object.entries(fields)) words.push(`${printable(key)}=${formatValue(value)}`);
  if (err === undefined) return `${words.join(' ')}\n`;
  const { message, stack } = Object(err) as { message?: unknown; stack?: unknown };
  words.push(`err=${formatValue(message ?? err)}`);
  return `${[words.join(' '), ...(stack === undefined ? [] : String(stack).split('\n'))].map(printable).join('\n    ')}\n`;
}

function formatValue(value: unknown): string {
  if (typeof value !== 'string') return printable(JSON.stringify(value));
  return /^[\w./:@%+,*[\]-]+$/.test(value) ? value : quote(value);
}
