// Requests as plain values, and for each op the message it becomes.

import { MESSAGE_FLAG } from '../message.ts';
import type { Writer } from '../writer.ts';
import { type ChainBase, chainAttributes } from './chain.ts';
import { type Element, elementListHeader } from './element.ts';
import type { Expression } from './expression.ts';
import type { NftFamily } from './family.ts';
import { type RuleCompat, ruleAttributes } from './rule.ts';
import { type SetDeclaration, setCreation, setName } from './set.ts';
import { tableAttributes } from './table.ts';
import * as nft from './uapi.ts';

interface InTable {
  readonly family: NftFamily;
  readonly table: string;
}
interface InChain extends InTable {
  readonly chain: string;
}
interface InSet extends InTable {
  readonly set: string;
}

export type NftRequest =
  /** Succeeds if the table exists. `flags` from TABLE_FLAGS. */
  | ({ readonly op: 'addTable'; readonly flags?: number; readonly comment?: string } & InTable)
  /** Deletes all that is in it, too. */
  | ({ readonly op: 'deleteTable' } & InTable)
  /** Succeeds if the chain exists with the same base. */
  | ({ readonly op: 'addChain'; readonly base?: ChainBase; readonly comment?: string } & InChain)
  | ({ readonly op: 'deleteChain' } & InChain)
  /** Deletes the chain's rules. */
  | ({ readonly op: 'flushChain' } & InChain)
  /**
   * Last in its chain; with `position` after the rule of that handle. `isInserted`: first in its chain; with `position`
   * before the rule of that handle. With `handle` in place of the rule of that handle.
   */
  | ({
      readonly op: 'addRule';
      readonly expressions: readonly Expression[];
      readonly position?: bigint;
      readonly isInserted?: boolean;
      readonly handle?: bigint;
      readonly comment?: string;
      readonly compat?: RuleCompat;
    } & InChain)
  | ({ readonly op: 'deleteRule'; readonly handle: bigint } & InChain)
  /** Succeeds if the set exists and is the same. `setId` only matters to rules of the batch that refer to it. */
  | ({ readonly op: 'addSet'; readonly setId?: number } & InSet & SetDeclaration)
  | ({ readonly op: 'deleteSet' } & InSet)
  /** Deletes the set's elements. */
  | ({ readonly op: 'flushSet' } & InSet)
  /** Succeeds for elements that exist with the same data, unless `isExclusive`. */
  | ({
      readonly op: 'addElements';
      readonly elements: readonly Element[];
      readonly setId?: number;
      readonly isExclusive?: boolean;
    } & InSet)
  /** Only keys count. An element that does not exist fails the batch. */
  | ({ readonly op: 'deleteElements'; readonly elements: readonly Element[] } & InSet);

export type Op = NftRequest['op'];
export type RequestOf<O extends Op> = Extract<NftRequest, { readonly op: O }>;
export type ElementRequest = Extract<NftRequest, { readonly elements: readonly Element[] }>;

/** How a request becomes a message. */
export interface Encoding<Request> {
  /** NFT_MSG_* */
  readonly type: number;
  readonly flags: (request: Request) => number;
  readonly attributes: { encode(writer: Writer, request: Request): void };
}

const { create, append, replace, exclusive } = MESSAGE_FLAG;
const none = () => 0;

export const REQUEST_ENCODINGS: { readonly [O in Op]: Encoding<RequestOf<O>> } = {
  addTable: { type: nft.NFT_MSG_NEWTABLE, flags: none, attributes: tableAttributes },
  deleteTable: { type: nft.NFT_MSG_DELTABLE, flags: none, attributes: tableAttributes },
  addChain: { type: nft.NFT_MSG_NEWCHAIN, flags: () => create, attributes: chainAttributes },
  deleteChain: { type: nft.NFT_MSG_DELCHAIN, flags: none, attributes: chainAttributes },
  flushChain: { type: nft.NFT_MSG_DELRULE, flags: none, attributes: ruleAttributes },
  addRule: {
    type: nft.NFT_MSG_NEWRULE,
    flags: ({ handle, isInserted }) => {
      if (handle !== undefined) return replace;
      return isInserted ? create : create | append;
    },
    attributes: ruleAttributes,
  },
  deleteRule: { type: nft.NFT_MSG_DELRULE, flags: none, attributes: ruleAttributes },
  addSet: { type: nft.NFT_MSG_NEWSET, flags: () => create, attributes: setCreation },
  deleteSet: { type: nft.NFT_MSG_DELSET, flags: none, attributes: setName },
  flushSet: { type: nft.NFT_MSG_DELSETELEM, flags: none, attributes: elementListHeader },
  addElements: {
    type: nft.NFT_MSG_NEWSETELEM,
    flags: ({ isExclusive }) => create | (isExclusive ? exclusive : 0),
    attributes: elementListHeader,
  },
  deleteElements: { type: nft.NFT_MSG_DELSETELEM, flags: none, attributes: elementListHeader },
};
