// Numbers of backends within a side: what a client that sticks to one remembers. A backend has its number for as long as it
// lives, and gets the same one again when it comes back: numbers are hashes of `ip . port`. So what a client remembers of
// a Service that was empty for a while, or made anew, leads to the backend it meant, or nowhere.

import { hash32 } from './hash.ts';
import { packHostU32, unpackHostU32 } from './names.ts';
import { MAX_SLOTS } from './weights.ts';

/** Packed id per packed endpoint. */
export type BackendIds = ReadonlyMap<string, string>;

/** None is 0, which means none, or small enough to be a slot: a packet's priority carries both. */
const FIRST_ID = MAX_SLOTS + 1;
/** 31 bits. */
const LAST_ID = 0x7fffffff;
const ID_COUNT = LAST_ID - FIRST_ID + 1;

/** True for what `assignBackendIds` may give out. */
export function isBackendId(id: string): boolean {
  if (id.length !== 4) return false;
  const number = unpackHostU32(id);
  return number >= FIRST_ID && number <= LAST_ID;
}

/** Ids for `endpoints`. Those in `previous` keep theirs; the id of one that is gone is given to nobody. */
export function assignBackendIds(previous: BackendIds, endpoints: readonly string[]): BackendIds {
  const ids = new Map<string, string>();
  const taken = new Set(previous.values());
  for (const endpoint of endpoints) {
    const id = previous.get(endpoint) ?? freeId(endpoint, taken);
    taken.add(id);
    ids.set(endpoint, id);
  }
  return ids;
}

function freeId(endpoint: string, taken: ReadonlySet<string>): string {
  const start = hash32(endpoint, 0) % ID_COUNT;
  for (let i = 0; ; i++) {
    const id = packHostU32(FIRST_ID + ((start + i) % ID_COUNT));
    if (!taken.has(id)) return id;
  }
}
