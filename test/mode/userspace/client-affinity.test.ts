// Who keeps which endpoint, and for how long.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ClientAffinity } from '../../../src/mode/userspace/client-affinity.ts';
import { pickBackend } from '../../../src/mode/userspace/pick-backend.ts';
import { WeightedRoundRobin } from '../../../src/mode/userspace/weighted-round-robin.ts';
import { backend } from '../../support/frontends.ts';

const NONE: ReadonlySet<string> = new Set();

describe('a client', () => {
  test('keeps its endpoint while it comes, and for the time-out after that', () => {
    const affinity = new ClientAffinity();
    affinity.choose('a', 'x', 0, 100);
    expect(affinity.use('a', 99, 100)).toBe('x');
    expect(affinity.use('a', 198, 100)).toBe('x');
    expect(affinity.use('a', 298, 100)).toBeUndefined();
    expect(affinity.use('a', 298, 1000)).toBeUndefined();
    expect(affinity.use('b', 0, 100)).toBeUndefined();
  });

  test('is subject to the time-out as it is now', () => {
    const affinity = new ClientAffinity();
    affinity.choose('a', 'x', 0, 1000);
    affinity.choose('b', 'x', 0, 10);
    expect(affinity.use('a', 50, 10)).toBeUndefined();
    expect(affinity.use('b', 50, 1000)).toBe('x');
  });

  test('of an endpoint that went chooses anew, though it came back', () => {
    const affinity = new ClientAffinity();
    affinity.choose('a', 'x', 0, 100);
    affinity.choose('b', 'y', 0, 100);
    affinity.keepOnly(new Set(['y']));
    affinity.keepOnly(new Set(['x', 'y']));
    affinity.choose('c', 'x', 0, 100);
    expect(['a', 'b', 'c'].map((client) => affinity.use(client, 1, 100))).toEqual([undefined, 'y', 'x']);
  });

  test('that is forgotten chooses anew', () => {
    const affinity = new ClientAffinity();
    affinity.choose('a', 'x', 0, 100);
    affinity.forget('a');
    expect(affinity.use('a', 1, 100)).toBeUndefined();
  });
});

test('of too many clients those that came last are kept; those that nobody has seen make room by themselves', () => {
  const affinity = new ClientAffinity(3);
  for (const client of ['a', 'b', 'c']) affinity.choose(client, 'x', 0, 100);
  affinity.use('a', 1, 100);
  affinity.choose('d', 'x', 2, 100);
  expect(['a', 'b', 'c', 'd'].map((client) => affinity.use(client, 3, 100))).toEqual([
    'x',
    undefined,
    'x',
    'x',
  ]);
  affinity.choose('e', 'x', 1000, 100);
  expect(affinity.size).toBe(1);
});

test('against a plain model', () => {
  const clients = fc.constantFrom('a', 'b', 'c');
  const endpoints = fc.constantFrom('x', 'y');
  const step = fc.oneof(
    fc.record({ kind: fc.constant('use' as const), client: clients }),
    fc.record({ kind: fc.constant('choose' as const), client: clients, endpoint: endpoints }),
    fc.record({ kind: fc.constant('keep' as const), endpoints: fc.uniqueArray(endpoints) }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 80 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const affinity = new ClientAffinity();
      const model = new Map<string, { endpoint: string; atMs: number }>();
      let nowMs = 0;
      for (const one of steps) {
        if (one.kind === 'pass') nowMs += one.ms;
        else if (one.kind === 'choose') {
          affinity.choose(one.client, one.endpoint, nowMs, 100);
          model.set(one.client, { endpoint: one.endpoint, atMs: nowMs });
        } else if (one.kind === 'keep') {
          affinity.keepOnly(new Set(one.endpoints));
          for (const [client, { endpoint }] of model) {
            if (!one.endpoints.includes(endpoint as 'x' | 'y')) model.delete(client);
          }
        } else {
          const known = model.get(one.client);
          const expected = known !== undefined && nowMs - known.atMs < 100 ? known.endpoint : undefined;
          expect(affinity.use(one.client, nowMs, 100)).toBe(expected);
          if (expected === undefined) model.delete(one.client);
          else model.set(one.client, { endpoint: expected, atMs: nowMs });
        }
      }
    }),
    { numRuns: 500 },
  );
});

describe('a pick', () => {
  const turns = (): WeightedRoundRobin => {
    const turns = new WeightedRoundRobin();
    turns.set([backend('10.0.0.1:80'), backend('10.0.0.2:80')]);
    return turns;
  };
  const sticky = (affinity: ClientAffinity, address = 'a') => ({
    affinity,
    address,
    nowMs: 0,
    timeoutMs: 100,
  });

  test('is the same for one client, dialling twice at once too, and in turn for others', () => {
    const [affinity, all] = [new ClientAffinity(), turns()];
    const ips = ['a', 'a', 'b', 'a', 'c'].map(
      (address) => pickBackend(all, sticky(affinity, address), NONE)?.ip,
    );
    expect(ips).toEqual(['10.0.0.1', '10.0.0.1', '10.0.0.2', '10.0.0.1', '10.0.0.1']);
  });

  test('is another than those that failed, and stays so', () => {
    const [affinity, all] = [new ClientAffinity(), turns()];
    pickBackend(all, sticky(affinity), NONE);
    expect(pickBackend(all, sticky(affinity), new Set(['10.0.0.1:80']))?.ip).toBe('10.0.0.2');
    expect(pickBackend(all, sticky(affinity), NONE)?.ip).toBe('10.0.0.2');
  });

  test('is none of an endpoint that is not offered', () => {
    const [affinity, all] = [new ClientAffinity(), turns()];
    pickBackend(all, sticky(affinity), NONE);
    all.set([backend('10.0.0.2:80')]);
    expect(pickBackend(all, sticky(affinity), NONE)?.ip).toBe('10.0.0.2');
    expect(pickBackend(all, sticky(affinity), new Set(['10.0.0.2:80']))).toBeUndefined();
  });
});
