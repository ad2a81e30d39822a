// A growable byte buffer with the few writes that netlink needs. Binary strings hold one byte per character (0 to 255).
// Knows nothing of messages or attributes; those are src/netlink/message.ts and src/netlink/attribute.ts.

import { InternalError } from '../errors.ts';

/** Netlink headers are in the byte order of the machine; nf_tables values are big-endian. */
export const isHostLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Up to this many characters a loop in JavaScript beats the call into native code (measured on Node 20). */
const SHORT_STRING = 32;

/** Rounds up to the 4-byte boundary of every netlink structure (NLMSG_ALIGN, NLA_ALIGN); right for all of 32 bits. */
export function align4(length: number): number {
  return length + (-length & 3);
}

export class Writer {
  #buffer: Buffer;
  #length = 0;

  constructor(capacity = 4096) {
    this.#buffer = Buffer.allocUnsafe(capacity);
  }

  /** Bytes written so far, which is also the offset of the next write. */
  get length(): number {
    return this.#length;
  }

  /** What was written: a view of the buffer, valid until the next write. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Forgets everything from `length` on. */
  truncate(length: number): void {
    this.#length = length;
  }

  /** Makes room for `count` bytes that the caller writes later, and returns their offset. */
  reserve(count: number): number {
    const offset = this.#length;
    const needed = offset + count;
    if (needed > this.#buffer.length) this.#grow(needed);
    this.#length = needed;
    return offset;
  }

  u8(value: number): void {
    const offset = this.reserve(1);
    this.#buffer[offset] = value;
  }

  u16be(value: number): void {
    const offset = this.reserve(2);
    this.#buffer[offset] = value >>> 8;
    this.#buffer[offset + 1] = value;
  }

  u32be(value: number): void {
    const offset = this.reserve(4);
    const buffer = this.#buffer;
    buffer[offset] = value >>> 24;
    buffer[offset + 1] = value >>> 16;
    buffer[offset + 2] = value >>> 8;
    buffer[offset + 3] = value;
  }

  u64be(value: bigint): void {
    const offset = this.reserve(8);
    this.#buffer.writeBigUInt64BE(value, offset);
  }

  u16(value: number): void {
    this.patchU16(this.reserve(2), value);
  }

  u32(value: number): void {
    this.patchU32(this.reserve(4), value);
  }

  u64(value: bigint): void {
    const offset = this.reserve(8);
    if (isHostLittleEndian) this.#buffer.writeBigUInt64LE(value, offset);
    else this.#buffer.writeBigUInt64BE(value, offset);
  }

  /** Overwrites one byte. */
  patchU8(offset: number, value: number): void {
    this.#buffer[offset] = value;
  }

  /** Overwrites two bytes in host order, such as a length that was not known when its place was reserved. */
  patchU16(offset: number, value: number): void {
    if (isHostLittleEndian) {
      this.#buffer[offset] = value;
      this.#buffer[offset + 1] = value >>> 8;
    } else {
      this.#buffer[offset] = value >>> 8;
      this.#buffer[offset + 1] = value;
    }
  }

  patchU32(offset: number, value: number): void {
    if (isHostLittleEndian) this.#buffer.writeUInt32LE(value >>> 0, offset);
    else this.#buffer.writeUInt32BE(value >>> 0, offset);
  }

  /** Overwrites with a binary string, whose characters are not above 255. */
  patchBinary(offset: number, value: string): void {
    for (let i = 0; i < value.length; i++) this.#buffer[offset + i] = value.charCodeAt(i);
  }

  bytesOf(value: Uint8Array): void {
    // Making room may take another buffer.
    const offset = this.reserve(value.length);
    this.#buffer.set(value, offset);
  }

  /** A binary string: each character is one byte. Throws InternalError for a character above 255. */
  binary(value: string): void {
    const count = value.length;
    const offset = this.reserve(count);
    const buffer = this.#buffer;
    if (count > SHORT_STRING && !/[^\0-\xff]/.test(value)) {
      buffer.write(value, offset, count, 'latin1');
      return;
    }
    for (let index = 0; index < count; index++) {
      const code = value.charCodeAt(index);
      if (code > 255) throw new InternalError(`not a binary string: character ${code} at ${index}`);
      buffer[offset + index] = code;
    }
  }

  /** Text in UTF-8, without a terminator. */
  text(value: string): void {
    const count = value.length;
    const start = this.#length;
    if (count <= SHORT_STRING) {
      const offset = this.reserve(count);
      const buffer = this.#buffer;
      let index = 0;
      for (; index < count; index++) {
        const code = value.charCodeAt(index);
        if (code > 127) break;
        buffer[offset + index] = code;
      }
      if (index === count) return;
      this.#length = start;
    }
    const offset = this.reserve(Buffer.byteLength(value, 'utf8'));
    this.#buffer.write(value, offset, 'utf8');
  }

  /** Zero bytes up to the next 4-byte boundary. */
  pad4(): void {
    const target = align4(this.#length);
    let offset = this.#length;
    this.reserve(target - offset);
    while (offset < target) this.#buffer[offset++] = 0;
  }

  #grow(needed: number): void {
    const grown = Buffer.allocUnsafe(Math.max(needed, Math.ceil(this.#buffer.length * 1.5)));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}
