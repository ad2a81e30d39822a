// Which Events are written, and how many at most.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { oddity, repaired, starting } from '../../../src/daemon/events/compose.ts';
import { EventSeries, SERIES_LIMITS } from '../../../src/daemon/events/event-series.ts';
import type { EventWrite } from '../../../src/source/node-event.ts';

const invalid = (name: string) =>
  oddity({ subject: `Service default/${name}`, code: 'INVALID_FIELD', reason: 'spec.ports[0].port: no' });

const { perReason, inAll, endAfterMs, countEveryMs } = SERIES_LIMITS;

describe('what repeats', () => {
  test('is one Event, counted now and then, with the time of the last', () => {
    const series = new EventSeries(0);
    expect(series.record(repaired('nftables'), 0)).toMatchObject({ op: 'create', id: 0, atMs: 0 });
    expect(series.nextDueMs).toBe(Number.POSITIVE_INFINITY);
    for (let atMs = 100; atMs <= 1000; atMs += 100)
      expect(series.record(repaired('nftables'), atMs)).toBe('counted');
    expect(series.nextDueMs).toBe(countEveryMs);
    expect(series.due(countEveryMs - 1)).toEqual([]);
    expect(series.due(countEveryMs)).toEqual([{ op: 'count', id: 0, count: 11, atMs: 1000 }]);
    expect(series.due(countEveryMs)).toEqual([]);
  });

  test('after a long pause is a new Event', () => {
    const series = new EventSeries(0);
    series.record(repaired('nftables'), 0);
    expect(series.record(repaired('nftables'), endAfterMs - 1)).toBe('counted');
    series.due(endAfterMs);
    expect(series.record(repaired('nftables'), 3 * endAfterMs)).toMatchObject({ op: 'create', id: 1 });
  });

  test('goes on under a new Event once the old one is gone', () => {
    const series = new EventSeries(0);
    series.record(repaired('nftables'), 0);
    series.forget(0);
    expect(series.record(repaired('nftables'), 1)).toMatchObject({ op: 'create', id: 1 });
  });

  test('with another text is another Event', () => {
    const series = new EventSeries(0);
    series.record(invalid('a'), 0);
    expect(series.record(invalid('b'), 0)).toMatchObject({ op: 'create', id: 1 });
  });
});

describe('too much', () => {
  test('of one reason is one Event for all the rest, and leaves others their room', () => {
    const series = new EventSeries(0);
    const writes = Array.from({ length: 100 }, (_, i) => series.record(invalid(`s-${i}`), i));
    const created = writes.filter((write) => typeof write === 'object');
    expect(created).toHaveLength(perReason.burst + 1);
    expect(created.at(-1)).toMatchObject({
      event: { type: 'Warning', reason: 'InvalidField', related: undefined },
    });
    expect(created.at(-1)).not.toMatchObject({ event: { note: expect.stringContaining('s-') } });
    expect(series.due(countEveryMs + 100)).toMatchObject([{ count: 100 - perReason.burst }]);
    expect(series.record(starting('1', 'ipvs'), 101)).toMatchObject({ op: 'create' });
  });

  test('comes back to single Events, one after each interval', () => {
    const series = new EventSeries(0);
    for (let i = 0; i < 100; i++) series.record(invalid(`s-${i}`), 0);
    expect(series.record(invalid('early'), perReason.intervalMs - 1)).toBe('counted');
    expect(series.record(invalid('later'), perReason.intervalMs)).toMatchObject({
      event: { related: { name: 'later' } },
    });
    expect(series.record(invalid('soon'), perReason.intervalMs + 1)).toBe('counted');
  });

  test('whatever happens, writes stay within the limits, and what is counted is written in the end', () => {
    const waitMs = fc.oneof({ weight: 9, arbitrary: fc.nat(2000) }, fc.nat(2 * endAfterMs));
    const step = fc.record({ reason: fc.nat(40), subject: fc.nat(3), waitMs });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
        const series = new EventSeries(0);
        const writes: EventWrite[] = [];
        let [nowMs, counted, suppressed] = [0, 0, 0];
        for (const { reason, subject, waitMs } of steps) {
          nowMs += waitMs;
          if (series.nextDueMs <= nowMs) writes.push(...series.due(nowMs));
          const what = series.record(
            oddity({ subject: `Service a/${subject}`, code: `CODE_${reason}`, reason: '' }),
            nowMs,
          );
          if (what === 'counted') counted++;
          else if (what === 'suppressed') suppressed++;
          else writes.push(what);
          if (writes.length > inAll.burst + nowMs / inAll.intervalMs) return false;
        }
        // Time enough for every count to find a token.
        for (let i = 1; i <= 300; i++) writes.push(...series.due(nowMs + i * inAll.intervalMs));
        const created = writes.filter(({ op }) => op === 'create').length;
        const last = new Map(writes.map((write) => [write.id, write.op === 'count' ? write.count : 1]));
        const told = [...last.values()].reduce((sum, count) => sum + count, 0);
        return created + counted + suppressed === steps.length && told === created + counted;
      }),
    );
  });
});
