// Looking again and again whether something is over, at a bounded share of the time.

import { setTimeout } from 'node:timers/promises';

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;

/** A look at a large table takes seconds: a twentieth of the time at most goes to looking. */
const PAUSE_PER_LOOK = 20;

export interface WaitOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Settles after so many milliseconds, or as soon as `signal` ends it. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await setTimeout(ms, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}

/** True once `isOver` says so or the time is up; false when `signal` came first. Rejects with what `isOver` does. */
export async function waitUntil(
  isOver: () => Promise<boolean>,
  { timeoutMs, signal }: WaitOptions,
): Promise<boolean> {
  const untilMs = performance.now() + timeoutMs;
  for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs *= 2) {
    const beganMs = performance.now();
    if (await isOver()) return !signal.aborted;
    const nowMs = performance.now();
    if (nowMs >= untilMs) return true;
    const atLeastMs = (nowMs - beganMs) * PAUSE_PER_LOOK;
    const nextMs = Math.min(Math.max(Math.min(pauseMs, LONGEST_PAUSE_MS), atLeastMs), untilMs - nowMs);
    await pause(nextMs, signal);
  }
  return false;
}
