// One tracked flow as ctnetlink tells it (linux/netfilter/nfnetlink_conntrack.h), reduced to what identifies it and what
// NAT made of it. Protocol state, counters, helpers and labels are skipped.
//
// A flow has two tuples: of the packets that opened it, as they came in, and of the answers, as they are expected.
// So the destination that a client dialled is `original.destination`, and what NAT put in its place is `reply.source`.

import type { IpFamily } from '../../model/ip.ts';
import { familyIn } from '../address-family.ts';
import { attr, required, type Struct, struct } from '../attribute.ts';
import { bytes, u8, u16be, u32be } from '../codec.ts';
import type { NetlinkMessage } from '../message.ts';
import { Reader } from '../reader.ts';
import * as ct from './uapi.ts';

/** One direction of a flow. Addresses are packed: one character per network-order byte. */
export interface FlowTuple {
  readonly source: string;
  readonly destination: string;
  /** IPPROTO_*: 17 for UDP. */
  readonly protocol: number;
  /** Missing where the protocol has no ports, as ICMP. */
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** A zone of this direction alone. */
  readonly zone?: number;
}

export interface FlowAttributes {
  readonly original: FlowTuple;
  readonly reply: FlowTuple;
  /** IPS_* bits, linux/netfilter/nf_conntrack_common.h. */
  readonly status?: number;
  /** Seconds until it is forgotten, unless a packet comes. */
  readonly timeoutSec?: number;
  readonly mark?: number;
  /** The zone of both directions; the default zone 0 is not spelled out. */
  readonly zone?: number;
  /** A hash by the kernel over the flow's address in memory and its original tuple. */
  readonly id?: number;
}

export interface Flow extends FlowAttributes {
  readonly family: IpFamily;
}

const family = familyIn(u8);

function tupleOf(source: number, destination: number): Struct<FlowTuple> {
  return struct({
    source: required([ct.CTA_TUPLE_IP, source], bytes),
    destination: required([ct.CTA_TUPLE_IP, destination], bytes),
    protocol: required([ct.CTA_TUPLE_PROTO, ct.CTA_PROTO_NUM], u8),
    sourcePort: attr([ct.CTA_TUPLE_PROTO, ct.CTA_PROTO_SRC_PORT], u16be),
    destinationPort: attr([ct.CTA_TUPLE_PROTO, ct.CTA_PROTO_DST_PORT], u16be),
    zone: attr(ct.CTA_TUPLE_ZONE, u16be),
  });
}

function flowOf(tuple: Struct<FlowTuple>): Struct<FlowAttributes> {
  return struct({
    original: required(ct.CTA_TUPLE_ORIG, tuple),
    reply: required(ct.CTA_TUPLE_REPLY, tuple),
    status: attr(ct.CTA_STATUS, u32be),
    timeoutSec: attr(ct.CTA_TIMEOUT, u32be),
    mark: attr(ct.CTA_MARK, u32be, 0),
    zone: attr(ct.CTA_ZONE, u16be),
    id: attr(ct.CTA_ID, u32be),
  });
}

export const tupleAttributes: Readonly<Record<IpFamily, Struct<FlowTuple>>> = {
  4: tupleOf(ct.CTA_IP_V4_SRC, ct.CTA_IP_V4_DST),
  6: tupleOf(ct.CTA_IP_V6_SRC, ct.CTA_IP_V6_DST),
};

export const flowAttributes: Readonly<Record<IpFamily, Struct<FlowAttributes>>> = {
  4: flowOf(tupleAttributes[4]),
  6: flowOf(tupleAttributes[6]),
};

/** The flow of an IPCTNL_MSG_CT_NEW, which is also what a dump consists of. */
export function decodeFlow({ payload }: NetlinkMessage): Flow {
  const reader = new Reader('flow', payload);
  const flowFamily = family.decode(reader);
  reader.take(3);
  const attributes = flowAttributes[flowFamily].decode(reader) as FlowAttributes & { family: IpFamily };
  // Set in place: a copy of every flow of a large table costs more than all of its decoding (measured).
  attributes.family = flowFamily;
  return attributes;
}
