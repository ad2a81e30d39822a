// What clients are remembered for, when the time changes for which a Service keeps them: an entry counts from its client's
// last connection, so it gets the time that is left of the new one. The packet path alone would let entries live as long
// as was said when they were last used.

import type { Element } from '../../netlink/nftables/element.ts';

/** When a side got its present time, and how long ago that was. */
export interface Retiming {
  readonly stickyMs: number;
  /** How long packets may have passed the new rules: from before they were written until the entry was read. */
  readonly elapsedMs: number;
}

/**
 * What an entry of the affinity map is to be in place of what it is: undefined to delete it, the same object if it is
 * right. An `update` by the packet path sets how long an entry has left, but not the time that the entry was made with:
 * so one of another time that has more left than an unused one could have, was used under the new rules.
 */
export function retimed(entry: Element, { stickyMs, elapsedMs }: Retiming): Element | undefined {
  const { timeoutMs, expirationMs } = entry;
  if (timeoutMs === undefined || timeoutMs === stickyMs || expirationMs === undefined) return entry;
  const isUsedSince = expirationMs >= stickyMs - elapsedMs;
  const idleMs = Math.max(0, timeoutMs - expirationMs);
  const leftMs = isUsedSince ? Math.min(expirationMs, stickyMs) : stickyMs - idleMs;
  return leftMs <= 0 ? undefined : { ...entry, timeoutMs: stickyMs, expirationMs: leftMs };
}
