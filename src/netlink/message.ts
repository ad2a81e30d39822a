// Netlink messages (struct nlmsghdr, linux/netlink.h) and what the kernel says about a request: acks, errors with
// extended acks, the end of a dump. Knows no family.
//
//     0        4      6       8     12        16
//     | length | type | flags | seq | port id | payload … | padding to 4 |      length counts the header

import { DecodeError } from '../errors.ts';
import { attr, struct } from './attribute.ts';
import { string, u32 } from './codec.ts';
import { errnoName } from './errno.ts';
import { Reader } from './reader.ts';
import { align4, type Writer } from './writer.ts';

export const MESSAGE_TYPE = { noop: 1, error: 2, done: 3, overrun: 4 } as const;

/** NLM_F_*; the four from `replace` on are for requests that create. */
export const MESSAGE_FLAG = {
  request: 0x1,
  ack: 0x4,
  dumpInterrupted: 0x10,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
} as const;

/** NLM_F_CAPPED and NLM_F_ACK_TLVS, in the header of an ack. */
const CAPPED = 0x100;
const HAS_ATTRIBUTES = 0x200;

const HEADER_LENGTH = 16;

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly seq: number;
  readonly portId: number;
  /** A view, not a copy. */
  readonly payload: Uint8Array;
}

/** Writes a header, and returns what `endMessage` takes. The port id stays 0: the kernel fills it in. */
export function beginMessage(writer: Writer, type: number, flags: number, seq: number): number {
  const start = writer.length;
  writer.u32(0);
  writer.u16(type);
  writer.u16(flags);
  writer.u32(seq);
  writer.u32(0);
  return start;
}

/** Patches the length and pads. */
export function endMessage(writer: Writer, start: number): void {
  writer.patchU32(start, writer.length - start);
  writer.pad4();
}

/** Replaces the flags of a message already written. */
export function patchFlags(writer: Writer, start: number, flags: number): void {
  writer.patchU16(start + 6, flags);
}

/** The messages of one datagram, in order; bytes that are not whole messages are a DecodeError. */
export function splitMessages(datagram: Uint8Array): NetlinkMessage[] {
  const reader = new Reader('netlink message', datagram);
  const messages: NetlinkMessage[] = [];
  while (reader.remaining > 0) {
    const start = reader.offset;
    const length = reader.u32();
    const type = reader.u16();
    const flags = reader.u16();
    const seq = reader.u32();
    const portId = reader.u32();
    if (length < HEADER_LENGTH) throw reader.error(`message has length ${length}`, start);
    messages.push({ type, flags, seq, portId, payload: reader.bytesOf(length - HEADER_LENGTH) });
    // The last message of a datagram may lack its padding.
    reader.offset = Math.min(start + align4(length), reader.end);
  }
  return messages;
}

/** A request that the kernel refused. */
export interface NetlinkFailure {
  readonly kind: 'error';
  readonly seq: number;
  /** Positive, asm-generic/errno.h. */
  readonly errno: number;
  /** Its name, such as ENOENT. */
  readonly code: string;
  /** The kernel's own words (NLMSGERR_ATTR_MSG). */
  readonly message?: string;
  /** Where in the request the kernel saw the fault, from the start of its header (NLMSGERR_ATTR_OFFS). */
  readonly offset?: number;
}

export type NetlinkStatus =
  | NetlinkFailure
  | { readonly kind: 'ack'; readonly seq: number }
  | { readonly kind: 'done'; readonly seq: number };

const extendedAck = struct({ message: attr(1, string), offset: attr(2, u32) });

/** What a message says about its request; undefined for a message that carries content. */
export function decodeStatus({ type, flags, seq, payload }: NetlinkMessage): NetlinkStatus | undefined {
  if (type === MESSAGE_TYPE.overrun)
    throw new DecodeError('netlink message', 0, 'overrun: messages were lost');
  if (type !== MESSAGE_TYPE.error && type !== MESSAGE_TYPE.done) return undefined;
  const reader = new Reader('netlink status', payload);
  // A DONE with nothing to report may come without the number.
  const status = type === MESSAGE_TYPE.done && reader.remaining === 0 ? 0 : reader.u32() | 0;
  if (status >= 0) return { kind: type === MESSAGE_TYPE.done ? 'done' : 'ack', seq };
  if (type === MESSAGE_TYPE.error) {
    const requestLength = reader.u32();
    reader.take(HEADER_LENGTH - 4);
    if ((flags & CAPPED) === 0) {
      if (requestLength < HEADER_LENGTH) throw reader.error(`request has length ${requestLength}`, 4);
      const rest = requestLength - HEADER_LENGTH;
      reader.take(Math.min(align4(rest), Math.max(rest, reader.remaining)));
    }
  }
  const details = (flags & HAS_ATTRIBUTES) === 0 ? {} : extendedAck.decode(reader);
  return { kind: 'error', seq, errno: -status, code: errnoName(-status), ...details };
}

/** Every refusal in the replies. A batch has succeeded when there is none: a single ack proves nothing. */
export function decodeFailures(datagrams: Iterable<Uint8Array>): NetlinkFailure[] {
  const failures: NetlinkFailure[] = [];
  for (const datagram of datagrams) {
    for (const message of splitMessages(datagram)) {
      const status = decodeStatus(message);
      if (status?.kind === 'error') failures.push(status);
    }
  }
  return failures;
}
