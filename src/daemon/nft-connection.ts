// One netlink socket used for nf_tables: dumps, the generation, batches. Decides nothing and knows nobody's tables.

import { KernelError } from '../errors.ts';
import { collectDump, collectDumps, DumpReader } from '../netlink/dump.ts';
import { decodeFailures, type NetlinkFailure, type NetlinkMessage } from '../netlink/message.ts';
import { encodeBatch, type NftRequest, type Origin, originOf } from '../netlink/nftables/batch.ts';
import { type DumpRequest, encodeDumpRequest } from '../netlink/nftables/dump-request.ts';
import { decodeGeneration } from '../netlink/nftables/generation.ts';
import { NETLINK_NETFILTER, type NetlinkTransport, openNetlink } from './netlink-socket.ts';
import { Turn } from './turn.ts';

/** What the kernel said against a batch; nothing of the batch is in force. */
export interface BatchFailure extends NetlinkFailure {
  /** undefined when it is not about one request. */
  readonly origin: Origin | undefined;
}

/** How often what somebody interrupts is begun anew. */
export const MAX_ATTEMPTS = 8;

/** Room for an error reply per message of a refused batch: a few hundred fill the kernel's default. */
const RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;

/** Some milliseconds, after which others get their turn. */
const DUMPS_AT_ONCE = 64;

/** Sequence numbers have 32 bits: from here on they begin anew, so that those of a batch never wrap around. */
const LAST_FIRST_SEQ = 2 ** 31;

/** A socket for nf_tables: a new one, or that of `fd`, which another process has left. Throws KernelError. */
export function openNftTransport(fd?: number): NetlinkTransport {
  return openNetlink(NETLINK_NETFILTER, {
    receiveBufferBytes: RECEIVE_BUFFER_BYTES,
    ...(fd !== undefined && { fd }),
  });
}

export class NftConnection {
  readonly transport: NetlinkTransport;
  #seq = 1;

  constructor(transport: NetlinkTransport = openNftTransport()) {
    this.transport = transport;
  }

