// The reply to a dump: many messages over many datagrams, closed by DONE; or to a single get, closed by its ack.

import { DecodeError, KernelError } from '../errors.ts';
import {
  decodeStatus,
  MESSAGE_FLAG,
  type NetlinkFailure,
  type NetlinkMessage,
  splitMessages,
} from './message.ts';

export interface Dump {
  /** Those with content. */
  readonly messages: readonly NetlinkMessage[];
  /** The kernel's tables changed on the way (NLM_F_DUMP_INTR): the dump may be inconsistent, ask again. */
  readonly interrupted: boolean;
}

/** The reply to one request, datagram by datagram; messages of other requests are left out. */
export class DumpReader {
  readonly #seq: number;
  readonly #operation: string;
  #count = 0;
  #hasEnded = false;
  #interrupted = false;

  /** `operation` is what errors call it. */
  constructor(seq: number, operation: string) {
    this.#seq = seq;
    this.#operation = operation;
  }

  /** Its messages with content, none behind the end. A refusal is a KernelError. */
  take(datagram: Uint8Array): NetlinkMessage[] {
    const messages: NetlinkMessage[] = [];
    for (const message of splitMessages(datagram)) {
      if (message.seq !== this.#seq || this.#hasEnded) continue;
      if ((message.flags & MESSAGE_FLAG.dumpInterrupted) !== 0) this.#interrupted = true;
      const status = decodeStatus(message);
      if (status?.kind === 'error') {
        throw new KernelError(status.code, status.errno, this.#operation, status.message);
      }
      if (status === undefined) messages.push(message);
      else this.#hasEnded = true;
    }
    this.#count += messages.length;
    return messages;
  }

  /** Whether it was interrupted, and is to be asked for again. A reply without an end is a DecodeError. */
  end(): boolean {
    if (this.#hasEnded) return this.#interrupted;
    throw new DecodeError(this.#operation, 0, `no end after ${this.#count} messages`);
  }
}

/** All that a DumpReader has to say of the reply to request `seq`. */
export function collectDump(datagrams: readonly Uint8Array[], seq: number, operation = 'dump'): Dump {
  const reader = new DumpReader(seq, operation);
  const messages: NetlinkMessage[] = [];
  for (const datagram of datagrams) for (const message of reader.take(datagram)) messages.push(message);
  return { messages, interrupted: reader.end() };
}

/** One of several dumps; with a failure, its messages are not all. */
export interface DumpOutcome extends Dump {
  readonly failure?: NetlinkFailure;
}

/**
 * The replies to `count` requests with sequence numbers from `firstSeq` on, in their order; undefined for one without an
 * end.
 */
export function collectDumps(
  datagrams: readonly Uint8Array[],
  firstSeq: number,
  count: number,
): (DumpOutcome | undefined)[] {
  const open = Array.from({ length: count }, () => ({
    messages: [] as NetlinkMessage[],
    interrupted: false,
  }));
  const ended: (DumpOutcome | undefined)[] = open.map(() => undefined);
  for (const datagram of datagrams) {
    for (const message of splitMessages(datagram)) {
      const index = message.seq - firstSeq;
      const dump = open[index];
      if (dump === undefined) continue;
      if ((message.flags & MESSAGE_FLAG.dumpInterrupted) !== 0) dump.interrupted = true;
      const status = decodeStatus(message);
      if (status === undefined) dump.messages.push(message);
      else ended[index] = status.kind === 'error' ? { ...dump, failure: status } : dump;
    }
  }
  return ended;
}
