// A bounded cursor over received bytes. Every read is checked against `end`; what does not fit is a DecodeError with
// the offset. Nested structures narrow `end` and restore it, so decoding a dump allocates no cursor per attribute.

import { DecodeError } from '../errors.ts';
import { isHostLittleEndian } from './writer.ts';

export class Reader {
  /** Where the next read starts, from the beginning of the bytes. */
  offset: number;
  /** Reads stop here. */
  end: number;
  readonly what: string;
  readonly #buffer: Buffer;

  /** `what` names the thing being decoded in errors: `chain`, `set element list`. */
  constructor(what: string, bytes: Uint8Array, offset = 0, end = bytes.length) {
    this.what = what;
    this.#buffer = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.offset = offset;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.offset;
  }

  /** A DecodeError at `offset`, by default at the cursor. */
  error(reason: string, offset = this.offset): DecodeError {
    return new DecodeError(this.what, offset, reason);
  }

  /** Moves past `count` bytes and returns the offset of the first; throws DecodeError if there are fewer. */
  take(count: number): number {
    const offset = this.offset;
    if (count > this.end - offset) throw this.error(`${count} bytes wanted, ${this.end - offset} left`);
    this.offset = offset + count;
    return offset;
  }

  u8(): number {
    return this.#buffer[this.take(1)]!;
  }

  u16be(): number {
    const offset = this.take(2);
    return (this.#buffer[offset]! << 8) | this.#buffer[offset + 1]!;
  }

  u32be(): number {
    const offset = this.take(4);
    const buffer = this.#buffer;
    return (
      ((buffer[offset]! << 24) |
        (buffer[offset + 1]! << 16) |
        (buffer[offset + 2]! << 8) |
        buffer[offset + 3]!) >>>
      0
    );
  }

  u64be(): bigint {
    return this.#buffer.readBigUInt64BE(this.take(8));
  }

  u16(): number {
    const offset = this.take(2);
    return isHostLittleEndian ? this.#buffer.readUInt16LE(offset) : this.#buffer.readUInt16BE(offset);
  }

  u32(): number {
    const offset = this.take(4);
    return isHostLittleEndian ? this.#buffer.readUInt32LE(offset) : this.#buffer.readUInt32BE(offset);
  }

  u64(): bigint {
    const offset = this.take(8);
    return isHostLittleEndian ? this.#buffer.readBigUInt64LE(offset) : this.#buffer.readBigUInt64BE(offset);
  }

  /** The next `count` bytes as a binary string: one character per byte. */
  binary(count: number): string {
    const offset = this.take(count);
    return this.#buffer.toString('latin1', offset, offset + count);
  }

  /** Text in UTF-8 up to a NUL or the end, whichever comes first; the cursor moves to the end. */
  text(): string {
    const offset = this.offset;
    let stop = offset;
    while (stop < this.end && this.#buffer[stop] !== 0) stop++;
    this.offset = this.end;
    return this.#buffer.toString('utf8', offset, stop);
  }

  /** The next `count` bytes, without copying them. */
  bytesOf(count: number): Uint8Array {
    const offset = this.take(count);
    return this.#buffer.subarray(offset, offset + count);
  }
}
