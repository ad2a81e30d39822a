// Events on their way: nobody waits, failures are told once, nothing is written twice.

import { describe, expect, test } from 'vitest';
import { oddity, repaired, starting } from '../../../src/daemon/events/compose.ts';
import { type EventOutcome, EventPublisher } from '../../../src/daemon/events/event-publisher.ts';
import type { Log } from '../../../src/daemon/log.ts';
import { KubeError } from '../../../src/errors.ts';
import type { EventWrite } from '../../../src/source/node-event.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const MINUTE_MS = 60_000;

function begin() {
  const clock = new FakeClock();
  const written: EventWrite[] = [];
  const outcomes: EventOutcome[] = [];
  const told: string[] = [];
  const tellAt = (level: string) => (_: unknown, message: string) => told.push(`${level} ${message}`);
  const state = { failWith: undefined as (() => Error) | undefined, attempts: 0 };
  const publisher = new EventPublisher({
    write: async (write) => {
      state.attempts++;
      if (state.failWith !== undefined) throw state.failWith();
      written.push(write);
    },
    log: { warn: tellAt('warn'), debug: tellAt('debug') } as unknown as Log,
    onOutcome: (outcome) => outcomes.push(outcome),
    clock,
  });
  return { clock, publisher, written, outcomes, told, state };
}

test('an Event is written at once, its repetitions later and together', async () => {
  const { clock, publisher, written, outcomes } = begin();
  publisher.tell(repaired('ipvs'));
  await clock.advance(0);
  expect(written).toMatchObject([{ op: 'create', event: { reason: 'RulesRepaired' } }]);
  for (let i = 0; i < 5; i++) publisher.tell(repaired('ipvs'));
  await clock.advance(4 * MINUTE_MS);
  expect(written).toHaveLength(1);
  await clock.advance(2 * MINUTE_MS);
  expect(written.slice(1)).toEqual([{ op: 'count', id: 0, count: 6, atMs: 0 }]);
  expect(outcomes).toEqual(['written', 'written']);
  expect(clock.timerCount).toBe(0);
});

test('without anybody to read them nothing is done, not even counted', async () => {
  const clock = new FakeClock();
  const publisher = new EventPublisher({ write: undefined, log: {} as Log, clock });
  for (let i = 0; i < 1000; i++) publisher.tell(repaired('ipvs'));
  await clock.advance(MINUTE_MS);
  expect(clock.timerCount).toBe(0);
});

describe('an API server that is away', () => {
  test('gets them in order when it is back; its absence is told once', async () => {
    const { clock, publisher, written, told, state } = begin();
    state.failWith = () => new KubeError('connect ECONNREFUSED');
    publisher.tell(starting('1', 'ipvs'));
    publisher.tell(repaired('ipvs'));
    await clock.advance(10 * MINUTE_MS);
    expect(told.filter((line) => line.startsWith('warn'))).toEqual(['warn Events cannot be written for now']);
    // 1, 2, 4 … 32 s, then every minute.
    expect(state.attempts).toBeGreaterThan(10);
    expect(state.attempts).toBeLessThan(18);
    state.failWith = undefined;
    await clock.advance(MINUTE_MS);
    expect(written.map((write) => write.op === 'create' && write.event.reason)).toEqual([
      'Starting',
      'RulesRepaired',
    ]);
    state.failWith = () => new KubeError('HTTP 503', 503);
    publisher.tell(oddity({ subject: 'Service a/b', code: 'X', reason: '' }));
    await clock.advance(0);
    expect(told.filter((line) => line.startsWith('warn'))).toHaveLength(2);
  });

  test('for days is owed no more than a bounded number', async () => {
    const { clock, publisher, outcomes, state, written } = begin();
    state.failWith = () => new KubeError('gone');
    for (let i = 0; i < 500; i++) {
      publisher.tell(oddity({ subject: 'Service a/b', code: `CODE_${i}`, reason: '' }));
      await clock.advance(MINUTE_MS);
    }
    expect(outcomes.filter((outcome) => outcome === 'failed').length).toBeGreaterThan(300);
    state.failWith = undefined;
    // Once for the retry, then for the promises of as many writes.
    for (let i = 0; i < 100; i++) await clock.advance(MINUTE_MS / 50);
    expect(written.length).toBe(100);
    expect(written[0]).toMatchObject({ event: { reason: 'Code0' } });
  });
});

describe('a refusal', () => {
  test('costs that Event only, and is told once with what is missing', async () => {
    const { clock, publisher, written, outcomes, told, state } = begin();
    state.failWith = () => new KubeError('HTTP 403', 403);
    publisher.tell(starting('1', 'ipvs'));
    publisher.tell(repaired('ipvs'));
    await clock.advance(MINUTE_MS);
    expect(state.attempts).toBe(2);
    expect(outcomes).toEqual(['failed', 'failed']);
    const warnings = told.filter((line) => line.startsWith('warn'));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('create and patch on events in API group events.k8s.io');
    state.failWith = undefined;
    publisher.tell(repaired('ipvs'));
    await clock.advance(0);
    // What was refused was never begun, so this is no repetition.
    expect(written).toMatchObject([{ op: 'create', event: { reason: 'RulesRepaired' } }]);
  });

  test('of an Event that is there already means that an earlier answer was lost', async () => {
    const { clock, publisher, outcomes, told, state } = begin();
    state.failWith = () => new KubeError('HTTP 409', 409);
    publisher.tell(starting('1', 'ipvs'));
    await clock.advance(MINUTE_MS);
    expect([state.attempts, outcomes, told]).toEqual([1, ['written'], []]);
  });

  test('to count an Event that is gone leads to a new one, and is nothing to tell', async () => {
    const { clock, publisher, written, told, state } = begin();
    publisher.tell(repaired('ipvs'));
    await clock.advance(0);
    publisher.tell(repaired('ipvs'));
    state.failWith = () => new KubeError('HTTP 404', 404);
    await clock.advance(6 * MINUTE_MS);
    expect(state.attempts).toBe(2);
    state.failWith = undefined;
    publisher.tell(repaired('ipvs'));
    await clock.advance(0);
    expect(written).toMatchObject([
      { op: 'create', id: 0 },
      { op: 'create', id: 1 },
    ]);
    expect(told).toEqual([]);
  });
});

test('nothing is written after the end', async () => {
  const { clock, publisher, state } = begin();
  state.failWith = () => new KubeError('gone');
  publisher.tell(repaired('ipvs'));
  publisher.tell(repaired('ipvs'));
  await clock.advance(0);
  publisher.close();
  publisher.tell(starting('1', 'ipvs'));
  await clock.advance(60 * MINUTE_MS);
  expect(state.attempts).toBe(1);
  expect(clock.timerCount).toBe(0);
});
