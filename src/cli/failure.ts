// What a user sees when something failed: one line, and a stack trace only on request.

import { inspect } from 'node:util';
import { printable, printableLines } from '../config/printable.ts';
import { AlreadyRunningError, ConfigError, InternalError, KernelError, KproxyError } from '../errors.ts';
import type { TextStream } from './io.ts';

/** Writes a failure for a human and gives the exit code it calls for. */
export function reportFailure(error: unknown, stderr: TextStream, verbosity: number): number {
  const isExpected = error instanceof KproxyError && !(error instanceof InternalError);
  const hasStack = verbosity >= 4;
  const message = error instanceof Error ? error.message : String(error);
  stderr.write(
    isExpected
      ? `kproxy-ts: ${printable(message)}${hint(error)}\n`
      : `kproxy-ts: unexpected error: ${printable(message)}${hasStack ? '' : ' (-v=4 shows the stack trace)'}\n`,
  );
  if (hasStack) stderr.write(`${printableLines(inspect(error))}\n`);
  if (error instanceof AlreadyRunningError) return 3;
  return error instanceof ConfigError ? 2 : 1;
}

function hint(error: KproxyError): string {
  const isDenied = error instanceof KernelError && (error.code === 'EPERM' || error.code === 'EACCES');
  return isDenied ? '; run as root or with CAP_NET_ADMIN' : '';
}
