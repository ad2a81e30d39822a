// What there is of things that must not pile up: objects of the kernel, memory and descriptors of a process.

import { readdirSync, readFileSync } from 'node:fs';
import type { Netns } from '../support/netns/netns.ts';

/** What a namespace's tables hold: how many of each kind of object, chain by chain and set by set. */
export async function census(netns: Netns): Promise<ReadonlyMap<string, number>> {
  const listing = await netns.exec(['nft', '-j', 'list', 'ruleset'], { timeoutMs: 60_000 });
  const { nftables } = JSON.parse(listing) as { nftables: Record<string, NftObject>[] };
  const counts = new Map<string, number>();
  const count = (what: string, number: number) => counts.set(what, (counts.get(what) ?? 0) + number);
  for (const [kind, object] of nftables.flatMap((one) => Object.entries(one))) {
    const where = `${object.family} ${object.table ?? object.name}`;
    if (kind === 'metainfo') continue;
    if (kind === 'rule') count(`rules of ${where}`, 1);
    else count(`${kind}s of ${where}`, 1);
    // Clients that stick come and go with the traffic.
    if (object.elem !== undefined && !(object.flags ?? []).includes('timeout')) {
      count(`elements of ${where} ${object.name}`, object.elem.length);
    }
  }
  return counts;
}

interface NftObject {
  readonly family?: string;
  readonly table?: string;
  readonly name?: string;
  readonly flags?: readonly string[];
  readonly elem?: readonly unknown[];
}

/** Of a process so far, or now. */
export interface Usage {
  readonly rssMb: number;
  readonly descriptors: number;
  /** User and system time together. */
  readonly cpuSec: number;
}

/** What a process holds and has used. @throws Error when there is no such process. */
export function usageOf(pid: number): Usage {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  // proc_pid_stat(5): after the name in parentheses, utime and stime are the 12th and 13th field, in ticks of 10 ms.
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return {
    rssMb: (Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024) / 1e6,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    cpuSec: (Number(stat[11]) + Number(stat[12])) / 100,
  };
}

/**
 * How much a measure grew while a run was steady: from the median of the first third of the values to that of the last, once
 * a quarter of them has passed in which caches fill and code is compiled. 0 for fewer than 12 values.
 */
export function growth(values: readonly number[]): number {
  const steady = values.slice(Math.floor(values.length / 4));
  const third = Math.floor(steady.length / 3);
  if (third < 3) return 0;
  return median(steady.slice(-third)) - median(steady.slice(0, third));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
