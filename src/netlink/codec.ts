// The leaf codecs: how one value fills an attribute's payload, written once for both directions.
// Binary values are strings with one character per byte, because they serve as Map keys.

import { DecodeError } from '../errors.ts';
import type { Reader } from './reader.ts';
import type { Writer } from './writer.ts';

/** Writes and reads one payload. `decode` starts at the cursor and must consume everything up to `reader.end`. */
export interface Codec<T> {
  /** The payload consists of attributes (NLA_F_NESTED is set on it). */
  readonly isNested?: boolean;
  encode(writer: Writer, value: T): void;
  decode(reader: Reader): T;
}

/** Well-formed bytes that hold a number this code has no name for, as a newer kernel may send. */
export class UnknownValueError extends DecodeError {}

export const u8: Codec<number> = {
  encode: (writer, value) => writer.u8(value),
  decode: (reader) => reader.u8(),
};

export const u16be: Codec<number> = {
  encode: (writer, value) => writer.u16be(value),
  decode: (reader) => reader.u16be(),
};

export const u32be: Codec<number> = {
  encode: (writer, value) => writer.u32be(value),
  decode: (reader) => reader.u32be(),
};

/** A signed 32-bit number, such as a chain's priority. */
export const i32be: Codec<number> = {
  encode: (writer, value) => writer.u32be(value),
  decode: (reader) => reader.u32be() | 0,
};

export const u64be: Codec<bigint> = {
  encode: (writer, value) => writer.u64be(value),
  decode: (reader) => reader.u64be(),
};

/** A 64-bit number as a JavaScript number; one above 2^53 - 1 is a DecodeError. */
export const safeU64be: Codec<number> = {
  encode(writer, value) {
    writer.u32be(Math.floor(value / 2 ** 32));
    writer.u32be(value);
  },
  decode(reader) {
    const value = reader.u32be() * 2 ** 32 + reader.u32be();
    if (!Number.isSafeInteger(value)) throw reader.error('a number above 2^53', reader.offset - 8);
    return value;
  },
};

/** A 16-bit number in host order. */
export const u16: Codec<number> = {
  encode: (writer, value) => writer.u16(value),
  decode: (reader) => reader.u16(),
};

/** A 32-bit number in host order. */
export const u32: Codec<number> = {
  encode: (writer, value) => writer.u32(value),
  decode: (reader) => reader.u32(),
};

/** A 64-bit number in host order. */
export const u64: Codec<bigint> = {
  encode: (writer, value) => writer.u64(value),
  decode: (reader) => reader.u64(),
};

/** A 64-bit count in host order as a JavaScript number: exact up to 2^53, rounded above. */
export const count64: Codec<number> = mapped(u64, Number, BigInt);

/** NUL-terminated text. */
export const string: Codec<string> = {
  encode(writer, value) {
    writer.text(value);
    writer.u8(0);
  },
  decode: (reader) => reader.text(),
};

/** A binary string: one character per byte. */
export const bytes: Codec<string> = {
  encode: (writer, value) => writer.binary(value),
  decode: (reader) => reader.binary(reader.remaining),
};

/** An attribute that says all by being there. */
export const flag: Codec<true> = {
  encode: () => {},
  decode: () => true,
};

/** A number that stands for a name; a number without a name is an UnknownValueError. */
export function oneOf<Name extends string>(
  number: Codec<number>,
  numbersByName: Readonly<Record<Name, number>>,
): Codec<Name> {
  const namesByNumber = new Map<number, Name>();
  for (const name of Object.keys(numbersByName) as Name[]) namesByNumber.set(numbersByName[name], name);
  return {
    encode: (writer, name) => number.encode(writer, numbersByName[name]),
    decode(reader) {
      const start = reader.offset;
      const value = number.decode(reader);
      const name = namesByNumber.get(value);
      if (name === undefined) throw new UnknownValueError(reader.what, start, `unknown value ${value}`);
      return name;
    },
  };
}

/** A codec seen through a pair of functions; `read` may return undefined for "as if absent". */
export function mapped<Wire, Value>(
  codec: Codec<Wire>,
  read: (wire: Wire) => Value,
  write: (value: Value) => Wire,
): Codec<Value> {
  return {
    isNested: codec.isNested ?? false,
    encode: (writer, value) => codec.encode(writer, write(value)),
    decode: (reader) => read(codec.decode(reader)),
  };
}

/** One bit of a flags word, as a boolean; the other bits are written as zero and ignored. */
export function bit(flags: Codec<number>, mask: number): Codec<boolean> {
  return mapped(
    flags,
    (value) => (value & mask) !== 0,
    (isSet) => (isSet ? mask : 0),
  );
}
