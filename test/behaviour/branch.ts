// What may become of a packet, told by a tracer: every way that chance may take, with its share.

import type { Source } from './row.ts';

/** What becomes of the packet. */
export type Fate =
  | { readonly kind: 'reaches'; readonly address: string; readonly port: number; readonly source: Source }
  | { readonly kind: 'refused' | 'dropped' | 'passes' };

export interface Branch<State> {
  readonly fate: Fate;
  /** Its share of all connections, above 0 and at most 1. */
  readonly share: number;
  /** What the rules remember after it. */
  readonly state: State;
}

/** What packets leave behind in rules. */
export interface Remembered {
  /** Equal for states that are. */
  readonly fingerprint: string;
}

/** What the rules ask the node itself. */
export interface TracedNode {
  isLocal(address: string): boolean;
}

/** Leaves to chance which one of several happens, given their shares; returns its index. */
export type Choose = (shares: readonly number[]) => number;

/** Runs once for every way in which chance may choose. */
export function everyWay<Result>(run: (choose: Choose) => Result): { result: Result; share: number }[] {
  const ways: { result: Result; share: number }[] = [];
  // Which of the possible ones the next run chooses, one by one; the first after that.
  let script: number[] = [];
  for (;;) {
    const choices: { readonly taken: number; readonly possible: number }[] = [];
    let share = 1;
    const choose: Choose = (shares) => {
      const possible = shares.flatMap((one, i) => (one > 0 ? [i] : []));
      const taken = script[choices.length] ?? 0;
      choices.push({ taken, possible: possible.length });
      const index = possible[taken]!;
      share *= shares[index]!;
      return index;
    };
    const result = run(choose);
    ways.push({ result, share });
    while (choices.length > 0 && choices.at(-1)!.taken + 1 === choices.at(-1)!.possible) choices.pop();
    if (choices.length === 0) return ways;
    script = choices.map(({ taken }, i) => (i === choices.length - 1 ? taken + 1 : taken));
  }
}
