// Requests that read: dumps of one kind of object, and the generation.

import { endMessage, MESSAGE_FLAG } from '../message.ts';
import { Writer } from '../writer.ts';
import { chainNames } from './chain.ts';
import { elementListHeader } from './element.ts';
import type { NftFamily } from './family.ts';
import { beginRequest } from './header.ts';
import { ruleAttributes } from './rule.ts';
import { setName } from './set.ts';
import * as nft from './uapi.ts';

/** A dump without `family` is of all families. */
export type DumpRequest =
  | { readonly object: 'tables' | 'chains'; readonly family?: NftFamily }
  /** Of a chain, of a table, or of all. */
  | {
      readonly object: 'rules';
      readonly family?: NftFamily;
      readonly table?: string;
      readonly chain?: string;
    }
  /** Of a table, or of all. */
  | { readonly object: 'sets'; readonly family?: NftFamily; readonly table?: string }
  | { readonly object: 'elements'; readonly family: NftFamily; readonly table: string; readonly set: string }
  /** Just this one: a single reply and its ack, or ENOENT. A dump of the rules of a chain that is not there has none. */
  | { readonly object: 'chain'; readonly family: NftFamily; readonly table: string; readonly chain: string }
  /** A single reply and its ack. */
  | { readonly object: 'generation' };

const TYPES: Readonly<Record<DumpRequest['object'], number>> = {
  tables: nft.NFT_MSG_GETTABLE,
  chains: nft.NFT_MSG_GETCHAIN,
  chain: nft.NFT_MSG_GETCHAIN,
  rules: nft.NFT_MSG_GETRULE,
  sets: nft.NFT_MSG_GETSET,
  elements: nft.NFT_MSG_GETSETELEM,
  generation: nft.NFT_MSG_GETGEN,
};

/** What a request may name beside its family: encoding writes the fields that are there. */
const FILTERS: Partial<Record<DumpRequest['object'], { encode(writer: Writer, request: object): void }>> = {
  chain: chainNames,
  rules: ruleAttributes,
  sets: setName,
  elements: elementListHeader,
};

/** One message; `collectDump` takes the reply apart. */
export function encodeDumpRequest(request: DumpRequest, seq: number): Buffer {
  const writer = new Writer(256);
  const { object } = request;
  const mode = object === 'generation' || object === 'chain' ? MESSAGE_FLAG.ack : MESSAGE_FLAG.dump;
  const family = ('family' in request ? request.family : undefined) ?? 'unspecified';
  const start = beginRequest(writer, TYPES[object], MESSAGE_FLAG.request | mode, seq, family);
  FILTERS[object]?.encode(writer, request);
  endMessage(writer, start);
  return writer.bytes();
}
