// The behaviour table, told by a tracer from what each mode would write: every row in milliseconds.

import { describe, expect, test } from 'vitest';
import { judgeElsewhere, judgeRepeated, Memory } from './judge.ts';
import { MODES, type Mode } from './modes.ts';
import { formatOutcome, isRepeated, outcomeFor, type Row, type Scenario, stagesOf } from './row.ts';
import { SCENARIOS } from './rows.ts';
import { crowd, REMOTE_NODE_NAME } from './world.ts';

const NAMES = SCENARIOS.flatMap((scenario) => stagesOf(scenario)).flatMap(({ rows }) =>
  rows.map(({ name }) => name),
);
const STATEMENTS = SCENARIOS.flatMap(({ statements, sequels = [] }) => [
  statements,
  ...sequels.map((one) => one.statements),
]);

test('the table says enough, and nothing twice', () => {
  expect(STATEMENTS.flat().length).toBeGreaterThanOrEqual(400);
  expect(NAMES.filter((name, i) => NAMES.indexOf(name) !== i)).toEqual([]);
});

/** A scenario as it goes on, stage by stage, on one node. */
class Course {
  readonly #mode: Mode;
  readonly #scenario: Scenario;
  readonly #nodeName: string | undefined;
  readonly #memory = new Memory(crowd(0));
  #shown = -1;
  #tracer: ReturnType<Mode['tracer']> | undefined;

  constructor(mode: Mode, scenario: Scenario, nodeName?: string) {
    this.#mode = mode;
    this.#scenario = scenario;
    this.#nodeName = nodeName;
  }

  async at(stage: number): Promise<ReturnType<Mode['tracer']>> {
    const stages = stagesOf(this.#scenario, this.#nodeName);
    this.#tracer ??= this.#mode.tracer(stages[0]!.cluster.flags);
    while (this.#shown < stage) {
      const { cluster, waitSeconds } = stages[++this.#shown]!;
      await this.#tracer.show(cluster.objects);
      if (waitSeconds > 0) await this.#tracer.wait(waitSeconds);
    }
    return this.#tracer;
  }

  async judge(stage: number, row: Row): Promise<void> {
    const tracer = await this.at(stage);
    const { packet } = row;
    const outcome = outcomeFor(row, this.#mode.name);
    if (!isRepeated(outcome)) {
      expect(formatOutcome(tracer.chances(packet))).toEqual(formatOutcome(outcome));
      return;
    }
    expect(await judgeRepeated(tracer, packet, outcome, this.#memory)).toBeUndefined();
    if (outcome.kind !== 'hashes' || !outcome.isEverywhere) return;
    const elsewhere = new Course(this.#mode, this.#scenario, REMOTE_NODE_NAME);
    // Not by the same way: one node saw the cluster change, the other finds it as it is.
    elsewhere.#shown = stage - 1;
    expect(await judgeElsewhere(await elsewhere.at(stage), packet, this.#memory)).toBeUndefined();
  }
}

for (const mode of MODES) {
  describe(mode.name, () => {
    for (const scenario of SCENARIOS) {
      const course = new Course(mode, scenario);
      for (const [stage, { rows }] of stagesOf(scenario).entries())
        for (const row of rows) test(row.name, () => course.judge(stage, row));
    }
  });
}
