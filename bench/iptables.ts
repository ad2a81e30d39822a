// iptables mode against iptables-nft-restore: the very rules that were just written, and those that kube-proxy writes for the
// same Services, all of them into empty tables, then what one changed Service asks for. All other measures are those of
// nftables mode.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Netns } from '../test/support/netns/netns.ts';
import type { BenchOptions } from './arguments.ts';
import { Bench, type Section } from './bench.ts';
import { loadCold } from './cold.ts';
import type { ClusterSize } from './engine.ts';
import { oneService, partialSync, wholeSync } from './kube-proxy-iptables.ts';
import { podIps, sparePodIp } from './objects.ts';
import { atLeast, atMost, formatMs, type Line } from './report.ts';
import { median } from './statistics.ts';

/** What it takes is quadratic in the number of chains: a minute at 10,000 Services. */
const TIMEOUT_SEC = 900;
/** Of the smaller ones; the figure is the median. */
const CHANGES = 5;
/** Exit status of timeout(1). */
const TIMED_OUT = 124;

/** A run of iptables-nft-restore, in milliseconds. */
interface Restore {
  readonly tookMs: number;
  /** In the program: parsing, its own tables, building messages. */
  readonly toolMs: number;
  /** In its system calls: netlink, which commits the transaction within them. */
  readonly kernelMs: number;
}

/** The measures that were asked for in that mode. */
export function iptablesBench(options: BenchOptions): Bench {
  const { iptablesMeasures: measures, iptablesSizes: sizes, iptablesConnectSizes: connectSizes } = options;
  return new Bench({ ...options, measures, sizes, connectSizes }, 'iptables');
}

/** Cold load, against the tool that loads the same rules. */
export async function measureIptablesCold(bench: Bench, folder: string): Promise<Section> {
  const lines: Line[] = [];
  const figures: Record<number, unknown> = {};
  for (const services of bench.options.sizes) {
    const path = join(folder, `iptables-${services}`);
    const syncs = await loadCold(bench, services, { save: ['iptables-nft-save'], path });
    const same =
      services > bench.options.restoreMax
        ? undefined
        : await bench.inNamespace('iptables-nft-restore, the same rules', services, (netns) =>
            restoreFile(netns, path),
          );
    const coldMs = median(syncs.map(({ tookMs }) => tookMs));
    const ratio = same && (same[0]?.tookMs ?? TIMEOUT_SEC * 1000) / coldMs;
    lines.push({
      measure: 'cold load',
      services,
      measured: formatMs(coldMs),
      checks: [
        ...atMost(coldMs / 1000, bench.target('coldSec', services), ' s'),
        ...atLeast(ratio ?? 0, same && bench.target('coldRatio', services), '×'),
      ],
      reference: `iptables-nft-restore, the same rules: ${same ? formatRestores(same) : 'not run'}`,
      ratio,
    });
    figures[services] = { syncs, sameRules: same };
  }
  return { lines, figures };
}

/** The tool alone. */
export async function measureIptablesReference(bench: Bench, folder: string): Promise<Section> {
  const lines: Line[] = [];
  const figures: Record<number, unknown> = {};
  for (const services of bench.options.sizes) {
    if (services > bench.options.restoreMax) continue;
    const size = bench.size(services);
    const result = await bench.inNamespace('iptables-nft-restore', services, (netns) =>
      restoreAll(netns, join(folder, 'iptables'), size),
    );
    figures[services] = result;
    const line = (what: string, restores: readonly Restore[]): void => {
      lines.push({ measure: `iptables-nft-restore, ${what}`, services, measured: formatRestores(restores) });
    };
    line("kube-proxy's first sync", result.first);
    if (result.first.length === 0) continue;
    line('its sync after one endpoint', result.change);
    line('the chains of one Service', result.oneService);
  }
  return { lines, figures };
}

/** None of the others when the first sync took too long. */
async function restoreAll(netns: Netns, path: string, size: ClusterSize) {
  const repeated = async (textOf: (i: number) => string): Promise<Restore[]> => {
    const restores: Restore[] = [];
    for (let i = 0; i < CHANGES; i++) restores.push(...(await restore(netns, path, textOf(i))));
    return restores;
  };
  const ips = (service: number, spare: number): string[] =>
    podIps(service, size.endpoints).with(0, sparePodIp(spare));
  const first = await restore(netns, path, wholeSync(size));
  if (first.length === 0) return { first, change: [], oneService: [] };
  return {
    first,
    change: await repeated((i) => partialSync(size, i, ips(i, i))),
    oneService: await repeated((i) => oneService(size, i, ips(i, CHANGES + i))),
  };
}

/** Empty when it took too long. */
async function restore(netns: Netns, path: string, text: string): Promise<Restore[]> {
  writeFileSync(path, text);
  return restoreFile(netns, path);
}

/** Empty when it took too long. */
async function restoreFile(netns: Netns, path: string): Promise<Restore[]> {
  // bash, whose `time` has milliseconds: wall clock, user, system.
  const script = 'TIMEFORMAT="%R %U %S"; time timeout "$1" iptables-nft-restore --noflush --counters <"$2"';
  const argv = ['bash', '-c', script, 'bash', String(TIMEOUT_SEC), path];
  const { status, stderr } = await netns.tryExec(argv, { timeoutMs: (TIMEOUT_SEC + 10) * 1000 });
  if (status === TIMED_OUT) return [];
  if (status !== 0) throw new Error(`iptables-nft-restore: exit status ${status}\n${stderr.slice(0, 2000)}`);
  const [tookMs = 0, toolMs = 0, kernelMs = 0] = stderr
    .trim()
    .split('\n')
    .at(-1)!
    .split(' ')
    .map((seconds) => Number(seconds) * 1000);
  return [{ tookMs, toolMs, kernelMs }];
}

function formatRestores(restores: readonly Restore[]): string {
  if (restores.length === 0) return `more than ${formatMs(TIMEOUT_SEC * 1000)}`;
  const [took, tool, kernel] = (['tookMs', 'toolMs', 'kernelMs'] as const).map((part) =>
    formatMs(median(restores.map((one) => one[part]))),
  );
  return `${took} (tool ${tool}, kernel ${kernel})`;
}
