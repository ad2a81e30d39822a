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

/** The kernel counts in ticks, of 10 ms at the longest. */
const TICK_MS = 10;

/**
 * What an entry of the affinity map is to be in place of what it is: undefined to delete it, the same object if it is
 * right. A packet that finds an entry sets how long it has left, but not the time that it was made with. So an entry that
 * was made with another time, and has left what one has that was just used under the new rules, was: if it is one that
 * happens to have as much left of the old time, it is kept for longer than it should.
 */
export function retimed(entry: Element, { stickyMs, elapsedMs }: Retiming): Element | undefined {
  const { timeoutMs, expirationMs } = entry;
  if (timeoutMs === undefined || timeoutMs === stickyMs || expirationMs === undefined) return entry;
  const isUsedSince = expirationMs <= stickyMs && expirationMs >= stickyMs - elapsedMs - TICK_MS;
  const idleMs = Math.max(0, timeoutMs - expirationMs);
  const leftMs = isUsedSince ? expirationMs : stickyMs - idleMs;
  return leftMs <= 0 ? undefined : { ...entry, timeoutMs: stickyMs, expirationMs: leftMs };
}
