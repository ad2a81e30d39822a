// The structs of matches and targets of iptables (linux/netfilter/xt_*.h): fields one after the other at fixed places,
// numbers in the order of the machine, the whole padded to 8 bytes (XT_ALIGN). Written as a table in the order of the C
// struct, with its gaps, and read by the same table. Infos are binary strings, as in the match and target expressions.

import { InternalError } from '../../errors.ts';
import { Reader } from '../reader.ts';
import { Writer } from '../writer.ts';
import { fromUtf8 } from './utf8.ts';

/** A field of `size` bytes. `read` gives undefined for bytes that mean something this program has no word for. */
export interface XtField<T> {
  readonly size: number;
  write(writer: Writer, value: T): void;
  read(reader: Reader): T | undefined;
}

type XtSchema = Readonly<Record<string, XtField<unknown>>>;

type ValueOf<F> = F extends XtField<infer T> ? T : never;

/** The plain object: gaps are no part of it. */
export type XtFields<S extends XtSchema> = {
  readonly [K in keyof S as ValueOf<S[K]> extends null ? never : K]: ValueOf<S[K]>;
};

export interface XtStruct<T> {
  encode(value: T): string;
  /** undefined if the info has another length, or says more than the table has words for. */
  decode(info: string): T | undefined;
}

export const u8: XtField<number> = {
  size: 1,
  write: (writer, value) => writer.u8(value),
  read: (reader) => reader.u8(),
};

export const u16: XtField<number> = {
  size: 2,
  write: (writer, value) => writer.u16(value),
  read: (reader) => reader.u16(),
};

export const u16be: XtField<number> = {
  size: 2,
  write: (writer, value) => writer.u16be(value),
  read: (reader) => reader.u16be(),
};

export const u32: XtField<number> = {
  size: 4,
  write: (writer, value) => writer.u32(value),
  read: (reader) => reader.u32(),
};

/** A binary string of exactly `size` bytes. */
export function bytes(size: number): XtField<string> {
  return {
    size,
    write: (writer, value) => writer.binary(value),
    read: (reader) => reader.binary(size),
  };
}

/** Text in UTF-8 in an array of `size` bytes, with a NUL after it; what follows the NUL is garbage. */
export function text(size: number): XtField<string> {
  return {
    size,
    write(writer, value) {
      const start = writer.length;
      writer.text(value);
      const left = size - (writer.length - start);
      if (left < 1) throw new InternalError(`text longer than ${size - 1} bytes: ${value}`);
      writer.binary(zeros(left));
    },
    read(reader) {
      const all = reader.binary(size);
      const end = all.indexOf('\0');
      return end < 0 ? undefined : fromUtf8(all.slice(0, end));
    },
  };
}

/** Bytes that must be zero: fields that this program does not use. */
export function unused(size: number): XtField<null> {
  const blank = zeros(size);
  return {
    size,
    write: (writer) => writer.binary(blank),
    read: (reader) => (reader.binary(size) === blank ? null : undefined),
  };
}

/** Bytes that may have any value: padding, and what the kernel keeps for itself. */
export function gap(size: number): XtField<null> {
  const blank = zeros(size);
  return {
    size,
    write: (writer) => writer.binary(blank),
    read(reader) {
      reader.take(size);
      return null;
    },
  };
}

/** Reused: what is written is copied out at once. */
const scratch = new Writer(512);

export function xtStruct<const S extends XtSchema>(schema: S): XtStruct<XtFields<S>> {
  const fields = Object.entries(schema);
  const size = fields.reduce((sum, [, field]) => sum + field.size, 0);
  if (size % 8 !== 0) throw new InternalError(`xt struct of ${size} bytes is not padded to 8`);
  return {
    encode(value) {
      const values = value as Record<string, unknown>;
      scratch.truncate(0);
      for (const [name, field] of fields) field.write(scratch, values[name]);
      return scratch.bytes().toString('latin1');
    },
    decode(info) {
      if (info.length !== size) return undefined;
      const reader = new Reader('xt struct', Buffer.from(info, 'latin1'));
      const value: Record<string, unknown> = {};
      for (const [name, field] of fields) {
        const part = field.read(reader);
        if (part === undefined) return undefined;
        if (part !== null) value[name] = part;
      }
      return value as XtFields<S>;
    },
  };
}

function zeros(count: number): string {
  return '\0'.repeat(count);
}
