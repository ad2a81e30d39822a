// Whose the tables are: ours where the kernel can own them (Linux 5.12; `persist` 6.9), else everybody's, and then watched.

import { KernelError } from '../errors.ts';
import { nftFamily } from '../mode/nftables/names.ts';
import type { Observed } from '../mode/nftables/observed.ts';
import { adoptTables, ownershipOf, probeOwnership } from '../mode/nftables/ownership.ts';
import { structureTransaction, type Transaction } from '../mode/nftables/transaction.ts';
import { isTransient, type Progress } from './attempt.ts';
import type { NftSession, Refusal } from './nft-session.ts';

export interface TableOwnershipOptions {
  readonly session: Pick<NftSession, 'portId' | 'table'>;
  /** From TABLE_FLAGS: of a table that is owned. */
  readonly ownedFlags: number;
  readonly commit: (transaction: Transaction, progress: Progress) => Promise<readonly Refusal[]>;
}

export class TableOwnership {
  readonly #options: TableOwnershipOptions;
  /** undefined until it is known. */
  #canOwn: boolean | undefined;

  constructor(options: TableOwnershipOptions) {
    this.#options = options;
  }

  /** From TABLE_FLAGS: of tables that are to be made. */
  get flags(): number {
    return this.#canOwn === true ? this.#options.ownedFlags : 0;
  }

  /**
   * Makes the tables that are there ours where that can be, and finds out whether new ones can be. Returns whether all will be.
   * Throws KernelError when somebody else owns one.
   */
  async claim(observed: Observed, progress: Progress): Promise<boolean> {
    const { session, ownedFlags, commit } = this.#options;
    const { orphans, strangers, ownerless } = ownershipOf(observed, await session.portId(), ownedFlags);
    const [stranger] = strangers;
    if (stranger !== undefined) {
      const table = `table ${nftFamily(stranger.family)} ${session.table}`;
      const by = `owned by another socket (netlink port ${stranger.owner})`;
      throw new KernelError('EPERM', 1, `write ${table}`, by);
    }
    if (orphans.length > 0) {
      const refusals = await commit(structureTransaction(adoptTables(orphans, session.table)), progress);
      if (refusals[0] !== undefined) throw refusals[0].error;
    }
    this.#canOwn ??= orphans.length > 0 || (await this.#probe(progress));
    return this.#canOwn && ownerless.length === 0;
  }

  async #probe(progress: Progress): Promise<boolean> {
    const { ownedFlags, commit } = this.#options;
    const refusals = await commit(structureTransaction(probeOwnership(ownedFlags)), progress);
    const unexpected = refusals.find(({ error }) => isTransient(error));
    if (unexpected !== undefined) throw unexpected.error;
    return refusals.length === 0;
  }
}
