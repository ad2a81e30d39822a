// Changes, one after the other: from the event in the store to the acknowledgement of the kernel. Against nft, which
// makes the same change in kube-proxy's layout.

import type { Bench, Section } from './bench.ts';
import type { ChangesResult } from './inside.ts';
import { atMost, formatMs, type Line } from './report.ts';
import { type Summary, summarize } from './statistics.ts';

const CHANGES = {
  endpointReplaced: 'endpoint replaced',
  endpointCount: 'endpoint gone or back',
  serviceAdded: 'service added',
  serviceDeleted: 'service deleted',
} satisfies Record<keyof ChangesResult, string>;

export async function measureChanges(bench: Bench): Promise<Section> {
  const lines: Line[] = [];
  const figures: Record<number, unknown> = {};
  const results = new Map<number, ChangesResult>();
  const references = new Map<number, Partial<ChangesResult>>();
  for (const services of bench.options.sizes) {
    const result = await bench.inNamespace('changes', services, (netns) =>
      bench.runTask<ChangesResult>(netns, {
        kind: 'changes',
        ...bench.size(services),
        count: bench.options.changes,
      }),
    );
    const reference = (await bench.kubeProxy(services))?.changes ?? {};
    results.set(services, result);
    references.set(services, reference);
    figures[services] = { kproxy: result, kubeProxy: reference };
  }
  for (const change of Object.keys(CHANGES) as (keyof ChangesResult)[]) {
    const medians = new Map<number, number>();
    for (const [services, result] of results) {
      const summary = summarize(result[change]);
      medians.set(services, summary.p50);
      lines.push({
        measure: `${CHANGES[change]}, p50 / p99 / max`,
        services,
        measured: formatSummary(summary),
        checks: [
          ...atMost(summary.p50, bench.target('changeP50', services), ' ms'),
          ...atMost(summary.p99, bench.target('changeP99', services), ' ms'),
        ],
        ...compared(references.get(services)?.[change], summary),
      });
    }
    const small = medians.get(1000);
    if (small === undefined) continue;
    for (const [services, p50] of medians) {
      const limit = bench.target('changeGrowth', services);
      if (limit === undefined) continue;
      lines.push({
        measure: `${CHANGES[change]}, p50 against 1k`,
        services,
        measured: `${(p50 / small).toFixed(2)}×`,
        checks: atMost(p50 / small, limit, '×'),
      });
    }
  }
  return { lines, figures };
}

function compared(
  durations: readonly number[] | undefined,
  { p50 }: Summary,
): Pick<Line, 'reference' | 'ratio'> {
  if (durations === undefined) return {};
  const reference = summarize(durations).p50;
  return { reference: `kube-proxy's layout, nft -f: ${formatMs(reference)}`, ratio: reference / p50 };
}

function formatSummary({ p50, p99, max }: Summary): string {
  return [p50, p99, max]
    .map((ms) => ms.toFixed(2))
    .join(' / ')
    .concat(' ms');
}
