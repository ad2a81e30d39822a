// Changes, one after the other: from the event in the store to the acknowledgement of the kernel. Against nft, which
// makes the same change in kube-proxy's layout.

import { formatCount } from './arguments.ts';
import type { Bench, Section } from './bench.ts';
import type { ChangesResult } from './inside.ts';
import { atMost, formatMs, type Line } from './report.ts';
import { type Summary, summarize } from './statistics.ts';

const CHANGES = {
  endpointReplaced: { label: 'endpoint replaced', hasTarget: true },
  endpointCount: { label: 'endpoint gone or back', hasTarget: true },
  endpointCountFirst: { label: 'more endpoints than any other', hasTarget: false },
  serviceAdded: { label: 'service added', hasTarget: false },
  serviceDeleted: { label: 'service deleted', hasTarget: false },
} satisfies Record<keyof ChangesResult, { label: string; hasTarget: boolean }>;

/** Their changes are taken together: one process may be lucky, or not. */
const RUNS = 3;

export async function measureChanges(bench: Bench): Promise<Section> {
  const lines: Line[] = [];
  const figures: Record<number, unknown> = {};
  const results = new Map<number, ChangesResult>();
  const references = new Map<number, Partial<ChangesResult>>();
  for (const services of bench.options.sizes) {
    const runs: ChangesResult[] = [];
    for (let i = 0; i < RUNS; i++) {
      const task = { kind: 'changes', ...bench.size(services), count: bench.options.changes } as const;
      runs.push(
        await bench.inNamespace('changes', services, (netns) => bench.runTask<ChangesResult>(netns, task)),
      );
    }
    const result = pool(runs);
    const reference = (await bench.kubeProxy(services))?.changes ?? {};
    results.set(services, result);
    references.set(services, reference);
    figures[services] = { kproxy: result, kubeProxy: reference };
  }
  for (const change of Object.keys(CHANGES) as (keyof ChangesResult)[]) {
    const { label, hasTarget } = CHANGES[change];
    const target = (name: Parameters<Bench['target']>[0], services: number): number | undefined =>
      hasTarget ? bench.target(name, services) : undefined;
    const medians = new Map<number, number>();
    for (const [services, result] of results) {
      const summary = summarize(result[change]);
      medians.set(services, summary.p50);
      lines.push({
        measure: `${label}, p50 / p99 / max`,
        services,
        measured: formatSummary(summary),
        checks: [
          ...atMost(summary.p50, target('changeP50Ms', services), ' ms'),
          ...atMost(summary.p99, target('changeP99Ms', services), ' ms'),
        ],
        ...compared(references.get(services)?.[change], summary),
      });
    }
    const [smallest, largest] = [bench.options.sizes[0]!, bench.options.sizes.at(-1)!];
    if (smallest === largest) continue;
    const growth = medians.get(largest)! / medians.get(smallest)!;
    lines.push({
      measure: `${label}, p50 against ${formatCount(smallest)}`,
      services: largest,
      measured: `${growth.toFixed(2)}×`,
      checks: smallest === 1000 ? atMost(growth, target('changeGrowth', largest), '×') : [],
    });
  }
  return { lines, figures };
}

function pool(runs: readonly ChangesResult[]): ChangesResult {
  const changes = Object.keys(CHANGES) as (keyof ChangesResult)[];
  return Object.fromEntries(
    changes.map((change) => [change, runs.flatMap((run) => run[change])]),
  ) as unknown as ChangesResult;
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
