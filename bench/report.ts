// What a run prints: a line per figure, with its target and what it is compared with.

import { formatCount } from './arguments.ts';
import type { Machine } from './machine.ts';

/** A target, and whether it was reached. */
export interface Check {
  readonly text: string;
  readonly isMet: boolean;
}

export interface Line {
  readonly measure: string;
  /** Number of Services. */
  readonly services: number;
  readonly measured: string;
  readonly checks?: readonly Check[];
  /** What the same takes otherwise, with its name. */
  readonly reference?: string;
  /** How many times longer the reference takes. */
  readonly ratio?: number | undefined;
  /** Of the machine when it was measured, over the minute before: what the bench itself does is about 1 of it. */
  readonly load?: number;
}

export function atMost(value: number, limit: number | undefined, unit: string): Check[] {
  return limit === undefined ? [] : [{ text: `≤ ${limit}${unit}`, isMet: value <= limit }];
}

export function atLeast(value: number, limit: number | undefined, unit: string): Check[] {
  return limit === undefined ? [] : [{ text: `≥ ${limit}${unit}`, isMet: value >= limit }];
}

export function formatMachine(machine: Machine): string {
  const { version, kernel, node, nft, cpus, cpuModel, memoryGb, load } = machine;
  return (
    `kproxy-ts ${version} · Linux ${kernel} · Node ${node} · nft ${nft} · ` +
    `${cpus} × ${cpuModel} · ${memoryGb} GB · load ${load.toFixed(1)}`
  );
}

/** The lines as a table for a terminal. */
export function formatLines(lines: readonly Line[]): string {
  const rows = lines.map((line) => [
    line.measure,
    formatCount(line.services),
    line.measured,
    (line.checks ?? []).map(({ text, isMet }) => `${text} ${isMet ? 'pass' : 'MISS'}`).join(', '),
    line.reference ?? '',
    line.ratio === undefined ? '' : `${formatRatio(line.ratio)}×`,
    line.load?.toFixed(1) ?? '',
  ]);
  const table = [['measure', 'services', 'measured', 'target', 'compared with', 'ratio', 'load'], ...rows];
  const widths = table[0]!.map((_, i) => Math.max(...table.map((row) => row[i]!.length)));
  return table
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `12.3 s`, `134 ms`, `1.35 ms`. */
export function formatMs(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  return `${ms >= 10 ? Math.round(ms) : ms.toFixed(2)} ms`;
}

function formatRatio(ratio: number): string {
  return ratio >= 10 ? String(Math.round(ratio)) : ratio.toFixed(1);
}