  /**
   * Sends one transaction; no failures means that all of it is in force. undefined when it is too large for the send buffer
   * and was not sent. Throws KernelError when the outcome is not known (the socket failed).
   */
  async commit(requests: readonly NftRequest[]): Promise<readonly BatchFailure[] | undefined> {
    const batch = encodeBatch(requests, { firstSeq: this.#takeSeq(0) });
    this.#takeSeq(batch.nextSeq - batch.firstSeq);
    if (batch.bytes.length > this.transport.reserveSendBuffer(batch.bytes.length)) return undefined;
    const failures = decodeFailures(await this.transport.transact(batch.bytes));
    return failures.map((failure) => ({ ...failure, origin: originOf(batch, failure.seq, failure.offset) }));
  }

  /** The ruleset's generation id: it changes with every transaction of anybody in this network namespace. */
  async generation(): Promise<number> {
    return decodeGeneration(await this.#generationMessage()).genId;
  }

  /** The netlink port of this socket, which the kernel's notifications name as the author of what it commits. */
  async portId(): Promise<number> {
    return (await this.#generationMessage()).portId;
  }

  /** The messages of a dump that nobody interrupted. `operation` is what errors call it. Throws KernelError, DecodeError. */
  dump(request: DumpRequest, operation: string): Promise<readonly NetlinkMessage[]> {
    return this.ask((seq) => encodeDumpRequest(request, seq), operation);
  }

  /** The same of any question that is not a transaction, as `encode` makes it for a sequence number. */
  async ask(encode: (seq: number) => Uint8Array, operation: string): Promise<readonly NetlinkMessage[]> {
    for (let attempt = 1; ; attempt++) {
      const seq = this.#takeSeq(1);
      const replies = await this.transport.transact(encode(seq));
      const { messages, interrupted } = collectDump(replies, seq, operation);
      if (!interrupted) return messages;
      if (attempt === MAX_ATTEMPTS) throw new KernelError('EINTR', 4, operation);
    }
  }

  /**
   * What `read` makes of each message of a long dump that nobody interrupted; others get their turn meanwhile. No message
   * outlives its call: of those that are kept V8 learns to put all into the old generation, of other dumps as well. Throws
   * KernelError, DecodeError, and what `read` throws.
   */
  async collect<T>(
    request: DumpRequest,
    operation: string,
    read: (message: NetlinkMessage) => T,
  ): Promise<T[]> {
    for (let attempt = 1; ; attempt++) {
      const seq = this.#takeSeq(1);
      const dump = new DumpReader(seq, operation);
      const items: T[] = [];
      const turn = new Turn();
      for (const datagram of await this.transport.transact(encodeDumpRequest(request, seq))) {
        for (const message of dump.take(datagram)) items.push(read(message));
        if (turn.isOver) await turn.next();
      }
      if (!dump.end()) return items;
      if (attempt === MAX_ATTEMPTS) throw new KernelError('EINTR', 4, operation);
    }
  }

  /**
   * The messages of many short dumps, in the order of `items`, some at a time; undefined for one that asks for what is not
   * there. Each is of one moment, all together are not. While some are looked at, the kernel works on the next. Throws
   * KernelError, DecodeError.
   */
  async *dumps<T>(
    items: readonly T[],
    requestOf: (item: T) => DumpRequest,
    operation: string,
  ): AsyncGenerator<readonly (readonly NetlinkMessage[] | undefined)[]> {
    const ask = (start: number) => {
      const requests = items.slice(start, start + DUMPS_AT_ONCE).map(requestOf);
      const answers = this.#dumpsTogether(requests, operation);
      // Nobody may be there any more when it fails.
      answers.catch(() => undefined);
      return { requests, answers };
    };
    let next = ask(0);
    for (let start = 0; start < items.length; start += DUMPS_AT_ONCE) {
      const { requests, answers } = next;
      const some = await answers;
      if (start + DUMPS_AT_ONCE < items.length) next = ask(start + DUMPS_AT_ONCE);
      const complete: (readonly NetlinkMessage[] | undefined)[] = [];
      for (const [i, answer] of some.entries()) {
        complete.push(answer === 'ask alone' ? await this.#dumpIfThere(requests[i]!, operation) : answer);
      }
      yield complete;
    }
  }

  close(): void {
    this.transport.close();
  }

  /**
   * Asked one right after the other, without coming back here in between. A dump that is still going on when the next is
   * asked for, because the transport does not wait, refuses that one (EBUSY).
   */
  async #dumpsTogether(
    requests: readonly DumpRequest[],
    operation: string,
  ): Promise<(readonly NetlinkMessage[] | 'ask alone' | undefined)[]> {
    const firstSeq = this.#takeSeq(requests.length);
    const questions = requests.map((request, i) => encodeDumpRequest(request, firstSeq + i));
    const sizes = Uint32Array.from(questions, ({ length }) => length);
    const replies = await this.transport.transact(Buffer.concat(questions), sizes);
    return collectDumps(replies, firstSeq, requests.length).map((dump) => {
      if (dump === undefined || dump.interrupted) return 'ask alone';
      const { messages, failure } = dump;
      if (failure === undefined) return messages;
      const { code, errno, message } = failure;
      if (code === 'ENOENT') return undefined;
      if (code === 'EBUSY') return 'ask alone';
      throw new KernelError(code, errno, operation, message);
    });
  }

  async #dumpIfThere(
    request: DumpRequest,
    operation: string,
  ): Promise<readonly NetlinkMessage[] | undefined> {
    try {
      return await this.dump(request, operation);
    } catch (error) {
      if (error instanceof KernelError && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  #takeSeq(count: number): number {
    if (this.#seq > LAST_FIRST_SEQ) this.#seq = 1;
    const first = this.#seq;
    this.#seq += count;
    return first;
  }

  async #generationMessage(): Promise<NetlinkMessage> {
    const [message] = await this.dump({ object: 'generation' }, 'get generation');
    if (message === undefined) throw new KernelError('EPROTO', 71, 'get generation', 'no reply');
    return message;
  }
}
