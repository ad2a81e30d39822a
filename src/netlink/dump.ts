// The reply to a dump: many messages over many datagrams, closed by DONE; or to a single get, closed by its ack.

import { DecodeError, KernelError } from '../errors.ts';
import { decodeStatus, MESSAGE_FLAG, type NetlinkMessage, splitMessages } from './message.ts';

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
