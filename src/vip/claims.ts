// Who owns a frontend key when two Services claim it: the older Service, then the smaller namespace/name.
// Incremental: a change returns the other Services whose share changed with it.

import type { ServiceKey } from '../model/types.ts';

/** Orders claimants: smaller wins. */
export interface Claimant {
  readonly service: ServiceKey;
  /** metadata.creationTimestamp, ms since the epoch; Infinity when unknown. */
  readonly createdAtMs: number;
}

/** The claims of all Services on frontend keys. */
export class Claims {
  readonly #winners = new Map<string, Claimant>();
  /** Only keys with more than one claimant; the winner is among them. */
  readonly #contested = new Map<string, Claimant[]>();
  readonly #keysByService = new Map<ServiceKey, readonly string[]>();

  /**
   * Replaces the claims of `claimant.service` by `keys` (without duplicates; empty releases all).
   * Returns the other Services with a claim on a key that has another winner by it.
   */
  set(claimant: Claimant, keys: readonly string[]): ReadonlySet<ServiceKey> {
    const affected = new Set<ServiceKey>();
    const wanted = new Set(keys);
    for (const key of this.#keysByService.get(claimant.service) ?? []) {
      if (!wanted.has(key)) this.#release(claimant.service, key, affected);
    }
    for (const key of keys) this.#claim(claimant, key, affected);
    if (keys.length === 0) this.#keysByService.delete(claimant.service);
    else this.#keysByService.set(claimant.service, keys);
    affected.delete(claimant.service);
    return affected;
  }

  /** The Service that owns `key`, undefined when nobody claims it. */
  winner(key: string): ServiceKey | undefined {
    return this.#winners.get(key)?.service;
  }

  #claim(claimant: Claimant, key: string, affected: Set<ServiceKey>): void {
    const holder = this.#winners.get(key);
    if (holder === undefined || (holder.service === claimant.service && !this.#contested.has(key))) {
      this.#winners.set(key, claimant);
      return;
    }
    const others = (this.#contested.get(key) ?? [holder]).filter((one) => one.service !== claimant.service);
    this.#contest(key, [...others, claimant], affected);
  }

  #release(service: ServiceKey, key: string, affected: Set<ServiceKey>): void {
    const contenders = this.#contested.get(key);
    if (contenders === undefined) this.#winners.delete(key);
    else
      this.#contest(
        key,
        contenders.filter((one) => one.service !== service),
        affected,
      );
  }

  #contest(key: string, contenders: Claimant[], affected: Set<ServiceKey>): void {
    contenders.sort(compareClaimants);
    const before = this.#winners.get(key);
    const winner = contenders[0]!;
    this.#winners.set(key, winner);
    if (contenders.length > 1) this.#contested.set(key, contenders);
    else this.#contested.delete(key);
    if (before !== undefined && before.service !== winner.service) {
      affected.add(before.service);
      for (const { service } of contenders) affected.add(service);
    }
  }
}

function compareClaimants(a: Claimant, b: Claimant): number {
  if (a.createdAtMs !== b.createdAtMs) return a.createdAtMs < b.createdAtMs ? -1 : 1;
  return a.service < b.service ? -1 : 1;
}
