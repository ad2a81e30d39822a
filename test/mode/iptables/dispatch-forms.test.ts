// `--iptables-dispatch` decides how rules are found and nothing else: every packet of the behaviour table comes to the same
// in both forms. What it comes to, the table says.

import { describe, expect, test } from 'vitest';
import { formatOutcome, stagesOf } from '../../behaviour/row.ts';
import { SCENARIOS } from '../../behaviour/rows.ts';
import { TracedIptables } from '../../behaviour/traced-iptables.ts';

describe('the flat form', () => {
  test.each(SCENARIOS.map((scenario) => [scenario.title, scenario] as const))('%s', async (_, scenario) => {
    const stages = stagesOf(scenario);
    const { flags } = stages[0]!.cluster;
    const tree = new TracedIptables(flags);
    const flat = new TracedIptables([...flags, '--iptables-dispatch=flat']);
    for (const { cluster, rows } of stages) {
      await tree.show(cluster.objects);
      await flat.show(cluster.objects);
      for (const { name, packet } of rows) {
        expect(formatOutcome(flat.chances(packet)), name).toEqual(formatOutcome(tree.chances(packet)));
      }
    }
  });
});
