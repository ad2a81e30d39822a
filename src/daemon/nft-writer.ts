// Writes what was planned through one netlink session, in transactions of bounded size, and keeps count of the ruleset's generation:
// whatever it has grown by besides was somebody else.

import type { ElementChange } from '../mode/nftables/element-change.ts';
import {
  chunkChanges,
  countWrites,
  elementTransaction,
  joinTransactions,
  structureTransaction,
  type Transaction,
} from '../mode/nftables/transaction.ts';
import type { NftRequest } from '../netlink/nftables/batch.ts';
import type { Progress } from './attempt.ts';
import type { NftSession, Refusal } from './nft-session.ts';

/** All throw KernelError. */
export class NftWriter {
  readonly #session: NftSession;
  /** The generation that the last observation saw, plus one for every commit of ours since. */
  #generation = 0;

  constructor(session: NftSession) {
    this.#session = session;
  }

  /** All that was written up to this generation is known. */
  observed(generation: number): void {
    this.#generation = generation;
  }

  /** Nobody else has written since. */
  async isAlone(): Promise<boolean> {
    return (await this.#session.generation()) === this.#generation;
  }

  /** Structure first, elements after it. Stops at the first refusal. */
  async commitAll(
    structure: readonly NftRequest[],
    elements: Iterable<ElementChange>,
    progress: Progress,
  ): Promise<readonly Refusal[]> {
    let head = structureTransaction(structure);
    for (const chunk of chunkChanges(elements, this.#session.transactionBytes)) {
      const refusals = await this.#commit(
        joinTransactions(head, elementTransaction(chunk, this.#session.table)),
        progress,
      );
      if (refusals.length > 0) return refusals;
      head = structureTransaction([]);
    }
    return this.#commit(head, progress);
  }

  /** Of what is no rule, or is counted otherwise. */
  async commitUncounted(transaction: Transaction, progress: Progress): Promise<readonly Refusal[]> {
    const { refusals, commits } = await this.#session.commit(transaction);
    this.#generation += commits;
    progress.transactions += commits;
    return refusals;
  }

  async #commit(transaction: Transaction, progress: Progress): Promise<readonly Refusal[]> {
    const refusals = await this.commitUncounted(transaction, progress);
    if (refusals.length === 0) progress.writes += countWrites(transaction);
    return refusals;
  }
}
