// nftables mode's use of an nf_tables connection: commit a transaction, observe our table.
// Turns what the kernel refuses into words a human knows; decides nothing.

import { constants } from 'node:os';
import { KernelError } from '../errors.ts';
import type { ElementChange } from '../mode/nftables/element-change.ts';
import { formatChange, formatRequest } from '../mode/nftables/format.ts';
import {
  AFFINITY_SETS,
  nftFamily,
  SETS,
  type SetName,
  TABLE,
  type TablePlace,
  tablePlace,
} from '../mode/nftables/names.ts';
import {
  noElements,
  type Observed,
  type ObservedChain,
  type ObservedTable,
  observedKey,
  observedValue,
} from '../mode/nftables/observed.ts';
import { splitTransaction, type Transaction } from '../mode/nftables/transaction.ts';
import type { IpFamily } from '../model/ip.ts';
import type { NetlinkMessage } from '../netlink/message.ts';
import { type ChainFields, decodeChain } from '../netlink/nftables/chain.ts';
import type { DumpRequest } from '../netlink/nftables/dump-request.ts';
import { type Counter, decodeSetElements, type Element } from '../netlink/nftables/element.ts';
import { encodeElementQuery } from '../netlink/nftables/element-query.ts';
import type { Expression } from '../netlink/nftables/expression.ts';
import { decodeRule } from '../netlink/nftables/rule.ts';
import { decodeSet } from '../netlink/nftables/set.ts';
import { decodeTable, TABLE_FLAGS } from '../netlink/nftables/table.ts';
import { errnoName, type NetlinkTransport, requireAddon } from './netlink-socket.ts';
import { type BatchFailure, MAX_ATTEMPTS, NftConnection } from './nft-connection.ts';

/** Something in a transaction that the kernel refused; nothing of the transaction is in force. */
export interface Refusal {
  readonly error: KernelError;
  /** The element it was about, when it was about one. */
  readonly change: ElementChange | undefined;
}

export interface Commit {
  readonly refusals: readonly Refusal[];
  /** Transactions that took effect; each raised the generation by one. */
  readonly commits: number;
}

/** Send buffer to ask for: what a transaction of a cold load may take. */
const WANTED_SEND_BUFFER_BYTES = 4 * 1024 * 1024;

export class NftSession {
  readonly #connection: NftConnection;
  /** Which of our tables this is about. */
  readonly table: string;

  constructor(transport?: NetlinkTransport, table: string = TABLE) {
    this.table = table;
    this.#connection = new NftConnection(transport);
    this.#connection.transport.reserveSendBuffer(WANTED_SEND_BUFFER_BYTES);
  }

  /** Bytes of elements that may be put into one transaction. */
  get transactionBytes(): number {
    const { sendBufferBytes } = this.#connection.transport;
    return Math.min(sendBufferBytes, WANTED_SEND_BUFFER_BYTES) - BATCH_OVERHEAD_BYTES;
  }

  /**
   * Commits a transaction, in several if it cannot be sent in one. No refusals means that all of it is in force.
   * Throws KernelError when the outcome is not known (the socket failed).
   */
  async commit(transaction: Transaction): Promise<Commit> {
    if (transaction.requests.length === 0) return { refusals: [], commits: 0 };
    const failures = await this.#connection.commit(transaction.requests);
    if (failures === undefined) return this.#commitInTwo(transaction);
    return {
      refusals: failures.map((failure) => toRefusal(transaction, failure)),
      commits: failures.length === 0 ? 1 : 0,
    };
  }

  /** The ruleset's generation id: it changes with every transaction of anybody in this network namespace. */
  generation(): Promise<number> {
    return this.#connection.generation();
  }

  /** The netlink port of this session, by which the kernel knows an owner and the author of a change. */
  portId(): Promise<number> {
    return this.#connection.portId();
  }

  /** Our table in the given families, as of one generation, which is returned with it. Throws KernelError, DecodeError. */
  async observe(families: readonly IpFamily[]): Promise<{ observed: Observed; generation: number }> {
    for (let attempt = 1; ; attempt++) {
      const generation = await this.generation();
      try {
        const observed = new Map<IpFamily, ObservedTable>();
        for (const family of families) {
          const table = await this.#observeFamily(family);
          if (table !== undefined) observed.set(family, table);
        }
        if ((await this.generation()) === generation) return { observed, generation };
      } catch (error) {
        // Whatever failed may only have failed because somebody wrote meanwhile: a set listed a moment ago is gone.
        if (!(error instanceof KernelError) || (await this.generation()) === generation) throw error;
      }
      if (attempt === MAX_ATTEMPTS) {
        throw new KernelError('EINTR', 4, `observe table ${this.table}: others kept writing`);
      }
    }
  }

