// What of a target's flows has to be looked at, and from when on: plain values, a clock's value among them. Pure.

import type { FlowTarget } from './flow-target.ts';

/** Times are in ms, of whatever clock the caller has. */
export interface Pending {
  readonly target: FlowTarget;
  /** When each endpoint stopped serving, by `flowEnd`. */
  readonly leftAtMs: ReadonlyMap<string, number>;
  /**
   * From when on flows to any other that does not serve have to be reckoned with: they are of a time that nobody watched.
   * undefined when they were looked at.
   */
  readonly othersFromMs: number | undefined;
}

const NOBODY: ReadonlyMap<string, number> = new Map();

/** A target of whose flows nothing is known. */
export function pendingAll(target: FlowTarget, before: Pending | undefined, nowMs: number): Pending {
  return {
    target,
    leftAtMs: before?.leftAtMs ?? NOBODY,
    othersFromMs: before?.othersFromMs ?? nowMs,
  };
}

/** What is pending once `was` (undefined: nothing) has become `is`; undefined when nothing is. */
export function pendingAfter(
  before: Pending | undefined,
  was: FlowTarget | undefined,
  is: FlowTarget,
  nowMs: number,
): Pending | undefined {
  const leftAtMs = new Map(before?.leftAtMs);
  for (const end of was?.endpoints ?? []) if (!is.endpoints.has(end)) leftAtMs.set(end, nowMs);
  for (const end of leftAtMs.keys()) if (is.endpoints.has(end)) leftAtMs.delete(end);
  const isUnknown = was === undefined || mayHaveUntranslated(was, is);
  const othersFromMs = before?.othersFromMs ?? (isUnknown ? nowMs : undefined);
  if (leftAtMs.size === 0 && othersFromMs === undefined) return undefined;
  return { target: is, leftAtMs: leftAtMs.size === 0 ? NOBODY : leftAtMs, othersFromMs };
}

/** When the first of it is due that is later than `afterMs`; Infinity when nothing is. */
export function dueAtMs(
  { target, leftAtMs, othersFromMs }: Pending,
  afterMs = Number.NEGATIVE_INFINITY,
): number {
  let first = Number.POSITIVE_INFINITY;
  for (const fromMs of [othersFromMs ?? first, ...leftAtMs.values()]) {
    const atMs = fromMs + target.graceMs;
    if (atMs > afterMs && atMs < first) first = atMs;
  }
  return first;
}

/** What is left of it once all that was due by `nowMs` is settled. */
export function pendingLater(
  { target, leftAtMs, othersFromMs }: Pending,
  nowMs: number,
): Pending | undefined {
  const isLater = (atMs: number): boolean => atMs + target.graceMs > nowMs;
  const later = new Map([...leftAtMs].filter(([, atMs]) => isLater(atMs)));
  const othersLaterMs = othersFromMs !== undefined && isLater(othersFromMs) ? othersFromMs : undefined;
  if (later.size === 0 && othersLaterMs === undefined) return undefined;
  return { target, leftAtMs: later, othersFromMs: othersLaterMs };
}

/** Whether a flow that `end` answers may go. */
export function isStaleEnd({ target, leftAtMs, othersFromMs }: Pending, end: string, nowMs: number): boolean {
  if (target.endpoints.has(end)) return false;
  const fromMs = leftAtMs.get(end) ?? othersFromMs;
  if (fromMs !== undefined) return fromMs + target.graceMs <= nowMs;
  // To no endpoint of ours since the last look, so that somebody else translated it, or nobody, which must not last where
  // UDP is to be served.
  return target.protocol === 'UDP' && !target.isRemoved;
}

/** UDP flows of a time without endpoints were not translated; a TCP connection was not even made. */
function mayHaveUntranslated(was: FlowTarget, is: FlowTarget): boolean {
  return is.protocol === 'UDP' && was.endpoints.size === 0 && is.endpoints.size > 0;
}
