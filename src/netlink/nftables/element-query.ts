// Asks for single elements by key (NFT_MSG_GETSETELEM without NLM_F_DUMP): one reply per element, then an ack.

import { attr, required, sequenceOf, struct } from '../attribute.ts';
import { string } from '../codec.ts';
import { endMessage, MESSAGE_FLAG } from '../message.ts';
import { Writer } from '../writer.ts';
import { type Element, elementKey } from './element.ts';
import type { NftFamily } from './family.ts';
import { beginRequest } from './header.ts';
import * as nft from './uapi.ts';

export interface ElementQuery {
  readonly family: NftFamily;
  readonly table: string;
  readonly set: string;
  /** Only keys count. As many as one attribute holds (some 2,000 of 24 bytes). */
  readonly elements: readonly Element[];
}

const query = struct({
  table: required(nft.NFTA_SET_ELEM_LIST_TABLE, string),
  set: required(nft.NFTA_SET_ELEM_LIST_SET, string),
  elements: attr(nft.NFTA_SET_ELEM_LIST_ELEMENTS, sequenceOf(elementKey)),
});

/** One message; `collectDump` takes the reply apart. An element that does not exist fails the query with ENOENT. */
export function encodeElementQuery(request: ElementQuery, seq: number): Buffer {
  const writer = new Writer(1024);
  const start = beginRequest(
    writer,
    nft.NFT_MSG_GETSETELEM,
    MESSAGE_FLAG.request | MESSAGE_FLAG.ack,
    seq,
    request.family,
  );
  query.encode(writer, request);
  endMessage(writer, start);
  return writer.bytes();
}
