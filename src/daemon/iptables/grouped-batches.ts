// Requests put into transactions: as many as fit, in their order, cut only between groups that make sense alone. A group that
// is too large for a transaction of its own is cut all the same: that is where the send buffer cannot be raised.

import type { OwnedRequest } from '../../mode/iptables/nft-requests.ts';
import type { Applied, IptablesRefusal } from './tables.ts';

type Group = readonly OwnedRequest[];

/** About what a message takes, in bytes: most rules take less. A batch that turns out too large is cut in two. */
const RULE_BYTES = 512;
const OTHER_BYTES = 128;

/** Refusals; none when all of it is in force; undefined when it is too large to be sent. */
export type CommitRequests = (
  requests: readonly OwnedRequest[],
) => Promise<readonly IptablesRefusal[] | undefined>;

export class GroupedBatches {
  readonly #maxBytes: number;
  readonly #commit: CommitRequests;
  readonly #refusals: IptablesRefusal[] = [];
  #waiting: Group[] = [];
  #waitingBytes = 0;
  #writes = 0;
  #transactions = 0;

  constructor(maxBytes: number, commit: CommitRequests) {
    this.#maxBytes = maxBytes;
    this.#commit = commit;
  }

  /** What has come of it so far. */
  get tally(): Applied {
    return { refusals: this.#refusals, writes: this.#writes, transactions: this.#transactions };
  }

  /** False when the kernel refused something: nothing is to follow. */
  async add(group: Group): Promise<boolean> {
    const bytes = bytesOf(group);
    if (this.#waitingBytes + bytes > this.#maxBytes && !(await this.finish())) return false;
    this.#waiting.push(group);
    this.#waitingBytes += bytes;
    return true;
  }

  async addAll(groups: Iterable<Group>): Promise<boolean> {
    for (const group of groups) if (!(await this.add(group))) return false;
    return true;
  }

  /** In one transaction if at all possible. */
  async addTogether(groups: readonly Group[]): Promise<boolean> {
    const bytes = groups.reduce((sum, group) => sum + bytesOf(group), 0);
    if (this.#waitingBytes + bytes > this.#maxBytes && !(await this.finish())) return false;
    return this.addAll(groups);
  }

  /** Commits what waits. */
  async finish(): Promise<boolean> {
    const groups = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    return groups.length === 0 || this.#send(groups);
  }

  async #send(groups: readonly Group[]): Promise<boolean> {
    const requests = groups.length === 1 ? groups[0]! : groups.flat();
    const refusals = await this.#commit(requests);
    if (refusals === undefined) {
      const [first, second] = inTwo(groups.length > 1 ? groups : requests.map((request) => [request]));
      return (await this.#send(first)) && this.#send(second);
    }
    for (const refusal of refusals) this.#refusals.push(refusal);
    if (refusals.length > 0) return false;
    this.#transactions++;
    // A table that is not there is none of what was asked for.
    this.#writes += requests.filter(({ request }) => request.op !== 'addTable').length;
    return true;
  }
}

function inTwo<T>(list: readonly T[]): [first: readonly T[], second: readonly T[]] {
  const half = list.length >> 1;
  return [list.slice(0, half), list.slice(half)];
}

function bytesOf(group: Group): number {
  return group.reduce((sum, { request }) => sum + (request.op === 'addRule' ? RULE_BYTES : OTHER_BYTES), 0);
}
