// The branches of a trace in the words of the table: places instead of addresses, shares added up.

import type { IpFamily } from '../../src/model/ip.ts';
import type { Outcome, Reached } from './row.ts';
import type { Branch } from './trace-nftables.ts';
import { PLACES } from './world.ts';

/** The one outcome that all branches come to. @throws when they do not agree on what kind it is. */
export function outcomeOf(branches: readonly Branch[], family: IpFamily): Outcome {
  const endpoints = new Map<string, Reached>();
  const kinds = new Set(branches.map(({ fate }) => fate.kind));
  if (kinds.size !== 1) throw new Error(`some connections are ${[...kinds].join(', others ')}`);
  for (const { fate, share } of branches) {
    if (fate.kind !== 'reaches') return { kind: fate.kind };
    const name = `${placeAt(fate.address, family)}:${fate.port}`;
    const before = endpoints.get(name);
    if (before !== undefined && before.source !== fate.source) throw new Error(`${name} sees two sources`);
    endpoints.set(name, { source: fate.source, share: share + (before?.share ?? 0) });
  }
  return { kind: 'reaches', endpoints };
}

/** The place of an address; an address of nobody stands for itself. */
function placeAt(address: string, family: IpFamily): string {
  const found = Object.entries(PLACES).find(([, addresses]) => addresses[family] === address);
  return found?.[0] ?? address;
}
