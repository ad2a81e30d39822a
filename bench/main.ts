// `npm run bench`: measures the compiled program on this machine, each figure in a network namespace of its own.
// Status 0 when everything was measured, whether targets were reached or not; 2 for a bad option.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BenchOptions, HELP, type Measure, parseBenchOptions } from './arguments.ts';
import { Bench, type Section } from './bench.ts';
import { measureChanges } from './changes.ts';
import { measureCold } from './cold.ts';
import { measureConnect } from './connect.ts';
import { measureDaemon } from './daemon.ts';
import type { Mode } from './engine.ts';
import { iptablesBench, measureIptablesCold, measureIptablesReference } from './iptables.ts';
import { ipvsBench, measureIpvsCold } from './ipvs.ts';
import { describeMachine } from './machine.ts';
import { formatLines, formatMachine } from './report.ts';
import { measureRestart } from './restart.ts';
import { measureUserspace } from './userspace.ts';

function readOptions(): BenchOptions | number {
  try {
    const options = parseBenchOptions(process.argv.slice(2));
    if (options !== 'help') return options;
    console.log(HELP);
    return 0;
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
}

const COLD: Readonly<Record<Mode, typeof measureCold>> = {
  nftables: measureCold,
  iptables: measureIptablesCold,
  'iptables-flat': measureIptablesCold,
  ipvs: measureIpvsCold,
};

/** By name of the measure. */
async function measureMode(bench: Bench, folder: string): Promise<Record<string, Section>> {
  const sections: Record<string, Section> = {};
  const run = async (
    name: string,
    measures: readonly Measure[],
    measureAll: (bench: Bench, folder: string) => Promise<Section>,
  ): Promise<void> => {
    if (!measures.some((one) => bench.options.measures.has(one))) return;
    const { lines, figures } = await measureAll(bench, folder);
    const load = loadavg()[0]!;
    sections[name] = { lines: lines.map((line) => ({ load, ...line })), figures };
  };
  await run('cold', ['cold'], COLD[bench.mode]);
  await run('daemon', ['start', 'memory'], measureDaemon);
  await run('change', ['change'], measureChanges);
  await run('restart', ['restart'], measureRestart);
  await run('connect', ['connect'], measureConnect);
  await run('reference', ['reference'], measureIptablesReference);
  return sections;
}

async function measure(options: BenchOptions, folder: string): Promise<void> {
  const machine = describeMachine();
  const startMs = performance.now();
  const sections = await measureMode(new Bench(options), folder);
  for (const bench of [iptablesBench(options), ipvsBench(options)]) {
    for (const [name, { lines, figures }] of Object.entries(await measureMode(bench, folder))) {
      const named = lines.map((line) => ({ ...line, measure: `${bench.mode}: ${line.measure}` }));
      sections[`${bench.mode}-${name}`] = { lines: named, figures };
    }
  }
  if (options.isUserspaceMeasured) sections['userspace'] = await measureUserspace(new Bench(options), folder);
  const lines = Object.values(sections).flatMap((section) => section.lines);
  const tookSec = Math.round((performance.now() - startMs) / 1000);
  console.log(`\n${formatMachine(machine)}`);
  console.log(`${options.endpoints} endpoints per Service; ${tookSec} s\n\n${formatLines(lines)}`);
  if (options.json === undefined) return;
  const figures = Object.fromEntries(Object.entries(sections).map(([name, one]) => [name, one.figures]));
  const { endpoints, sizes } = options;
  writeFileSync(options.json, `${JSON.stringify({ machine, endpoints, sizes, lines, figures })}\n`);
}

async function main(): Promise<number> {
  const options = readOptions();
  if (typeof options === 'number') return options;
  const folder = mkdtempSync(join(tmpdir(), 'kproxy-bench-'));
  // On a signal: files and namespaces go with the process, which must end by `exit` for that.
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.on(signal, () => process.exit(status));
  }
  await measure(options, folder);
  return 0;
}

process.exitCode = await main();
