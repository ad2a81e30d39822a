// Connections since the kernel began to count, by port of a Service and where a mode counts them by endpoint, too.

import type { Protocol } from '../model/types.ts';

export interface ConnectionCount {
  /** `default/web:http`; the port name is missing for an unnamed port. */
  readonly service: string;
  readonly protocol: Protocol;
  /** `10.1.0.11:8080`, `[fd00::11]:8080`; undefined for all that were made to the Service. */
  readonly endpoint: string | undefined;
  readonly connections: bigint;
}

/** Sums of what addresses, families and rules counted each by itself. */
export class ConnectionCounts {
  readonly #counts = new Map<string, ConnectionCount>();

  add(count: ConnectionCount): void {
    const key = `${count.service} ${count.protocol} ${count.endpoint ?? ''}`;
    const before = this.#counts.get(key)?.connections ?? 0n;
    this.#counts.set(key, { ...count, connections: before + count.connections });
  }

  values(): ConnectionCount[] {
    return [...this.#counts.values()];
  }
}
