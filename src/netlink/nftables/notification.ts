// Changes to the ruleset as the kernel announces them to group NFNLGRP_NFTABLES: a message per object, then the new
// generation. `value` has the fields that the kernel sends, for a deletion just the names.

import { DecodeError } from '../../errors.ts';
import type { NetlinkMessage } from '../message.ts';
import { decodeChain } from './chain.ts';
import { decodeSetElements } from './element.ts';
import { decodeGeneration } from './generation.ts';
import { messageType } from './header.ts';
import { decodeRule } from './rule.ts';
import { decodeSet } from './set.ts';
import { decodeTable } from './table.ts';
import * as nft from './uapi.ts';

const DECODERS = {
  newTable: [nft.NFT_MSG_NEWTABLE, decodeTable],
  deleteTable: [nft.NFT_MSG_DELTABLE, decodeTable],
  newChain: [nft.NFT_MSG_NEWCHAIN, decodeChain],
  deleteChain: [nft.NFT_MSG_DELCHAIN, decodeChain],
  newRule: [nft.NFT_MSG_NEWRULE, decodeRule],
  deleteRule: [nft.NFT_MSG_DELRULE, decodeRule],
  newSet: [nft.NFT_MSG_NEWSET, decodeSet],
  deleteSet: [nft.NFT_MSG_DELSET, decodeSet],
  newElements: [nft.NFT_MSG_NEWSETELEM, decodeSetElements],
  deleteElements: [nft.NFT_MSG_DELSETELEM, decodeSetElements],
  newGeneration: [nft.NFT_MSG_NEWGEN, decodeGeneration],
} as const;

type Decoders = typeof DECODERS;

export type NftNotification =
  | {
      readonly [Event in keyof Decoders]: {
        readonly event: Event;
        readonly value: ReturnType<Decoders[Event][1]>;
      };
    }[keyof Decoders]
  /** Objects that this program does not use: stateful objects, flow tables. */
  | { readonly event: 'other' };

const EVENTS_BY_TYPE = new Map(
  Object.entries(DECODERS).map(([event, [type, decode]]) => [type, { event, decode }]),
);

/** Throws DecodeError for a message that is not about nf_tables. */
export function decodeNotification(message: NetlinkMessage): NftNotification {
  const type = messageType(message);
  if (type === undefined) throw new DecodeError('nf_tables notification', 0, `message type ${message.type}`);
  const known = EVENTS_BY_TYPE.get(type as Decoders[keyof Decoders][0]);
  return known === undefined
    ? { event: 'other' }
    : ({ event: known.event, value: known.decode(message) } as NftNotification);
}
