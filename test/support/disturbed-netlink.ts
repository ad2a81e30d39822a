// A transport between the code under test and a real one, on which a test can look at, change, lose or fail any request.

import { type NetlinkTransport, TransactError } from '../../src/daemon/netlink-socket.ts';

/** Passes a request on to the kernel. */
export type Pass = (request: Uint8Array) => Promise<Uint8Array[]>;

// linux/netfilter/nfnetlink.h and nf_tables.h
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NEW_ELEMENTS = (10 << 8) | 12;
const GET_ELEMENTS = (10 << 8) | 13;
const NLM_F_DUMP = 0x300;
const NLM_F_DUMP_INTR = 0x10;
const NLMSG_DONE = 3;
const NLMSGERR_ATTR_MSG = 1;
/** A type of attribute that the kernel skips. */
const UNKNOWN = 0x3fff;
const EMSGSIZE = 90;

export class DisturbedNetlink implements NetlinkTransport {
  /** What happens to each request; undefined: it is passed on. */
  disturb: ((request: Uint8Array, pass: Pass) => Promise<Uint8Array[]>) | undefined;
  /** Sizes of the batches sent. */
  readonly batchBytes: number[] = [];
  readonly #inner: NetlinkTransport;
  readonly #maxSendBufferBytes: number;

  /** Beyond `maxSendBufferBytes` a request fails with EMSGSIZE, as without CAP_NET_ADMIN of the first user namespace. */
  constructor(inner: NetlinkTransport, maxSendBufferBytes = inner.sendBufferBytes) {
    this.#inner = inner;
    this.#maxSendBufferBytes = maxSendBufferBytes;
  }

  get sendBufferBytes(): number {
    return this.#maxSendBufferBytes;
  }

  reserveSendBuffer(): number {
    return this.#maxSendBufferBytes;
  }

  async transact(request: Uint8Array): Promise<Uint8Array[]> {
    if (isBatch(request)) this.batchBytes.push(request.length);
    if (request.length > this.#maxSendBufferBytes) throw failure('EMSGSIZE', EMSGSIZE);
    const pass: Pass = (bytes) => this.#inner.transact(bytes);
    return this.disturb === undefined ? pass(request) : this.disturb(request, pass);
  }

  close(): void {
    this.#inner.close();
  }
}

/** A failure of the socket, with what was received before it. */
export function failure(code: string, errno: number, replies: readonly Uint8Array[] = []): TransactError {
  return new TransactError(code, errno, 'sendmsg(NETLINK_NETFILTER)', replies);
}

/** True for a transaction, false for a question. */
export function isBatch(request: Uint8Array): boolean {
  return Buffer.from(request).readUInt16LE(4) === NFNL_MSG_BATCH_BEGIN;
}

/** True for a question about single elements, which asks for what they have counted. */
export function isElementQuery(request: Uint8Array): boolean {
  const bytes = Buffer.from(request);
  return bytes.readUInt16LE(4) === GET_ELEMENTS && (bytes.readUInt16LE(6) & NLM_F_DUMP) === 0;
}

/**
 * The batch without the value of every element that has this comment and stands for so many endpoints: an element that
 * the kernel refuses.
 */
export function spoil(request: Uint8Array, comment: string, slotCount: number): Uint8Array {
  const bytes = Buffer.from(request);
  for (const { type, start, end } of messages(bytes)) {
    if (type !== NEW_ELEMENTS) continue;
    for (
      let at = bytes.indexOf(`${comment}\0`, start);
      at >= 0 && at < end;
      at = bytes.indexOf(comment, at + 1)
    ) {
      // In front of the comment, its two headers (6 bytes), and the value: two headers and a number.
      const value = at - 6 - 12;
      if ((bytes.readUInt32LE(value + 8) & 0xffffff) === slotCount) bytes.writeUInt16LE(UNKNOWN, value + 2);
    }
  }
  return bytes;
}

/** An error of the kernel (one per datagram) with words of its own added. */
export function withWords(reply: Uint8Array, words: string): Uint8Array {
  const text = Buffer.from(`${words}\0`);
  const attribute = Buffer.alloc(4 + Math.ceil(text.length / 4) * 4);
  attribute.writeUInt16LE(4 + text.length, 0);
  attribute.writeUInt16LE(NLMSGERR_ATTR_MSG, 2);
  text.copy(attribute, 4);
  const extended = Buffer.concat([reply, attribute]);
  extended.writeUInt32LE(extended.length, 0);
  return extended;
}

/** The replies to a dump, marked as interrupted. */
export function interrupted(replies: readonly Uint8Array[]): Uint8Array[] {
  return replies.map((reply) => {
    const bytes = Buffer.from(reply);
    for (const { start } of messages(bytes)) {
      bytes.writeUInt16LE(bytes.readUInt16LE(start + 6) | NLM_F_DUMP_INTR, start + 6);
    }
    return bytes;
  });
}

/** The replies to a dump without its end. */
export function withoutEnd(replies: readonly Uint8Array[]): Uint8Array[] {
  return replies.map((reply) => {
    const bytes = Buffer.from(reply);
    const end = messages(bytes).find(({ type }) => type === NLMSG_DONE)?.start;
    return bytes.subarray(0, end);
  });
}

function messages(bytes: Buffer): { type: number; start: number; end: number }[] {
  const found = [];
  for (let start = 0; start + 16 <= bytes.length; ) {
    const end = start + bytes.readUInt32LE(start);
    found.push({ type: bytes.readUInt16LE(start + 4), start, end });
    start = start + Math.ceil((end - start) / 4) * 4;
  }
  return found;
}
