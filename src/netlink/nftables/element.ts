// Elements of sets and maps (NFTA_SET_ELEM_*). Keys and data are binary strings; in a concatenation each part is padded
// with zeros to a multiple of 4 bytes. Written for speed: a dump or a cold load has hundreds of thousands.

import { attr, required, type Schema, sequenceOf, struct } from '../attribute.ts';
import { bit, bytes, type Codec, mapped, safeU64be, string, u32be } from '../codec.ts';
import type { NetlinkMessage } from '../message.ts';
import type { AnyFamily } from './family.ts';
import { decodeMessage } from './header.ts';
import { statefulExpression } from './stateful-expression.ts';
import * as nft from './uapi.ts';
import { comment } from './userdata.ts';
import { type Verdict, verdict } from './verdict.ts';

export interface Counter {
  readonly packets: bigint;
  readonly bytes: bigint;
}

export interface Element {
  /** '' is the catch-all element, `*`. */
  readonly key: string;
  /** Last key of a range, for sets of intervals in concatenations; other intervals are two elements. */
  readonly keyEnd?: string;
  /** The key is the first one after an interval. */
  readonly isIntervalEnd?: boolean;
  /** A map's value. */
  readonly data?: string;
  /** A verdict map's value. */
  readonly verdict?: Verdict;
  /** Up to MAX_COMMENT_WITH_TAIL_BYTES. */
  readonly comment?: string;
  /** When not the set's own. */
  readonly timeoutMs?: number;
  /** Time left. */
  readonly expirationMs?: number;
  /** The counter of an element in a set with `counter`. */
  readonly counter?: Counter;
}

const counter = mapped(
  statefulExpression,
  (one): Counter | undefined =>
    one.kind === 'counter' ? { packets: one.packets ?? 0n, bytes: one.bytes ?? 0n } : undefined,
  (value) => ({ kind: 'counter' as const, ...value }),
);

const flags = {
  isIntervalEnd: attr(nft.NFTA_SET_ELEM_FLAGS, bit(u32be, nft.NFT_SET_ELEM_INTERVAL_END), false),
};
const times = {
  timeoutMs: attr(nft.NFTA_SET_ELEM_TIMEOUT, safeU64be),
  expirationMs: attr(nft.NFTA_SET_ELEM_EXPIRATION, safeU64be),
};
const keys = {
  key: attr([nft.NFTA_SET_ELEM_KEY, nft.NFTA_DATA_VALUE], bytes),
  keyEnd: attr([nft.NFTA_SET_ELEM_KEY_END, nft.NFTA_DATA_VALUE], bytes),
};
const catchAllKey = {
  key: attr(
    nft.NFTA_SET_ELEM_FLAGS,
    mapped(
      u32be,
      () => '',
      () => nft.NFT_SET_ELEM_CATCHALL,
    ),
  ),
};
const values = {
  data: attr([nft.NFTA_SET_ELEM_DATA, nft.NFTA_DATA_VALUE], bytes),
  verdict: attr([nft.NFTA_SET_ELEM_DATA, nft.NFTA_DATA_VERDICT], verdict),
  comment: attr(nft.NFTA_SET_ELEM_USERDATA, comment),
  counter: attr(nft.NFTA_SET_ELEM_EXPR, counter),
};

export const element = elementCodec(
  { ...flags, ...times, ...keys, ...values },
  { ...times, ...catchAllKey, ...values },
);

/** What names an element, which is all that a deletion may say. */
export const elementKey = elementCodec({ ...flags, ...keys }, catchAllKey);

function elementCodec(fields: Schema, catchAllFields: Schema): Codec<Element> {
  const keyed = struct(fields) as unknown as Codec<Element>;
  const catchAll = struct(catchAllFields) as unknown as Codec<Element>;
  return {
    isNested: true,
    encode: (writer, value) => (value.key === '' ? catchAll : keyed).encode(writer, value),
    decode(reader) {
      const value = keyed.decode(reader);
      return value.key === undefined ? { ...value, key: '' } : value;
    },
  };
}

/** What every message with elements says before them. `setId` names an anonymous set of the same batch. */
const listFields = {
  table: required(nft.NFTA_SET_ELEM_LIST_TABLE, string),
  set: required(nft.NFTA_SET_ELEM_LIST_SET, string),
  setId: attr(nft.NFTA_SET_ELEM_LIST_SET_ID, u32be),
};

export const elementListHeader = struct(listFields);

const elementList = struct({
  ...listFields,
  elements: attr(nft.NFTA_SET_ELEM_LIST_ELEMENTS, sequenceOf(element)),
});

/** One message of a dump or a notification; the elements of a set arrive in many. */
export interface SetElements {
  readonly family: AnyFamily;
  readonly table: string;
  readonly set: string;
  readonly elements: readonly Element[];
}

export function decodeSetElements(message: NetlinkMessage): SetElements {
  return { elements: [], ...decodeMessage('set elements', message, elementList) };
}
