// The behaviour table, told by a tracer from what each mode would write: every row in milliseconds.

import { describe, expect, test } from 'vitest';
import { MODES } from './modes.ts';
import { clusterOf, formatOutcome, outcomeFor, rowsOf } from './row.ts';
import { SCENARIOS } from './rows.ts';

const STATEMENTS = SCENARIOS.flatMap(({ statements }) => statements);
const NAMES = SCENARIOS.flatMap(rowsOf).map(({ name }) => name);

test('the table says enough, and nothing twice', () => {
  expect(STATEMENTS.length).toBeGreaterThanOrEqual(200);
  expect(NAMES.filter((name, i) => NAMES.indexOf(name) !== i)).toEqual([]);
});

for (const mode of MODES) {
  describe(mode.name, () => {
    for (const scenario of SCENARIOS) {
      let trace: ReturnType<typeof mode.tracer> | undefined;
      for (const { name, packet, statement } of rowsOf(scenario)) {
        test(name, () => {
          trace ??= mode.tracer(clusterOf(scenario));
          const outcome = trace(packet);
          expect(formatOutcome(outcome)).toEqual(formatOutcome(outcomeFor(statement, mode.name)));
        });
      }
    }
  });
}
