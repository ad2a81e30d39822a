// ipvs mode against ipvsadm, which loads the very table that was just written into an empty kernel. All other measures are those
// of nftables mode.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Netns } from '../test/support/netns/netns.ts';
import type { BenchOptions } from './arguments.ts';
import { Bench, type Section, TIMEOUT_MS } from './bench.ts';
import { loadCold } from './cold.ts';
import type { IpvsTableResult } from './inside.ts';
import { atLeast, formatMs, type Line } from './report.ts';
import { median } from './statistics.ts';

/** The figure is the median. */
const RUNS = 3;

/** The measures that were asked for in that mode. */
export function ipvsBench(options: BenchOptions): Bench {
  const { ipvsMeasures: measures, ipvsSizes: sizes } = options;
  return new Bench({ ...options, measures, sizes }, 'ipvs');
}

/** All of the mode, and the virtual servers alone, which is what the tool loads. */
export async function measureIpvsCold(bench: Bench, folder: string): Promise<Section> {
  const lines: Line[] = [];
  const figures: Record<number, unknown> = {};
  for (const services of bench.options.sizes) {
    const path = join(folder, `ipvs-${services}`);
    const syncs = await loadCold(bench, services, { save: ['ipvsadm', '-Sn'], path });
    const tables: number[] = [];
    const restores: number[] = [];
    for (let i = 0; i < RUNS; i++) {
      await bench.inNamespace('the virtual servers alone', services, async (netns) => {
        const task = { kind: 'ipvs-table', ...bench.size(services) } as const;
        tables.push((await bench.runTask<IpvsTableResult>(netns, task)).loadMs);
      });
      await bench.inNamespace('ipvsadm -R, the same table', services, async (netns) => {
        restores.push(await restore(netns, path));
      });
    }
    const coldMs = median(syncs.map(({ tookMs }) => tookMs));
    const [tableMs, restoreMs] = [median(tables), median(restores)];
    const reference = `ipvsadm -R, the same table: ${formatMs(restoreMs)}`;
    lines.push({
      measure: 'cold load',
      services,
      measured: formatMs(coldMs),
      reference: `${reference}, without addresses and the gate`,
      ratio: restoreMs / coldMs,
    });
    lines.push({
      measure: 'the virtual servers alone',
      services,
      measured: formatMs(tableMs),
      checks: atLeast(restoreMs / tableMs, bench.target('coldRatio', services), '×'),
      reference,
      ratio: restoreMs / tableMs,
    });
    figures[services] = { syncs, tables, restores };
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
  // It goes on after what it cannot do.
  const [wanted, restored] = [readFileSync(path, 'utf8'), await netns.exec(['ipvsadm', '-Sn'])];
  if (restored !== wanted) throw new Error('ipvsadm -R has not restored the table');
  return tookSec * 1000;
}
