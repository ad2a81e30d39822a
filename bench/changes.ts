// Changes, one after the other: from the event in the store to the acknowledgement of the kernel. Against nft, which
// makes the same change in kube-proxy's layout. Clusters of every size exist side by side and are changed in turns, so that
// whatever else the machine does falls on all of them alike.

import { Netns } from '../test/support/netns/netns.ts';
import { formatCount } from './arguments.ts';
import { type Bench, type Section, typescript } from './bench.ts';
import type { ChangesRequest, ChangesResult } from './changing.ts';
import { compare, formatComparison } from './comparison.ts';
import { LineProcess } from './line-process.ts';
import { atMost, formatMs, type Line } from './report.ts';
import { median, type Summary, summarize } from './statistics.ts';

type Change = keyof ChangesResult;

const CHANGES = {
  endpointReplaced: { label: 'endpoint replaced', hasTarget: true },
  endpointCount: { label: 'endpoint gone or back', hasTarget: true },
  endpointCountFirst: { label: 'more endpoints than any other', hasTarget: false },
  serviceAdded: { label: 'service added', hasTarget: false },
  serviceDeleted: { label: 'service deleted', hasTarget: false },
} satisfies Record<Change, { label: string; hasTarget: boolean }>;

/** How much of it there is. */
interface Effort {
  /** Each with processes of its own, taken together: one process may be lucky, or not. */
  readonly runs: number;
  /**
   * V8 compiles what runs often, and a process that has loaded more has compiled more. After so many changes all sizes are
   * equally far; before, they take about twice as long, which is told apart.
   */
  readonly warmUp: number;
  /** Changes of each kind, at most. */
  readonly changes: number;
}

/** Where the kernel looks through a whole table at each commit, what V8 does is lost in it, and each change takes long. */
const EFFORTS: Readonly<Record<Bench['mode'], Effort>> = {
  nftables: { runs: 3, warmUp: 2000, changes: Number.POSITIVE_INFINITY },
  iptables: { runs: 1, warmUp: 200, changes: 150 },
  'iptables-flat': { runs: 1, warmUp: 200, changes: 150 },
  ipvs: { runs: 1, warmUp: 200, changes: 150 },
};

/** Changes of one turn. */
const TURN = 50;
/** The turns of each kind of change in one run. */
const LEAST_TURNS = 5;
/** Changes to endpoint counts that no Service has had: each makes a chain that stays. */
const FIRST_OF_THEIR_NUMBER = 20;
const FIRST = 100;

/** Milliseconds, by size and by turn; the turns of all runs follow each other. */
type Turns = Map<number, number[][]>;

export async function measureChanges(bench: Bench): Promise<Section> {
  const turns = Object.fromEntries(
    Object.keys(CHANGES).map((change) => [change, new Map(bench.options.sizes.map((size) => [size, []]))]),
  ) as unknown as Record<Change, Turns>;
  const firsts = new Map<number, number[]>(bench.options.sizes.map((size) => [size, []]));
  for (let run = 0; run < EFFORTS[bench.mode].runs; run++) await changeInTurns(bench, turns, firsts);

  const lines: Line[] = [];
  const figures: Record<number, unknown> = {};
  const references = new Map<number, Partial<ChangesResult>>();
  for (const services of bench.options.sizes) {
    references.set(services, (await bench.kubeProxy(services))?.changes ?? {});
    const kproxy = Object.fromEntries(
      Object.entries(turns).map(([change, bySize]) => [change, bySize.get(services)!.flat()]),
    );
    figures[services] = { kproxy, first: firsts.get(services), kubeProxy: references.get(services) };
  }
  for (const change of Object.keys(CHANGES) as Change[]) {
    const { label, hasTarget } = CHANGES[change];
    const target = (name: Parameters<Bench['target']>[0], services: number): number | undefined =>
      hasTarget ? bench.target(name, services) : undefined;
    for (const [services, durations] of turns[change]) {
      const summary = summarize(durations.flat());
      const first = change === 'endpointReplaced' ? median(firsts.get(services)!) : undefined;
      lines.push({
        measure: `${label}, p50 / p99 / max`,
        services,
        measured: formatSummary(summary, first),
        checks: [
          ...atMost(summary.p50, target('changeP50Ms', services), ' ms'),
          ...atMost(summary.p99, target('changeP99Ms', services), ' ms'),
        ],
        ...compared(references.get(services)?.[change], summary),
      });
    }
    const [smallest, largest] = [bench.options.sizes[0]!, bench.options.sizes.at(-1)!];
    if (smallest === largest) continue;
    const growth = compare(turns[change].get(largest)!, turns[change].get(smallest)!);
    lines.push({
      measure: `${label}, p50 against ${formatCount(smallest)}`,
      services: largest,
      measured: formatComparison(growth),
      checks: smallest === 1000 ? atMost(growth.ratio, target('changeGrowth', largest), '×') : [],
    });
  }
  return { lines, figures };
}

/** One process of each size; one after the other makes a turn, and who is first changes with the turn. */
async function changeInTurns(
  bench: Bench,
  turns: Record<Change, Turns>,
  firsts: Map<number, number[]>,
): Promise<void> {
  const { sizes } = bench.options;
  const { warmUp, changes: most } = EFFORTS[bench.mode];
  const changes = Math.min(bench.options.changes, most);
  const namespaces: Netns[] = [];
  try {
    const processes: LineProcess[] = [];
    for (const services of sizes) {
      process.stderr.write(`changes, ${formatCount(services)} services\n`);
      const netns = await Netns.create('bench');
      namespaces.push(netns);
      const argv = [...typescript('changing.ts'), JSON.stringify(bench.cluster(services))];
      const one = new LineProcess(netns, argv);
      await one.line();
      processes.push(one);
      firsts.get(services)!.push(...(await ask(one, { change: 'endpointReplaced', count: FIRST })));
      await ask(one, { change: 'endpointReplaced', count: warmUp - FIRST });
    }
    for (const change of Object.keys(CHANGES) as Change[]) {
      const total = change === 'endpointCountFirst' ? FIRST_OF_THEIR_NUMBER : changes;
      const count = Math.min(TURN, Math.ceil(total / LEAST_TURNS));
      for (let turn = 0; turn * count < total; turn++) {
        for (const k of sizes.keys()) {
          const i = (k + turn) % sizes.length;
          turns[change].get(sizes[i]!)!.push(await ask(processes[i]!, { change, count }));
        }
      }
    }
  } finally {
    await Promise.all(namespaces.map((netns) => netns.delete()));
  }
}

async function ask(one: LineProcess, request: ChangesRequest): Promise<number[]> {
  return JSON.parse(await one.ask(JSON.stringify(request))) as number[];
}

function compared(
  durations: readonly number[] | undefined,
  { p50 }: Summary,
): Pick<Line, 'reference' | 'ratio'> {
  if (durations === undefined) return {};
  const reference = summarize(durations).p50;
  return { reference: `kube-proxy's layout, nft -f: ${formatMs(reference)}`, ratio: reference / p50 };
}

function formatSummary({ p50, p99, max }: Summary, first: number | undefined): string {
  const text = [p50, p99, max].map((ms) => ms.toFixed(2)).join(' / ');
  return first === undefined ? `${text} ms` : `${text} ms (first ${FIRST}: ${first.toFixed(2)})`;
}
