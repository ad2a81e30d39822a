// The header of every nfnetlink message (struct nfgenmsg, linux/netfilter/nfnetlink.h), between the netlink header and
// the attributes: family, version 0, resource id.

import { type Codec, oneOf, u8 } from '../codec.ts';
import { beginMessage, type NetlinkMessage } from '../message.ts';
import { Reader } from '../reader.ts';
import type { Writer } from '../writer.ts';
import { type AnyFamily, NFPROTO } from './family.ts';
import { NFNL_SUBSYS_NFTABLES } from './uapi.ts';

const family = oneOf(u8, NFPROTO);

/** Starts a request about nf_tables; `endMessage` takes what this returns. `type` is one of NFT_MSG_*. */
export function beginRequest(
  writer: Writer,
  type: number,
  flags: number,
  seq: number,
  requestFamily: AnyFamily,
): number {
  const start = beginMessage(writer, (NFNL_SUBSYS_NFTABLES << 8) | type, flags, seq);
  writer.u8(NFPROTO[requestFamily]);
  writer.u8(0);
  writer.u16be(0);
  return start;
}

/** The NFT_MSG_* of a message, undefined if it is not about nf_tables. */
export function messageType({ type }: NetlinkMessage): number | undefined {
  return type >>> 8 === NFNL_SUBSYS_NFTABLES ? type & 0xff : undefined;
}

/** Family and attributes of a message; `what` names it in a DecodeError. */
export function decodeMessage<T>(
  what: string,
  message: NetlinkMessage,
  attributes: Codec<T>,
): { readonly family: AnyFamily } & T {
  const reader = new Reader(what, message.payload);
  const messageFamily = family.decode(reader);
  reader.take(3);
  return { family: messageFamily, ...attributes.decode(reader) };
}
