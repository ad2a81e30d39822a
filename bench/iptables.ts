// kube-proxy's rules in iptables mode, written by iptables-nft-restore: all of them into empty tables, then what one changed
// Service asks for. The reference alone: this program has no such mode yet.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Netns } from '../test/support/netns/netns.ts';
import type { Bench, Section } from './bench.ts';
import type { ClusterSize } from './engine.ts';
import { oneService, partialSync, wholeSync } from './kube-proxy-iptables.ts';
import { podIps, sparePodIp } from './objects.ts';
import { formatMs, type Line } from './report.ts';
import { median } from './statistics.ts';

/** The first sync is quadratic in the number of chains: minutes at 10,000 Services. */
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

export async function measureIptables(bench: Bench, folder: string): Promise<Section> {
  const lines: Line[] = [];
  const figures: Record<number, unknown> = {};
  for (const services of bench.options.iptablesSizes) {
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
