// The real daemon: from the start of the process until it says that all rules are in force, and its memory after that.
// Once per kind of source.

import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Daemon } from '../test/support/netns/daemon.ts';
import type { Netns } from '../test/support/netns/netns.ts';
import { type Bench, type Section, TIMEOUT_MS, typescript } from './bench.ts';
import { type ManifestFormat, writeManifests } from './manifests.ts';
import { NODE_NAME, POD_CIDR } from './objects.ts';
import { atMost, formatMs, type Line } from './report.ts';

const SOURCES = { json: 'JSON manifests', yaml: 'YAML manifests', api: 'API server' } as const;
type SourceKind = keyof typeof SOURCES;

/** YAML is for people: nobody keeps more of it than this. */
const YAML_MAX = 10_000;
/** After this the memory of an idle daemon no longer moves. */
const SETTLE_MS = 4000;

interface DaemonResult {
  readonly startMs: number;
  /** In force → settled; undefined when memory is not measured. */
  readonly memory: { readonly rssMb: number; readonly peakMb: number } | undefined;
}

/** Both measures come from the same processes. */
export async function measureDaemon(bench: Bench, folder: string): Promise<Section> {
  const starts: Line[] = [];
  const memories: Line[] = [];
  const figures: Record<string, Record<number, DaemonResult>> = {};
  for (const source of Object.keys(SOURCES) as SourceKind[]) {
    figures[source] = {};
    for (const services of bench.options.sizes) {
      if (source === 'yaml' && services > YAML_MAX) continue;
      const result = await bench.inNamespace(`daemon, ${SOURCES[source]}`, services, (netns) =>
        source === 'api'
          ? onApiServer(bench, netns, services)
          : onManifests(bench, netns, services, source, join(folder, `manifests-${services}-${source}`)),
      );
      figures[source][services] = result;
      starts.push(startLine(bench, services, source, result));
      if (result.memory !== undefined) memories.push(memoryLine(bench, services, source, result.memory));
    }
  }
  const lines = bench.options.measures.has('start') ? [...starts, ...memories] : memories;
  return { lines, figures };
}

async function onManifests(
  bench: Bench,
  netns: Netns,
  services: number,
  format: ManifestFormat,
  folder: string,
): Promise<DaemonResult> {
  writeManifests(folder, format, bench.size(services));
  try {
    return await runDaemon(bench, netns, `--source=${folder}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function onApiServer(bench: Bench, netns: Netns, services: number): Promise<DaemonResult> {
  const server = netns.spawn([...typescript('api-server.ts'), JSON.stringify(bench.size(services))]);
  server.stderr.pipe(process.stderr);
  for await (const url of createInterface({ input: server.stdout })) {
    return await runDaemon(bench, netns, `--master=${url}`);
  }
  throw new Error('the API server ended before it could be asked');
}

async function runDaemon(bench: Bench, netns: Netns, sourceFlag: string): Promise<DaemonResult> {
  const startedMs = performance.now();
  const daemon = Daemon.start(netns, [
    sourceFlag,
    `--hostname-override=${NODE_NAME}`,
    `--cluster-cidr=${POD_CIDR}`,
    `--proxy-mode=${bench.mode}`,
    '--logging-format=json',
  ]);
  await daemon.rulesInForce(TIMEOUT_MS);
  const startMs = performance.now() - startedMs;
  if (!bench.options.measures.has('memory')) return { startMs, memory: undefined };
  await sleep(SETTLE_MS);
  const status = readFileSync(`/proc/${daemon.pid}/status`, 'utf8');
  const megabytes = (field: string): number =>
    (Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024) / 1e6;
  return { startMs, memory: { rssMb: megabytes('VmRSS'), peakMb: megabytes('VmHWM') } };
}

function startLine(bench: Bench, services: number, source: SourceKind, { startMs }: DaemonResult): Line {
  return {
    measure: `start to rules in force, ${SOURCES[source]}`,
    services,
    measured: formatMs(startMs),
    checks: atMost(startMs / 1000, bench.target('startSec', services), ' s'),
  };
}

function memoryLine(
  bench: Bench,
  services: number,
  source: SourceKind,
  { rssMb, peakMb }: NonNullable<DaemonResult['memory']>,
): Line {
  return {
    measure: `memory settled / peak, ${SOURCES[source]}`,
    services,
    measured: `${Math.round(rssMb)} / ${Math.round(peakMb)} MB`,
    checks: atMost(rssMb, bench.target('rssMb', services), ' MB'),
  };
}
