// How many descriptors the process may have, and how many of them proxies use: a client is refused, and that is told, before the
// kernel refuses one to somebody who cannot do without.

import { readFileSync, statSync } from 'node:fs';
import type { Troubles } from './troubles.ts';

/** Kept for all others in the process: the API server's connections, netlink, files, and clients about to be refused. */
const RESERVE = 256;
/** After so many that were taken it is seen how many others there are. */
const LOOK_AFTER = 128;

export interface DescriptorsOptions {
  /** Of the process; RLIMIT_NOFILE unless given. */
  readonly limit?: number;
  /** How many the process has; undefined where nobody tells. */
  readonly countOpen?: () => number | undefined;
}

export class Descriptors {
  /** Infinity when there is none. */
  readonly limit: number;
  readonly #reserve: number;
  readonly #countOpen: () => number | undefined;
  #used = 0;
  #refused = 0;
  /** Those that are not ours, at the last look. */
  #others = 0;
  #untilLook = 0;

  constructor({ limit = descriptorLimit(), countOpen = countOpenDescriptors }: DescriptorsOptions = {}) {
    this.limit = limit;
    this.#reserve = Math.min(RESERVE, Math.floor(limit / 4));
    this.#countOpen = countOpen;
  }

  /** By proxies. */
  get used(): number {
    return this.#used;
  }

  /** Clients that were refused because there were none left. */
  get refused(): number {
    return this.#refused;
  }

  /** False, and nothing is taken, when there are not as many left. */
  take(count: number): boolean {
    if (this.#untilLook-- <= 0) this.#look();
    if (this.#used + count > this.limit - Math.max(this.#reserve, this.#others + this.#reserve / 2))
      return false;
    this.#used += count;
    return true;
  }

  give(count: number): void {
    this.#used -= count;
  }

  /** Counts a client that is refused, and tells. */
  refuse(troubles: Troubles): void {
    this.#refused++;
    const reason = `${this.#used} of ${this.limit} descriptors are used for clients (RLIMIT_NOFILE); more clients are refused`;
    troubles.note({ code: 'DESCRIPTORS', service: undefined, reason });
  }

  #look(): void {
    this.#untilLook = LOOK_AFTER;
    // What was taken a moment ago may not be there yet: then there are fewer others than it seems, never more.
    this.#others = Math.max((this.#countOpen() ?? 0) - this.#used, 0);
  }
}

/** RLIMIT_NOFILE, which Node raises as far as it may when it starts (getrlimit(2), proc_pid_limits(5)). */
function descriptorLimit(): number {
  const soft = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return soft === undefined || soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}

/** Linux tells by the size of the folder since 6.2, and before that 0. */
function countOpenDescriptors(): number | undefined {
  return statSync('/proc/self/fd').size || undefined;
}
