// Cold load: the store is full, the kernel is empty; until the last acknowledgement. Against nft, which loads the same
// Services in kube-proxy's layout, and the very table that was just written.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, type Section, TIMEOUT_MS } from './bench.ts';
import type { NftResult, SyncResult } from './inside.ts';
import { atLeast, atMost, formatMs, type Line } from './report.ts';
import { median } from './statistics.ts';

/** Each in a process and a namespace of its own; the figure is the median. */
const RUNS = 3;

export async function measureCold(bench: Bench, folder: string): Promise<Section> {
  const lines: Line[] = [];
  const figures: Record<number, unknown> = {};
  for (const services of bench.options.sizes) {
    const path = join(folder, `table-${services}.nft`);
    const syncs = await loadCold(bench, services, { save: ['nft', 'list', 'ruleset'], path });
    const same = await bench.inNamespace('nft -f, the same table', services, (netns) =>
      bench.runTask<NftResult>(netns, { kind: 'nft', path, timeoutMs: TIMEOUT_MS }),
    );
    const kubeProxy = await bench.kubeProxy(services);
    const coldMs = median(syncs.map(({ tookMs }) => tookMs));
    const kubeProxyRatio = kubeProxy && (kubeProxy.loadMs ?? TIMEOUT_MS) / coldMs;
    lines.push({
      measure: 'cold load',
      services,
      measured: formatMs(coldMs),
      checks: [
        ...atMost(coldMs / 1000, bench.target('coldSec', services), ' s'),
        ...atLeast(kubeProxyRatio ?? 0, kubeProxy && bench.target('coldRatio', services), '×'),
      ],
      reference: `kube-proxy's layout, nft -f: ${kubeProxy === undefined ? 'not run' : told(kubeProxy)}`,
      ratio: kubeProxyRatio,
    });
    lines.push({
      measure: '',
      services,
      measured: '',
      reference: `the same table, nft -f: ${told(same)}`,
      ratio: (same.loadMs ?? TIMEOUT_MS) / coldMs,
    });
    figures[services] = { syncs, kubeProxyLoadMs: kubeProxy?.loadMs, sameTableLoadMs: same.loadMs };
  }
  return { lines, figures };
}

/** Several times; what the `save` command then prints of the last is written to `path`. */
export async function loadCold(
  bench: Bench,
  services: number,
  { save, path }: { readonly save: readonly string[]; readonly path: string },
): Promise<readonly SyncResult[]> {
  const syncs: SyncResult[] = [];
  for (let i = 0; i < RUNS; i++) {
    await bench.inNamespace('cold load', services, async (netns) => {
      syncs.push(await bench.runTask(netns, { kind: 'sync', cluster: bench.cluster(services) }));
      if (i < RUNS - 1) return;
      writeFileSync(path, await netns.exec(save, { timeoutMs: TIMEOUT_MS }));
    });
  }
  return syncs;
}

function told({ loadMs }: NftResult): string {
  return loadMs === undefined ? `more than ${formatMs(TIMEOUT_MS)}` : formatMs(loadMs);
}
