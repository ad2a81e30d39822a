import { expect, it } from 'vitest';
import { ProbeHealth, type ProbeOutcome } from '../../../src/daemon/probe/probe-health.ts';

it.each<[outcomes: ProbeOutcome[], isPassing: boolean]>([
  [[], false],
  [['refused'], false],
  [['connected'], true],
  [['connected', 'refused', 'timeout'], true],
  [['connected', 'refused', 'timeout', 'unreachable'], false],
  [['connected', 'refused', 'timeout', 'connected', 'refused', 'refused'], true],
  [['connected', 'refused', 'refused', 'refused', 'connected'], true],
])('%j', (outcomes, isPassing) => {
  const health = new ProbeHealth('10.96.0.1:443');
  for (const outcome of outcomes) health.ended(outcome);
  expect(health.facts).toEqual({ address: '10.96.0.1:443', isPassing, outcome: outcomes.at(-1) });
});
