// Netlink attributes (struct nlattr, linux/netlink.h) from tables: a struct is a table of named attributes, and both
// directions run over that one table, so that they cannot drift apart.
//
//     0        2        4
//     | length | type   | payload … | padding to 4 |      length counts the header, not the padding
//
// Attributes that the table does not name are skipped on purpose: newer kernels add some.

import { InternalError } from '../errors.ts';
import type { Codec } from './codec.ts';
import type { Reader } from './reader.ts';
import { align4, type Writer } from './writer.ts';

/** NLA_F_NESTED */
const NESTED = 0x8000;
/** ~(NLA_F_NESTED | NLA_F_NET_BYTEORDER) */
const TYPE_MASK = 0x3fff;
const HEADER_LENGTH = 4;
/** The longest attribute, header included: its length is a 16-bit number. */
export const MAX_ATTRIBUTE_LENGTH = 0xffff;

/** Where a field lives in its struct: an attribute number, or the numbers on the way through nested attributes. */
export type Path = number | readonly number[];

export interface Attribute<T, IsRequired extends boolean> {
  readonly path: Path;
  readonly codec: Codec<T>;
  readonly isRequired: IsRequired;
  /** The value that means the same as no attribute: decoding leaves it out. */
  readonly absent: T | undefined;
}

/**
 * An attribute that may be missing. The kernel often spells out what a request left unsaid; give that value as
 * `absent`, and decoding what was encoded yields the same object again.
 */
export function attr<T>(path: Path, codec: Codec<T>, absent?: NoInfer<T>): Attribute<NonNullable<T>, false> {
  return { path, codec: codec as Codec<NonNullable<T>>, isRequired: false, absent: absent ?? undefined };
}

/** An attribute without which the struct makes no sense: a DecodeError if missing. */
export function required<T>(path: Path, codec: Codec<T>): Attribute<T, true> {
  return { path, codec, isRequired: true, absent: undefined };
}

export type Schema = Readonly<Record<string, Attribute<unknown, boolean>>>;

type Simplify<T> = { readonly [K in keyof T]: T[K] };
type ValueOf<A> = A extends Attribute<infer T, boolean> ? T : never;
type RequiredNames<S extends Schema> = {
  [K in keyof S]: S[K]['isRequired'] extends true ? K : never;
}[keyof S];

/** The plain object that a schema describes. */
export type Fields<S extends Schema> = Simplify<
  { [K in RequiredNames<S>]: ValueOf<S[K]> } & { [K in Exclude<keyof S, RequiredNames<S>>]?: ValueOf<S[K]> }
>;

/** A codec whose payload is the attributes of one schema. */
export interface Struct<T> extends Codec<T> {
  readonly isNested: true;
}

interface Leaf {
  readonly number: number;
  readonly name: string;
  readonly codec: Codec<unknown>;
  readonly absent: unknown;
}

/** A nested attribute whose own attributes are fields of the surrounding struct. */
interface Group {
  readonly number: number;
  readonly members: Member[];
  readonly byNumber: (Member | undefined)[];
}

type Member = Leaf | Group;
type Target = Record<string, unknown>;

/** A codec for the objects that `schema` describes; attributes are written in the order of the table. */
export function struct<const S extends Schema>(schema: S): Struct<Fields<S>> {
  const root: Group = { number: 0, members: [], byNumber: [] };
  const requiredNames: string[] = [];
  for (const [name, attribute] of Object.entries(schema)) {
    addLeaf(root, name, attribute);
    if (attribute.isRequired) requiredNames.push(name);
  }
  return {
    isNested: true,
    encode: (writer, value) => encodeMembers(writer, root.members, value as Target),
    decode(reader) {
      const start = reader.offset;
      const target: Target = {};
      decodeMembers(reader, root.byNumber, target);
      for (const name of requiredNames) {
        if (target[name] === undefined) throw reader.error(`${name} is missing`, start);
      }
      return target as Fields<S>;
    },
  };
}

/** A nested attribute that repeats one attribute, as NFTA_LIST_ELEM does. */
export function listOf<T>(number: number, codec: Codec<T>): Codec<readonly T[]> {
  return {
    isNested: true,
    encode(writer, values) {
      for (const value of values) encodeAttribute(writer, number, codec, value);
    },
    decode: (reader) => decodeList(reader, codec, number),
  };
}

