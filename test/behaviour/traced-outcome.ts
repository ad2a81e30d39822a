// What the branches of a trace come to in the words of the table: places instead of addresses, shares added up.

import type { IpFamily } from '../../src/model/ip.ts';
import type { Branch, Fate, Remembered } from './branch.ts';
import type { Landing } from './judge.ts';
import type { Outcome, Reached } from './row.ts';
import { PLACES } from './world.ts';

/** The one outcome that all branches come to. @throws when they do not agree on what kind it is. */
export function outcomeOf(branches: readonly Branch<unknown>[], family: IpFamily): Outcome {
  const endpoints = new Map<string, Reached>();
  const kinds = new Set(branches.map(({ fate }) => fate.kind));
  if (kinds.size !== 1) throw new Error(`some connections are ${[...kinds].join(', others ')}`);
  for (const { fate, share } of branches) {
    if (fate.kind !== 'reaches') return { kind: fate.kind };
    const name = endpointOf(fate, family);
    const before = endpoints.get(name);
    if (before !== undefined && before.source !== fate.source) throw new Error(`${name} sees two sources`);
    endpoints.set(name, { source: fate.source, share: share + (before?.share ?? 0) });
  }
  return { kind: 'reaches', endpoints };
}

export function landingOf(fate: Fate, family: IpFamily): Landing {
  if (fate.kind !== 'reaches') return { endpoint: undefined, sees: () => false, told: fate.kind };
  const endpoint = endpointOf(fate, family);
  return {
    endpoint,
    sees: (source) => source === fate.source,
    told: `reaches ${endpoint} as ${fate.source}`,
  };
}

/**
 * What many connections come to that nobody else disturbs, told by following what each branch leaves behind: nothing
 * (each connection is balanced by chance), its endpoint (a client sticks), or the turn of the next.
 * @throws for anything else.
 */
export function characterOf<State extends Remembered>(
  first: readonly Branch<State>[],
  next: (after: Branch<State>) => readonly Branch<State>[],
  family: IpFamily,
): Outcome {
  const outcome = outcomeOf(first, family);
  if (outcome.kind !== 'reaches') return outcome;
  const { endpoints } = outcome;
  const follow = (branch: Branch<State>) => [branch, next(branch)] as const;
  const second = first.map(follow);
  const isSame = (a: Branch<State>, b: Branch<State>): boolean =>
    landingOf(a.fate, family).endpoint === landingOf(b.fate, family).endpoint;
  const isForgetful = second.every(
    ([, after]) => after.length === first.length && isSameChoice(after, first, family),
  );
  if (isForgetful) return outcome;
  if (second.every(([before, after]) => after.every((one) => isSame(before, one))))
    return { kind: 'sticks', endpoints, isAnew: false, like: undefined };
  if (first.length > 1) throw new Error('connections neither stick nor rotate, but remember');
  const turns = new Map<string, Reached & { count: number }>();
  let [branch] = first;
  let period = 0;
  const start = branch!.state.fingerprint;
  do {
    const after = next(branch!);
    if (after.length > 1) throw new Error('a turn that is by chance');
    [branch] = after;
    const { fate } = branch!;
    if (fate.kind !== 'reaches') throw new Error(`a turn that is ${fate.kind}`);
    const name = endpointOf(fate, family);
    turns.set(name, { source: fate.source, share: 0, count: (turns.get(name)?.count ?? 0) + 1 });
    period++;
  } while (branch!.state.fingerprint !== start);
  const shares = [...turns].map(
    ([name, { source, count }]) => [name, { source, share: count / period }] as const,
  );
  return { kind: 'rotates', endpoints: new Map(shares), period, meanwhile: undefined };
}

type Branches = readonly Branch<unknown>[];

function isSameChoice(a: Branches, b: Branches, family: IpFamily): boolean {
  const text = (branches: Branches): string =>
    branches.map(({ fate }) => landingOf(fate, family).told).join();
  return text(a) === text(b);
}

function endpointOf({ address, port }: Extract<Fate, { kind: 'reaches' }>, family: IpFamily): string {
  return `${placeAt(address, family)}:${port}`;
}

/** The place of an address; an address of nobody stands for itself. */
function placeAt(address: string, family: IpFamily): string {
  const found = Object.entries(PLACES).find(([, addresses]) => addresses[family] === address);
  return found?.[0] ?? address;
}
