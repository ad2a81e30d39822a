// Many changes at the price of a few round trips: rows of requests, each row one datagram that the kernel works through in
// order (netlink_rcv_skb). Success is silent, every refusal is reported, and the last request is acknowledged, so that
// silence is told from a lost answer.

import { DecodeError } from '../../errors.ts';
import { decodeStatus, type NetlinkFailure, splitMessages } from '../../netlink/message.ts';
import { Writer } from '../../netlink/writer.ts';
import type { NetlinkTransport } from '../netlink-socket.ts';

/** Some milliseconds of the kernel's time; a refusal of each fits the receive buffer. */
const ROW_LENGTH = 1024;

/** About 1 KB, as the kernel accounts it, for every refusal of one row. */
export const ROW_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/** Most bytes of one of our requests: none has more than two addresses and some numbers. */
const BYTES_PER_REQUEST = 192;

/** Writes one request; its flags must ask for an acknowledgement if it is to be acknowledged. */
export type EncodeChange<T> = (writer: Writer, change: T, seq: number, isAcked: boolean) => void;

/**
 * Carries out changes in their order. One result per change: undefined when it is in force, otherwise what the kernel said; a
 * refusal keeps nothing after it from being done. `takeSeq` gives the first of that many sequence numbers. Rejects with
 * KernelError, DecodeError when the outcome is not known.
 */
export async function sendInRows<T>(
  transport: NetlinkTransport,
  changes: readonly T[],
  takeSeq: (count: number) => number,
  encode: EncodeChange<T>,
): Promise<(NetlinkFailure | undefined)[]> {
  const results: (NetlinkFailure | undefined)[] = changes.map(() => undefined);
  for (let start = 0; start < changes.length; start += ROW_LENGTH) {
    const row = changes.slice(start, start + ROW_LENGTH);
    const firstSeq = takeSeq(row.length);
    const last = row.length - 1;
    const writer = new Writer(row.length * BYTES_PER_REQUEST);
    row.forEach((change, i) => {
      encode(writer, change, firstSeq + i, i === last);
    });
    const bytes = writer.bytes();
    transport.reserveSendBuffer(bytes.length);
    const replies = await transport.transact(bytes);
    if (!readStatuses(replies, firstSeq, row.length, (i, failure) => (results[start + i] = failure))) {
      throw new DecodeError('netlink changes', 0, `no answer to the last of ${row.length}`);
    }
  }
  return results;
}

/** Whether the last request was answered. */
function readStatuses(
  replies: readonly Uint8Array[],
  firstSeq: number,
  count: number,
  onFailure: (index: number, failure: NetlinkFailure) => void,
): boolean {
  let isEnded = false;
  for (const datagram of replies) {
    for (const message of splitMessages(datagram)) {
      const index = message.seq - firstSeq;
      const status = decodeStatus(message);
      if (status === undefined || index < 0 || index >= count) continue;
      if (index === count - 1) isEnded = true;
      if (status.kind === 'error') onFailure(index, status);
    }
  }
  return isEnded;
}
