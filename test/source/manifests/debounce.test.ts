import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Debounce } from '../../../src/source/manifests/debounce.ts';

let origin: number;
let calledAt: number[];
let debounce: Debounce;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  origin = performance.now();
  calledAt = [];
  debounce = new Debounce({ quietMs: 50, maxMs: 1000 }, () => calledAt.push(performance.now() - origin));
});

afterEach(() => vi.useRealTimers());

function triggerEach(ms: number, times: number): void {
  for (let i = 0; i < times; i++) {
    debounce.trigger();
    vi.advanceTimersByTime(ms);
  }
}

it('calls once, after the last of a burst', () => {
  triggerEach(10, 5);
  vi.advanceTimersByTime(1000);
  expect(calledAt).toEqual([90]);
});

it('calls for each burst', () => {
  triggerEach(100, 3);
  expect(calledAt).toEqual([50, 150, 250]);
});

it('does not wait for ever', () => {
  triggerEach(20, 100);
  vi.advanceTimersByTime(1000);
  expect(calledAt).toEqual([1000, 2000]);
});

it('forgets when cancelled, and can be triggered again', () => {
  debounce.trigger();
  debounce.cancel();
  vi.advanceTimersByTime(1000);
  debounce.trigger();
  vi.advanceTimersByTime(1000);
  expect(calledAt).toEqual([1050]);
});
