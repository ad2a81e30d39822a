// When the daemon calls itself healthy, live and ready.

import { expect, test } from 'vitest';
import { SyncHealth } from '../../../src/daemon/health/sync-health.ts';

const PERIOD_MS = 30_000;
const LATE_MS = 2 * PERIOD_MS;
const CLEAN = { hasFailed: false };
const FAILED = { hasFailed: true };

const at = (health: SyncHealth, nowMs: number) => ({
  healthy: health.isHealthy(nowMs),
  live: health.isLive(nowMs),
  ready: health.isReady,
});
const synced = (): SyncHealth => {
  const health = new SyncHealth(PERIOD_MS, 0);
  health.queued(0);
  health.stepped(CLEAN, false, 1);
  return health;
};

test('before anything is asked for it is healthy and live, and not ready', () => {
  expect(at(new SyncHealth(PERIOD_MS, 0), 10 * LATE_MS)).toEqual({ healthy: true, live: true, ready: false });
});

test('a first sync that never ends is neither healthy nor live', () => {
  const health = new SyncHealth(PERIOD_MS, 0);
  health.queued(0);
  expect(at(health, LATE_MS - 1)).toEqual({ healthy: true, live: true, ready: false });
  expect(at(health, LATE_MS)).toEqual({ healthy: false, live: false, ready: false });
});

test('checks keep it healthy; without one for twice the period it is not fresh', () => {
  const health = synced();
  expect(at(health, LATE_MS)).toEqual({ healthy: true, live: true, ready: true });
  expect(at(health, LATE_MS + 1)).toEqual({ healthy: false, live: true, ready: true });
  health.stepped(CLEAN, false, LATE_MS);
  expect(at(health, 2 * LATE_MS - 1)).toEqual({ healthy: true, live: true, ready: true });
});

test('what fails for twice the period makes it unhealthy, and live as long as it tries', () => {
  const health = synced();
  health.queued(10);
  for (let nowMs = 20; nowMs < LATE_MS; nowMs += 1000) {
    health.stepped(FAILED, true, nowMs);
    expect(at(health, nowMs + 1)).toEqual({ healthy: true, live: true, ready: true });
  }
  health.stepped(FAILED, true, LATE_MS + 10);
  expect(at(health, LATE_MS + 10)).toEqual({ healthy: false, live: true, ready: true });
  health.stepped(CLEAN, false, LATE_MS + 20);
  expect(at(health, LATE_MS + 20)).toEqual({ healthy: true, live: true, ready: true });
});

test('a change that was asked for during a sync counts from the end of that', () => {
  const health = synced();
  health.queued(10);
  health.stepped(CLEAN, true, 5000);
  expect(at(health, 5000 + LATE_MS - 1).healthy).toBe(true);
  expect(at(health, 5000 + LATE_MS).healthy).toBe(false);
});
