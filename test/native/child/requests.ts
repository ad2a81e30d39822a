// Netlink requests built by hand, byte by byte, and a reader of message headers: independent of src/netlink on purpose.
// Authority: include/uapi/linux/{netlink,rtnetlink,if_addr}.h and linux/netfilter/nf_tables.h.

import { readdirSync } from 'node:fs';

export const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
export const NLM_F_DUMP = 0x300;
export const NLM_F_CAPPED = 0x100;
export const NLM_F_CREATE_EXCL = 0x600;
export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const RTM_NEWADDR = 20;
export const RTNLGRP_IPV4_IFADDR = 5;

export function message(type: number, flags: number, seq: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + payload.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(seq, 8);
  return Buffer.concat([header, payload]);
}

/** NFT_MSG_GETGEN; needs CAP_NET_ADMIN. */
export function getGeneration(seq: number): Buffer {
  return message((10 << 8) | 16, NLM_F_REQUEST, seq, Buffer.alloc(4));
}

/** RTM_NEWADDR of the n-th address of 10.0.0.0/8 on the loopback device. */
export function newAddress(n: number, flags = 0): Buffer {
  const payload = Buffer.from([2, 32, 0, 0, 1, 0, 0, 0, 8, 0, 2, 0, 10, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 0]);
  for (const offset of [12, 20]) payload.writeUInt32BE(0x0a000000 + n, offset);
  return message(RTM_NEWADDR, NLM_F_REQUEST | NLM_F_CREATE_EXCL | flags, n, payload);
}

export function newAddresses(count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, index) => newAddress(index + 1)));
}

/** RTM_GETADDR of all IPv4 addresses. A prefix length is nonsense there; only strict checking refuses it. */
export function dumpAddresses(seq: number, prefixLength = 0): Buffer {
  return message(22, NLM_F_REQUEST | NLM_F_DUMP, seq, Buffer.from([2, prefixLength, 0, 0, 0, 0, 0, 0]));
}

/** A message of `size` bytes that the kernel skips. */
export function noop(size: number, flags = 0, seq = 0): Buffer {
  return message(NLMSG_NOOP, NLM_F_REQUEST | flags, seq, Buffer.alloc(size - 16));
}

export interface Header {
  readonly type: number;
  readonly flags: number;
  readonly seq: number;
  readonly port: number;
}

/** Headers of all messages in the datagrams. Throws when one is cut short. */
export function headersOf(datagrams: readonly Uint8Array[]): Header[] {
  const headers: Header[] = [];
  for (const datagram of datagrams) {
    const bytes = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.length);
    for (let offset = 0; offset < bytes.length; ) {
      const length = bytes.readUInt32LE(offset);
      if (length < 16 || offset + length > bytes.length) throw new Error(`cut message at ${offset}`);
      headers.push({
        type: bytes.readUInt16LE(offset + 4),
        flags: bytes.readUInt16LE(offset + 6),
        seq: bytes.readUInt32LE(offset + 8),
        port: bytes.readUInt32LE(offset + 12),
      });
      offset += (length + 3) & ~3;
    }
  }
  return headers;
}

/** Open file descriptors of this process. */
export function countFds(): number {
  return readdirSync('/proc/self/fd').length;
}

/** Code and operation of what `call` throws or rejects with; undefined when it succeeds. */
export async function failureOf(call: () => unknown): Promise<Record<string, unknown> | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    const { name, code, errno, operation } = error as Record<string, unknown>;
    return { name, code, errno, operation };
  }
}
