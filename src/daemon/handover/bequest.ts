// What a daemon leaves to its successor, so that nobody notices the change: sockets, and what is known of each. The sockets stay open
// in between, and the kernel answers and queues for them.

import { closeSync, fstatSync, readSync, writeSync } from 'node:fs';
import { KernelError, KproxyError } from '../../errors.ts';
import { errnoName, requireAddon } from '../netlink-socket.ts';

export interface Bequest {
  /** Plain JSON, which refers to descriptors by their place in `fds`. */
  readonly facts: unknown;
  /** Owned by whoever has the bequest. */
  readonly fds: readonly number[];
}

/** More than 10,000 connections take. */
const MAX_FACTS_BYTES = 256 * 1024 * 1024;

/** A file in memory with the facts: they travel as the descriptors do. Throws KernelError. */
export function writeFacts(facts: unknown): number {
  const fd = requireAddon().memoryFile();
  if (fd < 0) throw new KernelError(errnoName(-fd), -fd, 'memfd_create');
  const bytes = Buffer.from(JSON.stringify(facts));
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
  return fd;
}

/** What was written there. Throws KproxyError for what is no file of facts. */
export function readFacts(fd: number): unknown {
  const stat = fstatSync(fd);
  if (!stat.isFile() || stat.size > MAX_FACTS_BYTES) throw damaged('not a file of facts');
  const bytes = Buffer.alloc(stat.size);
  for (let read = 0; read < bytes.length; ) {
    const more = readSync(fd, bytes, read, bytes.length - read, read);
    if (more === 0) throw damaged('truncated');
    read += more;
  }
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw damaged('not JSON', cause);
  }
}

/** Nobody goes on with these. */
export function discard(fds: readonly number[]): void {
  for (const fd of fds) {
    try {
      closeSync(fd);
    } catch {
      // Closed is what it was to be.
    }
  }
}

function damaged(what: string, cause?: unknown): KproxyError {
  return new KproxyError('BEQUEST', `what the last daemon left cannot be read: ${what}`, { cause });
}