  /** Families in which a table of this name exists. */
  async familiesWithTable(name: string): Promise<IpFamily[]> {
    const tables = (await this.#dump({ object: 'tables' })).map(decodeTable);
    return ([4, 6] as const).filter((family) =>
      tables.some(({ table, family: of }) => table === name && of === nftFamily(family)),
    );
  }

  /** Families in which our table exists. */
  families(): Promise<IpFamily[]> {
    return this.familiesWithTable(this.table);
  }

  /** The chains of a table, without rules; none when it does not exist. Throws KernelError. */
  async chains(at: TablePlace): Promise<ChainFields[]> {
    const chains = (await this.#dump({ object: 'chains', ...at })).map(decodeChain);
    return chains.filter(({ table }) => table === at.table);
  }

  /** Another descriptor of the socket, by which the kernel knows the owner of a table. Throws KernelError. */
  duplicateDescriptor(): number {
    const { descriptor } = this.#connection.transport;
    const fd = descriptor === undefined ? -constants.errno.EBADF : requireAddon().duplicate(descriptor);
    if (fd < 0) throw new KernelError(errnoName(-fd), -fd, 'duplicate the socket of our table');
    return fd;
  }

  close(): void {
    this.#connection.close();
  }

  /**
   * What the given elements have counted so far, in their order. Throws KernelError; ENOENT when one does not exist.
   */
  async counters(
    family: IpFamily,
    set: SetName,
    keys: readonly string[],
  ): Promise<ReadonlyMap<string, Counter>> {
    const counters = new Map<string, Counter>();
    for (let start = 0; start < keys.length; start += KEYS_PER_QUERY) {
      const elements = keys.slice(start, start + KEYS_PER_QUERY).map((key) => ({ key }));
      const query = { ...tablePlace(family, this.table), set, elements };
      const messages = await this.#connection.ask(
        (seq) => encodeElementQuery(query, seq),
        `get elements of ${set}`,
      );
      for (const message of messages) {
        for (const { key, counter } of decodeSetElements(message).elements) {
          if (counter !== undefined) counters.set(key, counter);
        }
      }
    }
    return counters;
  }

  /**
   * The elements of one set as they are, in pieces between which others get their turn. Throws KernelError; ENOENT when
   * there is no such set. One that packets write to may miss what moves meanwhile.
   */
  async *elements(family: IpFamily, set: SetName): AsyncGenerator<readonly Element[]> {
    const messages = await this.#dump({ object: 'elements', ...tablePlace(family, this.table), set });
    for (const [i, message] of messages.entries()) {
      if (i % MESSAGES_PER_TURN === MESSAGES_PER_TURN - 1)
        await new Promise((resolve) => setImmediate(resolve));
      yield decodeSetElements(message).elements;
    }
  }

  async #observeFamily(family: IpFamily): Promise<ObservedTable | undefined> {
    const at = tablePlace(family, this.table);
    const isOurs = ({ table }: { table: string }): boolean => table === at.table;
    const ours = (await this.#dump({ object: 'tables', family: at.family })).map(decodeTable).find(isOurs);
    if (ours === undefined) return undefined;
    const sets = (await this.#dump({ object: 'sets', ...at })).map(decodeSet).filter(isOurs);
    const chains = await this.chains(at);
    const rules = (await this.#dump({ object: 'rules', ...at })).map(decodeRule).filter(isOurs);
    const rulesByChain = new Map<string, (readonly Expression[])[]>(chains.map(({ chain }) => [chain, []]));
    for (const { chain, expressions } of rules) rulesByChain.get(chain)?.push(expressions);
    const elements = noElements();
    const counters = new Map<SetName, Map<string, Counter>>();
    for (const name of SETS) {
      if (AFFINITY_SETS.has(name) || !sets.some(({ set }) => set === name)) continue;
      const counted = new Map<string, Counter>();
      for (const message of await this.#dump({ object: 'elements', ...at, set: name })) {
        for (const element of decodeSetElements(message).elements) {
          elements.get(name)!.set(observedKey(name, element), observedValue(name, element));
          if (element.counter !== undefined) counted.set(element.key, element.counter);
        }
      }
      if (counted.size > 0) counters.set(name, counted);
    }
    return {
      isDormant: ((ours.flags ?? 0) & TABLE_FLAGS.dormant) !== 0,
      isPersistent: ((ours.flags ?? 0) & TABLE_FLAGS.persist) !== 0,
      owner: ours.owner,
      sets: new Map(
        sets
          .filter(({ declaration }) => declaration.flags.anonymous !== true)
          .map((one) => [one.set, one.declaration]),
      ),
      chains: new Map<string, ObservedChain>(
        chains.map(({ chain, base }) => [chain, { base, rules: rulesByChain.get(chain) ?? [] }]),
      ),
      elements,
      counters,
    };
  }

  async #commitInTwo(transaction: Transaction): Promise<Commit> {
    const [first, second] = splitTransaction(transaction) ?? [];
    if (first === undefined || second === undefined) {
      throw new KernelError('EMSGSIZE', 90, formatRequest(transaction.requests[0]!));
    }
    const head = await this.commit(first);
    if (head.refusals.length > 0) return head;
    const tail = await this.commit(second);
    return { ...tail, commits: head.commits + tail.commits };
  }

  #dump(request: DumpRequest): Promise<readonly NetlinkMessage[]> {
    return this.#connection.dump(request, `list ${request.object} of table ${this.table}`);
  }
}

/** Some thousand elements, a few milliseconds. */
const MESSAGES_PER_TURN = 8;

/** Each answer is a datagram of its own: these fit the receive buffer even where it cannot be raised. */
const KEYS_PER_QUERY = 100;

/** Begin, end and the headers of a few messages. */
const BATCH_OVERHEAD_BYTES = 16 * 1024;

function toRefusal(transaction: Transaction, { origin, ...failure }: BatchFailure): Refusal {
  const changes = origin === undefined ? [] : transaction.changes[origin.requestIndex]!;
  const change = origin?.elementIndex === undefined ? undefined : changes[origin.elementIndex];
  const operation =
    change !== undefined
      ? `${change.service === undefined ? '' : `service ${change.service}: `}${formatChange(change)}`
      : origin === undefined
        ? 'commit'
        : formatRequest(transaction.requests[origin.requestIndex]!);
  return { error: new KernelError(failure.code, failure.errno, operation, failure.message), change };
}
