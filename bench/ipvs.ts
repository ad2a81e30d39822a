// ipvs mode against ipvsadm, which loads the very table that was just written into an empty kernel. All other measures are those
// of nftables mode.

import { join } from 'node:path';
import type { Netns } from '../test/support/netns/netns.ts';
import type { BenchOptions } from './arguments.ts';
import { Bench, type Section, TIMEOUT_MS } from './bench.ts';
import { loadCold } from './cold.ts';
import { atLeast, formatMs, type Line } from './report.ts';
import { median } from './statistics.ts';

/** The figure is the median. */
const RUNS = 3;

/** The measures that were asked for in that mode. */
export function ipvsBench(options: BenchOptions): Bench {
  const { ipvsMeasures: measures, ipvsSizes: sizes } = options;
  return new Bench({ ...options, measures, sizes }, 'ipvs');
}

/** Virtual servers, addresses and the gate, against a tool that loads the virtual servers alone. */
export async function measureIpvsCold(bench: Bench, folder: string): Promise<Section> {
  const lines: Line[] = [];
  const figures: Record<number, unknown> = {};
  for (const services of bench.options.sizes) {
    const path = join(folder, `ipvs-${services}`);
    const syncs = await loadCold(bench, services, { save: ['ipvsadm', '-Sn'], path });
    const restores: number[] = [];
    for (let i = 0; i < RUNS; i++) {
      restores.push(
        await bench.inNamespace('ipvsadm -R, the same table', services, (netns) => restore(netns, path)),
      );
    }
    const coldMs = median(syncs.map(({ tookMs }) => tookMs));
    const ratio = median(restores) / coldMs;
    lines.push({
      measure: 'cold load',
      services,
      measured: formatMs(coldMs),
      checks: atLeast(ratio, bench.target('coldRatio', services), '×'),
      reference: `ipvsadm -R, the same table: ${formatMs(median(restores))}`,
      ratio,
    });
    figures[services] = { syncs, restores };
  }
  return { lines, figures };
}

/** Milliseconds. */
async function restore(netns: Netns, path: string): Promise<number> {
  // bash, whose `time` has milliseconds.
  const script = 'TIMEFORMAT=%R; time ipvsadm -R <"$1"';
  const { status, stderr } = await netns.tryExec(['bash', '-c', script, 'bash', path], {
    timeoutMs: TIMEOUT_MS,
  });
  const [tookSec = Number.NaN] = stderr.trim().split('\n').slice(-1).map(Number);
  if (status !== 0 || Number.isNaN(tookSec)) {
    throw new Error(`ipvsadm -R: exit status ${status}\n${stderr.slice(0, 2000)}`);
  }
  return tookSec * 1000;
}
