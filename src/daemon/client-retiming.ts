// Gives the clients of sides of frontends that had session affinity for another time what is left of their new one: the one thing
// that is written into maps which belong to the packets.

import { KernelError } from '../errors.ts';
import { retimed } from '../mode/nftables/affinity.ts';
import type { RetimedSide } from '../mode/nftables/desired.ts';
import { type SetName, tablePlace } from '../mode/nftables/names.ts';
import { affinitySet } from '../mode/nftables/planned-frontend.ts';
import { structureTransaction, type Transaction } from '../mode/nftables/transaction.ts';
import type { IpFamily } from '../model/ip.ts';
import type { NftRequest } from '../netlink/nftables/batch.ts';
import type { Element } from '../netlink/nftables/element.ts';
import type { Progress } from './attempt.ts';
import type { NftSession, Refusal } from './nft-session.ts';

/** Readings of a map in which packets move entries all the time, before it is left for later. */
const MAX_READINGS = 8;

/** A refused commit is tried again in halves: not too many at once. */
const ENTRIES_PER_COMMIT = 1000;

/** An entry that expired, was deleted or made anew by the packet path. */
const MOVED = new Set(['ENOENT', 'EEXIST', 'EBUSY']);

/** An entry of an affinity map that is to be replaced, or deleted. */
interface EntryChange {
  readonly key: string;
  readonly after: Element | undefined;
}

export interface ClientRetimingOptions {
  readonly session: NftSession;
  readonly families: readonly IpFamily[];
  /** Commits on behalf of the backend, which counts transactions. */
  readonly commit: (transaction: Transaction, progress: Progress) => Promise<readonly Refusal[]>;
}

export class ClientRetiming {
  readonly #session: NftSession;
  readonly #families: readonly IpFamily[];
  readonly #commit: ClientRetimingOptions['commit'];
  /** Sides whose clients are yet to get their new time, by place; and since when packets may have passed the new rules. */
  readonly #sides = new Map<string, { readonly side: RetimedSide; readonly sinceMs: number }>();

  constructor({ session, families, commit }: ClientRetimingOptions) {
    this.#session = session;
    this.#families = families;
    this.#commit = commit;
  }

  note(sides: readonly RetimedSide[]): void {
    for (const side of sides) {
      if (!this.#families.includes(side.family)) continue;
      this.#sides.set(placeOf(side.family, affinitySet(side), side.key), {
        side,
        sinceMs: performance.now(),
      });
    }
  }

  /**
   * Reads each map anew until nothing is left to do, since a reading may miss what packets move meanwhile. A client that
   * comes back between the reading of its entry and the commit counts by its earlier visit. Rejects with KernelError.
   */
  async run(progress: Progress): Promise<void> {
    for (let reading = 1; this.#sides.size > 0; reading++) {
      for (const { family, set } of this.#maps()) {
        const entries = await this.#changes(family, set);
        const isDone = entries.length === 0;
        for (let start = 0; start < entries.length; start += ENTRIES_PER_COMMIT) {
          await this.#replace(family, set, entries.slice(start, start + ENTRIES_PER_COMMIT), progress);
        }
        if (isDone) this.#forget(family, set);
      }
      if (reading === MAX_READINGS && this.#sides.size > 0) {
        const operation = `session affinity: new time for clients of ${this.#sides.size} frontends`;
        progress.failures.push({ error: new KernelError('EAGAIN', 11, operation), services: [] });
        return;
      }
    }
  }

  #maps(): { family: IpFamily; set: SetName }[] {
    const maps = [...this.#sides.values()].map(({ side }) => ({
      family: side.family,
      set: affinitySet(side),
    }));
    return [...new Map(maps.map((map) => [placeOf(map.family, map.set, ''), map])).values()];
  }

  #forget(family: IpFamily, set: SetName): void {
    for (const [place, { side }] of this.#sides) {
      if (side.family === family && affinitySet(side) === set) this.#sides.delete(place);
    }
  }

  async #changes(family: IpFamily, set: SetName): Promise<EntryChange[]> {
    const changes: EntryChange[] = [];
    const addressLength = family === 4 ? 4 : 16;
    for await (const entries of this.#session.elements(family, set)) {
      const nowMs = performance.now();
      for (const entry of entries) {
        // Behind the client's address the key is the frontend's.
        const noted = this.#sides.get(placeOf(family, set, entry.key.slice(addressLength)));
        if (noted === undefined) continue;
        const { side, sinceMs } = noted;
        const after = retimed(entry, { stickyMs: side.stickySeconds * 1000, elapsedMs: nowMs - sinceMs });
        if (after !== entry) changes.push({ key: entry.key, after });
      }
    }
    return changes;
  }

  /** Entries may go or change under our hands, and the kernel then refuses all: in halves, all the others get through. */
  async #replace(
    family: IpFamily,
    set: SetName,
    changes: readonly EntryChange[],
    progress: Progress,
  ): Promise<void> {
    const at = { ...tablePlace(family, this.#session.table), set };
    const added = changes.flatMap(({ after }) => (after === undefined ? [] : [after]));
    const requests: NftRequest[] = [
      { op: 'deleteElements', ...at, elements: changes.map(({ key }) => ({ key })) },
      { op: 'addElements', ...at, elements: added },
    ];
    const refusals = await this.#commit(structureTransaction(requests), progress);
    if (refusals.length === 0) {
      progress.writes += changes.length;
      return;
    }
    const unexpected = refusals.find(({ error }) => !MOVED.has(error.code));
    if (unexpected !== undefined) throw unexpected.error;
    const half = changes.length >> 1;
    if (half === 0) return;
    await this.#replace(family, set, changes.slice(0, half), progress);
    await this.#replace(family, set, changes.slice(half), progress);
  }
}

/** Entries of an affinity map, by the key of their frontend. */
function placeOf(family: IpFamily, set: SetName, key: string): string {
  return `${family}${set} ${key}`;
}
