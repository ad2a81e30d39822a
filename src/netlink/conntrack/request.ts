// Requests to connection tracking: list flows, delete one, and one that only wants an answer.

import type { IpFamily } from '../../model/ip.ts';
import { AF } from '../address-family.ts';
import { attr, struct } from '../attribute.ts';
import { bytes, u8, u16be, u32, u32be } from '../codec.ts';
import { beginMessage, endMessage, MESSAGE_FLAG } from '../message.ts';
import { Writer } from '../writer.ts';
import { type Flow, tupleAttributes } from './flow.ts';
import * as ct from './uapi.ts';

/** Which flows to list, by their original tuple. A port or an address needs the protocol with it. */
export interface FlowFilter {
  /** IPPROTO_* */
  readonly protocol: number;
  /** Packed. */
  readonly destination?: string;
  readonly destinationPort?: number;
}

const filterOf = (destination: number) =>
  struct({
    destination: attr([ct.CTA_TUPLE_ORIG, ct.CTA_TUPLE_IP, destination], bytes),
    protocol: attr([ct.CTA_TUPLE_ORIG, ct.CTA_TUPLE_PROTO, ct.CTA_PROTO_NUM], u8),
    destinationPort: attr([ct.CTA_TUPLE_ORIG, ct.CTA_TUPLE_PROTO, ct.CTA_PROTO_DST_PORT], u16be),
    flags: attr([ct.CTA_FILTER, ct.CTA_FILTER_ORIG_FLAGS], u32),
  });

const filterAttributes = { 4: filterOf(ct.CTA_IP_V4_DST), 6: filterOf(ct.CTA_IP_V6_DST) } as const;

const deletionOf = (family: IpFamily) =>
  struct({
    reply: attr(ct.CTA_TUPLE_REPLY, tupleAttributes[family]),
    zone: attr(ct.CTA_ZONE, u16be),
    id: attr(ct.CTA_ID, u32be),
  });

const deletionAttributes = { 4: deletionOf(4), 6: deletionOf(6) } as const;

/**
 * Lists the flows of a family. Kernels before 5.8 do not know the filter and list all: what comes must be looked at in
 * any case.
 */
export function encodeFlowDump(family: IpFamily, filter: FlowFilter, seq: number): Buffer {
  const writer = new Writer(128);
  const start = begin(writer, ct.IPCTNL_MSG_CT_GET, MESSAGE_FLAG.dump, seq, family);
  const flags =
    ct.CTA_FILTER_F_CTA_PROTO_NUM |
    (filter.destination === undefined ? 0 : ct.CTA_FILTER_F_CTA_IP_DST) |
    (filter.destinationPort === undefined ? 0 : ct.CTA_FILTER_F_CTA_PROTO_DST_PORT);
  filterAttributes[family].encode(writer, { ...filter, flags });
  endMessage(writer, start);
  return writer.bytes();
}

/**
 * Deletes one flow that was listed, and no other; ENOENT if it is gone. The flow is found by the tuple of its answers,
 * which a new flow of the same client to another endpoint does not share. The id alone would not tell the two apart:
 * the kernel makes it of the original tuple and an address in memory that it may use again.
 */
export function encodeFlowDeletion(writer: Writer, flow: Flow, seq: number): void {
  const start = begin(writer, ct.IPCTNL_MSG_CT_DELETE, MESSAGE_FLAG.ack, seq, flow.family);
  deletionAttributes[flow.family].encode(writer, flow);
  endMessage(writer, start);
}

/** Asks how many flows there are: a question that every kernel with connection tracking over netlink answers. */
export function encodeStatsQuery(seq: number): Buffer {
  const writer = new Writer(64);
  endMessage(writer, begin(writer, ct.IPCTNL_MSG_CT_GET_STATS, MESSAGE_FLAG.ack, seq, 4));
  return writer.bytes();
}

/** The header of the message and struct nfgenmsg: family, version 0, resource id 0. */
function begin(writer: Writer, type: number, flags: number, seq: number, family: IpFamily): number {
  const start = beginMessage(
    writer,
    (ct.NFNL_SUBSYS_CTNETLINK << 8) | type,
    MESSAGE_FLAG.request | flags,
    seq,
  );
  writer.u8(AF[family]);
  writer.u8(0);
  writer.u16be(0);
  return start;
}
