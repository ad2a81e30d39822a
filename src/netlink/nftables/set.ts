// Sets and maps (NFTA_SET_*).

import { attr, listOf, required, struct } from '../attribute.ts';
import { bytes, type Codec, mapped, safeU64be, string, u32be, u64be } from '../codec.ts';
import type { NetlinkMessage } from '../message.ts';
import { DATATYPE } from './datatypes.ts';
import type { AnyFamily } from './family.ts';
import { decodeMessage } from './header.ts';
import { joinSetUserdata, splitSetUserdata } from './set-userdata.ts';
import {
  fromExpressionAttributes,
  type StatefulExpression,
  statefulExpression,
  toExpressionAttributes,
} from './stateful-expression.ts';
import * as nft from './uapi.ts';

const FLAGS = {
  anonymous: nft.NFT_SET_ANONYMOUS,
  constant: nft.NFT_SET_CONSTANT,
  /** Elements are the ends of intervals, or with `concat` ranges. */
  interval: nft.NFT_SET_INTERVAL,
  timeout: nft.NFT_SET_TIMEOUT,
  /** The packet path may add elements. */
  dynamic: nft.NFT_SET_EVAL,
  object: nft.NFT_SET_OBJECT,
  concat: nft.NFT_SET_CONCAT,
  /** Elements have several expressions. */
  expressions: nft.NFT_SET_EXPR,
} as const;

export type SetFlags = { readonly [Name in keyof typeof FLAGS]?: true };

export interface SetDeclaration {
  /** What nft prints the key as: from DATATYPE, or concatType of several. */
  readonly keyType: number;
  /** In bytes; each part of a concatenation rounded up to 4. */
  readonly keyLength: number;
  readonly isMap: boolean;
  /** A map's value, as `keyType`; DATATYPE.verdict for a verdict map, which has no `dataLength`. */
  readonly dataType?: number;
  readonly dataLength?: number;
  readonly flags: SetFlags;
  /** Bytes of each part of the key, without padding: for intervals in concatenations. */
  readonly fieldLengths?: readonly number[];
  /** Most elements it may have. */
  readonly size?: number;
  /** Of elements that do not name their own. */
  readonly timeoutMs?: number;
  /** What each element has of its own, such as `[{ kind: 'counter' }]`. */
  readonly expressions?: readonly StatefulExpression[];
  readonly comment?: string;
  /** What nft needs to print the set (typeUserdata, typeofUserdata), without the comment; a binary string. */
  readonly userdata?: string;
}

/** As the kernel holds it. `declaration` deep-equals the one that made it. */
export interface NftSet {
  readonly family: AnyFamily;
  readonly table: string;
  readonly set: string;
  readonly handle?: bigint;
  readonly declaration: SetDeclaration;
}

const field = struct({ length: required(nft.NFTA_SET_FIELD_LEN, u32be) });

const wire = struct({
  table: required(nft.NFTA_SET_TABLE, string),
  set: required(nft.NFTA_SET_NAME, string),
  handle: attr(nft.NFTA_SET_HANDLE, u64be),
  flags: attr(nft.NFTA_SET_FLAGS, u32be, 0),
  keyType: attr(nft.NFTA_SET_KEY_TYPE, u32be),
  keyLength: attr(nft.NFTA_SET_KEY_LEN, u32be),
  dataType: attr(nft.NFTA_SET_DATA_TYPE, u32be),
  dataLength: attr(nft.NFTA_SET_DATA_LEN, u32be),
  setId: attr(nft.NFTA_SET_ID, u32be),
  size: attr([nft.NFTA_SET_DESC, nft.NFTA_SET_DESC_SIZE], u32be),
  fields: attr([nft.NFTA_SET_DESC, nft.NFTA_SET_DESC_CONCAT], listOf(nft.NFTA_LIST_ELEM, field)),
  timeoutMs: attr(nft.NFTA_SET_TIMEOUT, safeU64be, 0),
  userdata: attr(nft.NFTA_SET_USERDATA, bytes, ''),
  expression: attr(nft.NFTA_SET_EXPR, statefulExpression),
  expressionList: attr(nft.NFTA_SET_EXPRESSIONS, listOf(nft.NFTA_LIST_ELEM, statefulExpression)),
});

/** What names a set. */
export interface SetName {
  readonly table: string;
  readonly set: string;
}

/** The kernel demands an id, even of a set that nothing in the batch refers to by id. */
export type SetCreation = SetName & SetDeclaration & { readonly setId?: number };

export const setName: Codec<SetName> = wire;

export const setCreation: Codec<SetCreation> = mapped(
  wire,
  (fields) => ({
    ...declarationOf(fields),
    table: fields.table,
    set: fields.set,
    ...(fields.setId !== undefined && { setId: fields.setId }),
  }),
  ({ isMap, flags, fieldLengths, expressions, comment, userdata, dataLength, ...rest }) => {
    const joined = joinSetUserdata(userdata, comment);
    return {
      ...rest,
      flags: flagBits(flags) | (isMap ? nft.NFT_SET_MAP : 0),
      ...(rest.dataType === DATATYPE.verdict
        ? { dataLength: 0 }
        : dataLength !== undefined && { dataLength }),
      ...(fieldLengths && { fields: fieldLengths.map((length) => ({ length })) }),
      ...(joined !== '' && { userdata: joined }),
      ...toExpressionAttributes(expressions),
    };
  },
);

type WireFields = ReturnType<typeof wire.decode>;

function declarationOf(fields: WireFields): SetDeclaration {
  const { keyType = 0, keyLength = 0, dataType, dataLength, flags = 0, size, timeoutMs } = fields;
  return {
    keyType,
    keyLength,
    isMap: (flags & nft.NFT_SET_MAP) !== 0,
    ...(dataType !== undefined && { dataType }),
    // Of a verdict the kernel reports the size of its own structure.
    ...(dataLength !== undefined && dataType !== DATATYPE.verdict && { dataLength }),
    flags: flagNames(flags),
    ...(fields.fields && { fieldLengths: fields.fields.map(({ length }) => length) }),
    ...(size !== undefined && { size }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...fromExpressionAttributes(fields),
    ...splitSetUserdata(fields.userdata ?? ''),
  };
}

function flagBits(flags: SetFlags): number {
  return (Object.keys(flags) as (keyof SetFlags)[]).reduce((bits, name) => bits | FLAGS[name], 0);
}

function flagNames(bits: number): SetFlags {
  const names = (Object.keys(FLAGS) as (keyof SetFlags)[]).filter((name) => (bits & FLAGS[name]) !== 0);
  return Object.fromEntries(names.map((name) => [name, true]));
}

export function decodeSet(message: NetlinkMessage): NftSet {
  const { family, handle, ...fields } = decodeMessage('set', message, wire);
  return {
    family,
    table: fields.table,
    set: fields.set,
    ...(handle !== undefined && { handle }),
    declaration: declarationOf(fields),
  };
}