/** A nested attribute with a list whose members may have any number; writes number them from 1. */
export function sequenceOf<T>(codec: Codec<T>): Codec<readonly T[]> {
  return {
    isNested: true,
    encode(writer, values) {
      values.forEach((value, index) => {
        encodeAttribute(writer, index + 1, codec, value);
      });
    },
    decode: (reader) => decodeList(reader, codec, undefined),
  };
}

function decodeList<T>(reader: Reader, codec: Codec<T>, number: number | undefined): readonly T[] {
  const values: T[] = [];
  while (reader.remaining > 0) {
    const end = reader.end;
    const type = enterAttribute(reader);
    if (number === undefined || type === number) values.push(codec.decode(reader));
    else reader.offset = reader.end;
    leaveAttribute(reader, end);
  }
  return values;
}

export function encodeAttribute<T>(writer: Writer, number: number, codec: Codec<T>, value: T): void {
  const start = beginAttribute(writer, codec.isNested ? number | NESTED : number);
  codec.encode(writer, value);
  endAttribute(writer, start);
}

/** Starts a nested attribute by hand, for contents that arrive piecemeal; `endAttribute` takes what this returns. */
export function beginNested(writer: Writer, number: number): number {
  return beginAttribute(writer, number | NESTED);
}

/** Patches the length and pads. Throws InternalError if the attribute outgrew its 16-bit length. */
export function endAttribute(writer: Writer, start: number): void {
  const length = writer.length - start;
  if (length > MAX_ATTRIBUTE_LENGTH) {
    throw new InternalError(
      `netlink attribute of ${length} bytes, ${MAX_ATTRIBUTE_LENGTH} is the longest possible`,
    );
  }
  writer.patchU16(start, length);
  writer.pad4();
}

function beginAttribute(writer: Writer, type: number): number {
  const start = writer.reserve(HEADER_LENGTH);
  writer.patchU16(start + 2, type);
  return start;
}

function addLeaf(root: Group, name: string, attribute: Attribute<unknown, boolean>): void {
  const path = typeof attribute.path === 'number' ? [attribute.path] : [...attribute.path];
  const number = path.pop()!;
  let group = root;
  for (const step of path) {
    let next = group.byNumber[step] as Group | undefined;
    if (next === undefined) {
      next = { number: step, members: [], byNumber: [] };
      addMember(group, next);
    }
    group = next;
  }
  addMember(group, { number, name, codec: attribute.codec, absent: attribute.absent });
}

function addMember(group: Group, member: Member): void {
  group.members.push(member);
  // A dense array: V8 indexes it faster than one with holes.
  while (group.byNumber.length < member.number) group.byNumber.push(undefined);
  group.byNumber[member.number] = member;
}

function encodeMembers(writer: Writer, members: readonly Member[], value: Target): void {
  for (const member of members) {
    if ('codec' in member) {
      const field = value[member.name];
      if (field !== undefined) encodeAttribute(writer, member.number, member.codec, field);
      continue;
    }
    const start = beginNested(writer, member.number);
    encodeMembers(writer, member.members, value);
    if (writer.length === start + HEADER_LENGTH) writer.truncate(start);
    else endAttribute(writer, start);
  }
}

function decodeMembers(reader: Reader, byNumber: readonly (Member | undefined)[], target: Target): void {
  while (reader.remaining > 0) {
    const end = reader.end;
    const member = byNumber[enterAttribute(reader)];
    if (member === undefined) {
      reader.offset = reader.end;
    } else if ('codec' in member) {
      const value = member.codec.decode(reader);
      if (value !== member.absent) target[member.name] = value;
    } else {
      decodeMembers(reader, member.byNumber, target);
    }
    leaveAttribute(reader, end);
  }
}

/** Reads an attribute's header and narrows the reader to its payload. Returns its number. */
export function enterAttribute(reader: Reader): number {
  const start = reader.offset;
  const length = reader.u16();
  const type = reader.u16() & TYPE_MASK;
  if (length < HEADER_LENGTH) throw reader.error(`attribute ${type} has length ${length}`, start);
  if (align4(length) > reader.end - start) {
    throw reader.error(`attribute ${type} of ${length} bytes ends outside its container`, start);
  }
  reader.end = start + length;
  return type;
}

/** Checks that the payload was used up, and widens the reader to the container again. */
export function leaveAttribute(reader: Reader, end: number): void {
  const left = reader.remaining;
  if (left !== 0) throw reader.error(`attribute is ${left} bytes too long`);
  reader.offset += align4(reader.end) - reader.end;
  reader.end = end;
}
