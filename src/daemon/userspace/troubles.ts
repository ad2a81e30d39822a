// What keeps clients from being served, told now and then, however often it happens.

import type { ServiceKey } from '../../model/types.ts';
import type { Clock } from '../sync-loop.ts';

export interface Trouble {
  /**
   * `DESCRIPTORS`: the process may have no more of them. `CONNECTION_LIMIT`: a Service has as many connections as it asked for.
   * `NO_ENDPOINT`: none of the endpoints of a Service answered. `ACCEPT`: the system refused to accept connections.
   */
  readonly code: 'DESCRIPTORS' | 'CONNECTION_LIMIT' | 'NO_ENDPOINT' | 'ACCEPT';
  /** Whose clients it concerns; undefined for those of all. */
  readonly service: ServiceKey | undefined;
  /** One sentence. */
  readonly reason: string;
}

/** A trouble, and how often there was one of its kind since it was told last. */
export type TellTrouble = (trouble: Trouble & { readonly times: number }) => void;

const PAUSE_MS = 10_000;

export class Troubles {
  readonly #tell: TellTrouble;
  readonly #clock: Clock;
  /** By code and Service: how often since then. */
  readonly #told = new Map<string, { atMs: number; times: number }>();

  constructor(tell: TellTrouble, clock: Clock) {
    this.#tell = tell;
    this.#clock = clock;
  }

  note(trouble: Trouble): void {
    const key = `${trouble.code} ${trouble.service ?? ''}`;
    const nowMs = this.#clock.nowMs();
    const told = this.#told.get(key);
    if (told !== undefined && nowMs - told.atMs < PAUSE_MS) {
      told.times++;
      return;
    }
    this.#told.set(key, { atMs: nowMs, times: 0 });
    this.#tell({ ...trouble, times: 1 + (told?.times ?? 0) });
  }

  /** A Service that is gone. */
  forget(service: ServiceKey): void {
    this.#told.delete(`CONNECTION_LIMIT ${service}`);
    this.#told.delete(`NO_ENDPOINT ${service}`);
  }
}
