// Warm restart: a new process on a namespace whose table is as it shall be. It reads and compares all of it, and writes
// nothing: the kernel's generation id, which every commit of anybody raises, stays.

import type { Bench, Section } from './bench.ts';
import type { SyncResult } from './inside.ts';
import { atMost, formatMs, type Line } from './report.ts';

export async function measureRestart(bench: Bench): Promise<Section> {
  const lines: Line[] = [];
  const figures: Record<number, unknown> = {};
  for (const services of bench.options.sizes) {
    const warm = await bench.inNamespace('warm restart', services, async (netns) => {
      const task = { kind: 'sync', cluster: bench.cluster(services) } as const;
      await bench.runTask<SyncResult>(netns, task);
      return bench.runTask<SyncResult>(netns, task);
    });
    const { tookMs, writes, generations, longestTurnMs } = warm;
    lines.push({
      measure: 'warm restart, nothing changed',
      services,
      measured: `${formatMs(tookMs)}, ${writes} writes, generation +${generations}, longest turn ${formatMs(longestTurnMs)}`,
      checks: [
        ...atMost(tookMs / 1000, bench.target('restartSec', services), ' s'),
        ...atMost(longestTurnMs, bench.target('restartTurnMs', services), ' ms a turn'),
        { text: '0 writes, generation +0', isMet: writes === 0 && generations === 0 },
      ],
    });
    figures[services] = warm;
  }
  return { lines, figures };
}
