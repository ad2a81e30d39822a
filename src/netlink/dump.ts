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

/**
 * The messages of the reply to request `seq`; those of other requests are left out. A refusal is a KernelError that
 * names `operation`; a reply without an end is a DecodeError.
 */
export function collectDump(datagrams: readonly Uint8Array[], seq: number, operation = 'dump'): Dump {
  const messages: NetlinkMessage[] = [];
  let interrupted = false;
  for (const datagram of datagrams) {
    for (const message of splitMessages(datagram)) {
      if (message.seq !== seq) continue;
      if ((message.flags & MESSAGE_FLAG.dumpInterrupted) !== 0) interrupted = true;
      const status = decodeStatus(message);
      if (status === undefined) {
        messages.push(message);
      } else if (status.kind === 'error') {
        throw new KernelError(status.code, status.errno, operation, status.message);
      } else {
        return { messages, interrupted };
      }
    }
  }
  throw new DecodeError(operation, 0, `no end after ${messages.length} messages`);
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
