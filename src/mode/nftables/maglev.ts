// Maglev's lookup table (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section
// 3.4): a hash of the client is an index into it. It is the same wherever the same backends are known, each backend gets
// its share of entries, and when one comes or goes few entries change that need not.

import { hash32 } from './hash.ts';

/** A backend by a name that is the same on every node, and its share relative to the others' (1 or more). */
export interface MaglevBackend {
  readonly name: string;
  readonly weight: number;
}

/** Primes: some 50 entries or more per backend, as far as 16 bits reach. */
const TABLE_SIZES = [
  { backends: 20, size: 1021 },
  { backends: 80, size: 4093 },
  { backends: 320, size: 16381 },
] as const;
const LARGEST_TABLE_SIZE = 65521;

/** How many entries the table of that many backends has. */
export function maglevTableSize(backendCount: number): number {
  return TABLE_SIZES.find(({ backends }) => backendCount <= backends)?.size ?? LARGEST_TABLE_SIZE;
}

/** Seeds of the two hashes that make a backend's permutation of the entries. */
const SEED = { offset: 1, skip: 2 } as const;

/** Per entry the index of its backend in `backends`, whose names are distinct and whose order does not matter. */
export function maglevTable(backends: readonly MaglevBackend[]): Uint32Array {
  const size = maglevTableSize(backends.length);
  const table = new Uint32Array(size).fill(NOBODY);
  const heaviest = backends.reduce((most, { weight }) => Math.max(most, weight), 1);
  const turns = backends
    .map(({ name, weight }, index) => ({
      index,
      name,
      weight,
      /** What it has been owed when it takes its next turn, so that turns are in proportion to weights. */
      due: heaviest,
      next: hash32(name, SEED.offset) % size,
      skip: (hash32(name, SEED.skip) % (size - 1)) + 1,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  let filled = 0;
  for (let round = 1; filled < size && turns.length > 0; round++) {
    for (const turn of turns) {
      if (round * turn.weight < turn.due) continue;
      turn.due += heaviest;
      while (table[turn.next] !== NOBODY) turn.next = (turn.next + turn.skip) % size;
      table[turn.next] = turn.index;
      filled++;
      if (filled === size) break;
    }
  }
  return table;
}

const NOBODY = 0xffffffff;
