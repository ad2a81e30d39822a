// The difference of two sequences as edits one after the other: what stays keeps its place, so that in the kernel it keeps
// its handle and its counters.

/** `index` counts what is there when the edit's turn comes; an inserted item is at `index` then. */
export type Edit<T> =
  | { readonly kind: 'delete'; readonly index: number }
  | { readonly kind: 'insert'; readonly index: number; readonly item: T };

/**
 * Turns `before` into `after`. Items are equal when their texts are; an item that occurs twice is two items. Texts are
 * only asked for between the first and the last difference; `isSame` may say at less cost that two items are equal.
 */
export function editsBetween<T>(
  before: readonly T[],
  after: readonly T[],
  textOf: (item: T) => string,
  isSame: (a: T, b: T) => boolean,
): Edit<T>[] {
  let head = 0;
  const shorter = Math.min(before.length, after.length);
  while (head < shorter && isSame(before[head]!, after[head]!)) head++;
  let tail = 0;
  while (tail < shorter - head && isSame(before.at(-1 - tail)!, after.at(-1 - tail)!)) tail++;
  const from = before.slice(head, before.length - tail);
  const to = after.slice(head, after.length - tail);

  const edits: Edit<T>[] = [];
  let [index, past, next] = [head, 0, 0];
  const end: Pair = { before: from.length, after: to.length };
  for (const kept of [...longestKept(from, to, textOf), end]) {
    for (; past < kept.before; past++) edits.push({ kind: 'delete', index });
    for (; next < kept.after; next++) edits.push({ kind: 'insert', index: index++, item: to[next]! });
    [past, next, index] = [kept.before + 1, kept.after + 1, index + 1];
  }
  return edits;
}

/** An item that stays: where it was, and where it will be. */
interface Pair {
  readonly before: number;
  readonly after: number;
}

/** The most items that can stay where they are, relative to one another: a longest increasing subsequence. */
function longestKept<T>(from: readonly T[], to: readonly T[], textOf: (item: T) => string): Pair[] {
  if (from.length === 0 || to.length === 0) return [];
  const places = new Map<string, number[]>();
  for (let i = from.length - 1; i >= 0; i--) {
    const text = textOf(from[i]!);
    const known = places.get(text);
    if (known === undefined) places.set(text, [i]);
    else known.push(i);
  }
  const pairs: Pair[] = [];
  for (const [after, item] of to.entries()) {
    const before = places.get(textOf(item))?.pop();
    if (before !== undefined) pairs.push({ before, after });
  }
  // Patience sorting: `ends[n]` is the pair with the smallest `before` that ends an increasing run of n + 1.
  const ends: number[] = [];
  const previous = pairs.map((pair, i) => {
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pairs[ends[middle]!]!.before < pair.before) low = middle + 1;
      else high = middle;
    }
    ends[low] = i;
    return low === 0 ? undefined : ends[low - 1]!;
  });
  const kept: Pair[] = [];
  for (let i = ends.at(-1); i !== undefined; i = previous[i]) kept.push(pairs[i]!);
  return kept.reverse();
}
