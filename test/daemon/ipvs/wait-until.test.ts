import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { waitUntil } from '../../../src/daemon/ipvs/wait-until.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const NEVER = new AbortController().signal;

/** Is over at the n-th look; each look takes `lookMs` of the clock. */
function over(n: number, lookMs = 0) {
  let looks = 0;
  const isOver = async (): Promise<boolean> => {
    vi.setSystemTime(0);
    vi.advanceTimersByTime(lookMs);
    return ++looks >= n;
  };
  return { isOver, looks: () => looks };
}

test('what is over at the first look is not waited for', async () => {
  const { isOver, looks } = over(1);
  expect(await waitUntil(isOver, { timeoutMs: 1e6, signal: NEVER })).toBe(true);
  expect(looks()).toBe(1);
});

test('when the time is up it counts as over', async () => {
  const { isOver, looks } = over(Number.POSITIVE_INFINITY, 200);
  expect(await waitUntil(isOver, { timeoutMs: 150, signal: NEVER })).toBe(true);
  expect(looks()).toBe(1);
});

test('a signal ends the wait at once, and nothing is over then', async () => {
  const stop = new AbortController();
  const { isOver, looks } = over(Number.POSITIVE_INFINITY);
  const waited = waitUntil(isOver, { timeoutMs: 1e6, signal: stop.signal });
  setImmediate(() => stop.abort());
  expect(await waited).toBe(false);
  expect(looks()).toBe(1);
});

test('a signal that has come already: no look', async () => {
  const { isOver, looks } = over(1);
  expect(await waitUntil(isOver, { timeoutMs: 1e6, signal: AbortSignal.abort() })).toBe(false);
  expect(looks()).toBe(0);
});

test('what fails fails', async () => {
  const isOver = () => Promise.reject(new Error('no'));
  await expect(waitUntil(isOver, { timeoutMs: 1e6, signal: NEVER })).rejects.toThrow('no');
});
