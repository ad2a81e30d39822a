// How many descriptors the process may have, and how many of them proxies use: a connection is refused, and that is told, before
// the kernel refuses one to somebody who cannot do without.

import { readFileSync } from 'node:fs';
import type { Troubles } from './troubles.ts';

/** For all others in the process: the API server's connections, netlink, files, and connections about to be refused. */
const RESERVE = 256;

export class Descriptors {
  /** Of the process; Infinity when there is none. */
  readonly limit: number;
  readonly #most: number;
  #used = 0;
  #refused = 0;

  constructor(limit: number = descriptorLimit()) {
    this.limit = limit;
    this.#most = limit - Math.min(RESERVE, Math.floor(limit / 4));
  }

  /** By proxies. */
  get used(): number {
    return this.#used;
  }

  /** False, and nothing is taken, when there are not as many left. */
  take(count: number): boolean {
    if (this.#used + count > this.#most) return false;
    this.#used += count;
    return true;
  }

  give(count: number): void {
    this.#used -= count;
  }

  /** Clients that were refused because there were none left. */
  get refused(): number {
    return this.#refused;
  }

  /** Counts one of them, and tells. */
  refuse(troubles: Troubles): void {
    this.#refused++;
    const reason = `${this.#used} of ${this.limit} descriptors are used for clients (RLIMIT_NOFILE); more clients are refused`;
    troubles.note({ code: 'DESCRIPTORS', service: undefined, reason });
  }
}

/** RLIMIT_NOFILE, which Node raises as far as it may when it starts (getrlimit(2), proc_pid_limits(5)). */
function descriptorLimit(): number {
  const soft = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return soft === undefined || soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}
