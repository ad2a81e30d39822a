// What nft itself stores with a set so that it can print it (libnftnl udata.h, nftables src/netlink.c and the
// *_build_udata functions): byte orders, the comment, and for `typeof` the expressions the set was declared with.
// All of it is type-length-value; numbers are 32-bit in host order. The bytes are those of nft 1.0.6.

import { Reader } from '../reader.ts';
import { Writer } from '../writer.ts';
import { META_KEYS } from './expression/meta.ts';
import { NUMGEN_TYPES } from './expression/numgen.ts';
import { beginEntry, endEntry, forEachEntry } from './userdata.ts';

/** NFTNL_UDATA_SET_* */
const SET_ENTRY = {
  keyByteOrder: 0,
  dataByteOrder: 1,
  keyTypeof: 3,
  dataTypeof: 4,
  dataInterval: 6,
  comment: 7,
} as const;

/** NFTNL_UDATA_SET_TYPEOF_* */
const TYPEOF = { expression: 0, details: 1 } as const;

/** enum byteorder; a concatenation has none. */
const BYTE_ORDER = { none: 0, host: 1, big: 2 } as const;

const BYTE_ORDER_OF = {
  verdict: BYTE_ORDER.none,
  payload: BYTE_ORDER.big,
  meta: BYTE_ORDER.host,
  numgen: BYTE_ORDER.host,
} as const;

/** enum expr_types */
const EXPRESSION = { verdict: 1, payload: 7, meta: 9, concat: 13, numgen: 23 } as const;

/** enum proto_desc_id and the index of the field in the protocol's template (nftables src/proto.c). */
const PROTOCOLS = {
  th: { id: 11, fields: { sport: 1, dport: 2 } },
  ip: { id: 12, fields: { saddr: 11, daddr: 12 } },
  ip6: { id: 13, fields: { saddr: 8, daddr: 9 } },
} as const;

/** One part of a `typeof` declaration: `ip daddr`, `th dport`, `meta l4proto`, `numgen random mod 2`, `verdict`. */
export type TypeofPart =
  | { readonly kind: 'verdict' }
  | { readonly kind: 'payload'; readonly protocol: 'ip' | 'ip6'; readonly field: 'saddr' | 'daddr' }
  | { readonly kind: 'payload'; readonly protocol: 'th'; readonly field: 'sport' | 'dport' }
  | { readonly kind: 'meta'; readonly key: keyof typeof META_KEYS }
  | {
      readonly kind: 'numgen';
      readonly type: keyof typeof NUMGEN_TYPES;
      readonly modulus: number;
      readonly offset?: number;
    };

/**
 * Userdata of a set declared by `type`. Keys are in network order unless `isHostOrder`; a concatenated key is marked as
 * such. `map` says what the values of a map are; it also says that they are single.
 */
export function typeUserdata({ parts, isHostOrder = false, map }: TypeDeclaration): string {
  const writer = new Writer(64);
  const isConcatenated = parts > 1;
  const isMap = map !== undefined;
  const keyOrder = isHostOrder ? BYTE_ORDER.host : BYTE_ORDER.big;
  number(writer, SET_ENTRY.keyByteOrder, isConcatenated ? BYTE_ORDER.none : keyOrder);
  if (isMap) {
    number(writer, SET_ENTRY.dataByteOrder, map === 'host order' ? BYTE_ORDER.host : BYTE_ORDER.none);
  }
  if (isConcatenated) {
    entry(writer, SET_ENTRY.keyTypeof, () => {
      number(writer, TYPEOF.expression, EXPRESSION.concat);
      entry(writer, TYPEOF.details, () => {});
    });
  }
  if (isMap) number(writer, SET_ENTRY.dataInterval, 0);
  return writer.bytes().toString('latin1');
}

export interface TypeDeclaration {
  /** Of the key. */
  readonly parts: number;
  readonly isHostOrder?: boolean;
  readonly map?: 'verdict' | 'host order';
}

/** Userdata of a set declared by `typeof key…`, or of a map by `typeof key… : data…`. */
export function typeofUserdata({
  key,
  data,
}: {
  readonly key: readonly TypeofPart[];
  readonly data?: readonly TypeofPart[];
}): string {
  const writer = new Writer(256);
  number(writer, SET_ENTRY.keyByteOrder, byteOrder(key));
  if (data !== undefined) number(writer, SET_ENTRY.dataByteOrder, byteOrder(data));
  entry(writer, SET_ENTRY.keyTypeof, () => typeofExpression(writer, key));
  if (data !== undefined) {
    entry(writer, SET_ENTRY.dataTypeof, () => typeofExpression(writer, data));
    number(writer, SET_ENTRY.dataInterval, 0);
  }
  return writer.bytes().toString('latin1');
}

function byteOrder(parts: readonly TypeofPart[]): number {
  if (parts.length > 1) return BYTE_ORDER.none;
  return BYTE_ORDER_OF[parts[0]!.kind];
}

function typeofExpression(writer: Writer, parts: readonly TypeofPart[]): void {
  if (parts.length === 1) {
    typeofPart(writer, parts[0]!);
    return;
  }
  number(writer, TYPEOF.expression, EXPRESSION.concat);
  entry(writer, TYPEOF.details, () => {
    parts.forEach((part, index) => {
      entry(writer, index, () => typeofPart(writer, part));
    });
  });
}

function typeofPart(writer: Writer, part: TypeofPart): void {
  number(writer, TYPEOF.expression, EXPRESSION[part.kind]);
  entry(writer, TYPEOF.details, () => {
    for (const [index, value] of partDetails(part).entries()) number(writer, index, value);
  });
}

/** In the order of their entry numbers, from 0. */
function partDetails(part: TypeofPart): readonly number[] {
  switch (part.kind) {
    case 'verdict':
      return [];
    case 'payload': {
      const { id, fields } = PROTOCOLS[part.protocol];
      return [id, (fields as Readonly<Record<string, number>>)[part.field]!];
    }
    case 'meta':
      return [META_KEYS[part.key]];
    case 'numgen':
      return [NUMGEN_TYPES[part.type], part.modulus, part.offset ?? 0];
  }
}

/** The comment is one of the entries. */
export function joinSetUserdata(userdata = '', comment = ''): string {
  if (comment === '') return userdata;
  const writer = new Writer(256);
  writer.binary(userdata);
  entry(writer, SET_ENTRY.comment, () => {
    writer.text(comment);
    writer.u8(0);
  });
  return writer.bytes().toString('latin1');
}

/** Takes the comment out; what does not parse stays as it is. */
export function splitSetUserdata(bytes: string): { readonly userdata?: string; readonly comment?: string } {
  const reader = new Reader('set userdata', Buffer.from(bytes, 'latin1'));
  let comment = '';
  let userdata = '';
  const isComplete = forEachEntry(reader, (type) => {
    if (type === SET_ENTRY.comment) comment = reader.text();
    else userdata += bytes.slice(reader.offset - 2, reader.end);
  });
  if (!isComplete) return { userdata: bytes };
  return { ...(userdata !== '' && { userdata }), ...(comment !== '' && { comment }) };
}

function entry(writer: Writer, type: number, write: () => void): void {
  const start = beginEntry(writer, type);
  write();
  endEntry(writer, start);
}

function number(writer: Writer, type: number, value: number): void {
  entry(writer, type, () => writer.u32(value));
}
