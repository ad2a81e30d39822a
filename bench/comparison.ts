// How much longer the same takes on one side than on the other, when both were measured in turns.

import { median, summarize } from './statistics.ts';

/** A ratio is told with its smallest and largest value among so many parts of the run. */
const PARTS = 5;

export interface Comparison {
  readonly ratio: number;
  /** In the parts of the run. */
  readonly least: number;
  readonly most: number;
}

/** Medians unless told otherwise, of the turns of the same number: what slows both down cancels out. At least one turn. */
export function compare(
  turns: readonly number[][],
  otherTurns: readonly number[][],
  statistic: (durations: readonly number[]) => number = median,
): Comparison {
  const ratioOf = (from: number, to: number): number =>
    statistic(turns.slice(from, to).flat()) / statistic(otherTurns.slice(from, to).flat());
  const count = Math.min(PARTS, turns.length);
  const start = (part: number): number => Math.floor((part * turns.length) / count);
  const parts = Array.from({ length: count }, (_, part) => ratioOf(start(part), start(part + 1)));
  return { ratio: ratioOf(0, turns.length), least: Math.min(...parts), most: Math.max(...parts) };
}

/** The value that one in a hundred exceeds, for `compare`. */
export function p99(durations: readonly number[]): number {
  return summarize(durations).p99;
}

/** `1.05× (1.02 to 1.07)`, with what it is compared to in between. */
export function formatComparison({ ratio, least, most }: Comparison, other = ''): string {
  const [text, from, to] = [ratio, least, most].map((value) => value.toFixed(2));
  return `${text}×${other} (${from} to ${to})`;
}
