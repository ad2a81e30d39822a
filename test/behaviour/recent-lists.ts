// The lists of `-m recent`, which packets write and later ones read. Follows net/netfilter/xt_recent.c: of each address
// only its newest stamp matters, since no rule here counts hits.

import type { Match } from '../../src/netlink/iptables/rule.ts';

export type RecentMatch = Extract<Match, { kind: 'recent' }>;

/** Parameter ip_list_tot of the module: how many addresses a list remembers unless told otherwise. */
export const LIST_SIZE = 100;

export class RecentLists {
  #nowMs = 0;
  /** When each address was last seen, by list; those that were touched last come last. */
  #lists = new Map<string, Map<string, number>>();

  /** One that may go its own way. */
  fork(): RecentLists {
    const other = new RecentLists();
    other.#nowMs = this.#nowMs;
    other.#lists = new Map([...this.#lists].map(([name, list]) => [name, new Map(list)]));
    return other;
  }

  wait(seconds: number): void {
    this.#nowMs += seconds * 1000;
  }

  /** A list lasts as long as rules name it. */
  keepOnly(names: ReadonlySet<string>): void {
    for (const name of this.#lists.keys()) if (!names.has(name)) this.#lists.delete(name);
  }

  /** Whether an address matches; what that changes is changed. */
  match({ name, operation, seconds, isReaping }: RecentMatch, address: string): boolean {
    const list = this.#lists.get(name) ?? new Map<string, number>();
    this.#lists.set(name, list);
    const seenAtMs = list.get(address);
    if (operation === 'set') {
      const [oldest] = list.keys();
      if (seenAtMs === undefined && list.size === LIST_SIZE) list.delete(oldest!);
      this.#touch(list, address);
      return true;
    }
    if (seenAtMs === undefined) return false;
    if (operation === 'remove') return list.delete(address);
    const sinceMs = this.#nowMs - seconds * 1000;
    const isMatch = seconds === 0 || seenAtMs >= sinceMs;
    if (isReaping) {
      if (seconds === 0) throw new Error('--reap without --seconds');
      const [oldest] = list.keys();
      if (list.get(oldest!)! < sinceMs) list.delete(oldest!);
    }
    if (operation === 'update' && isMatch) this.#touch(list, address);
    return isMatch;
  }

  get fingerprint(): string {
    return JSON.stringify([this.#nowMs, [...this.#lists].map(([name, list]) => [name, [...list]])]);
  }

  #touch(list: Map<string, number>, address: string): void {
    list.delete(address);
    list.set(address, this.#nowMs);
  }
}
