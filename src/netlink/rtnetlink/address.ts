// Addresses of network devices: the payload of RTM_*ADDR messages (struct ifaddrmsg and IFA_* attributes, linux/if_addr.h).
//
//     | family 1 | prefix length 1 | flags 1 | scope 1 | interface index 4 | attributes … |

import { familyOf, type Ip, type IpFamily, packIp, unpackIp } from '../../model/ip.ts';
import { AF } from '../address-family.ts';
import { attr, struct } from '../attribute.ts';
import { bytes, u32 } from '../codec.ts';
import { beginMessage, endMessage, MESSAGE_FLAG } from '../message.ts';
import { Reader } from '../reader.ts';
import { Writer } from '../writer.ts';
import * as rt from './uapi.ts';

export interface InterfaceAddress {
  readonly interfaceIndex: number;
  readonly address: Ip;
  readonly prefix: number;
}

const attributes = struct({
  /** Of the other end, where there is one. */
  address: attr(rt.IFA_ADDRESS, bytes),
  /** Of this end. */
  local: attr(rt.IFA_LOCAL, bytes),
  flags: attr(rt.IFA_FLAGS, u32),
});

const HOST_PREFIX: Readonly<Record<IpFamily, number>> = { 4: 32, 6: 128 };
const BYTES: Readonly<Record<IpFamily, number>> = { 4: 4, 6: 16 };
const INDEX_OFFSET = 4;

export interface AddressChange {
  readonly kind: 'add' | 'remove';
  readonly address: Ip;
}

/**
 * Adds (EEXIST if it is there) or removes (EADDRNOTAVAIL if it is not) an address by itself: /32 or /128, of global scope,
 * without a route to its network and, for IPv6, at once: nobody else on a device without neighbours can have it.
 */
export function encodeAddressChange(
  writer: Writer,
  interfaceIndex: number,
  { kind, address }: AddressChange,
  seq: number,
  isAcked: boolean,
): void {
  const family = familyOf(address);
  const isNew = kind === 'add';
  const flags = MESSAGE_FLAG.request | (isAcked ? MESSAGE_FLAG.ack : 0);
  const start = isNew
    ? beginMessage(writer, rt.RTM_NEWADDR, flags | MESSAGE_FLAG.create | MESSAGE_FLAG.exclusive, seq)
    : beginMessage(writer, rt.RTM_DELADDR, flags, seq);
  encodeHeader(writer, family, HOST_PREFIX[family], interfaceIndex);
  const packed = packIp(address);
  const addressFlags = rt.IFA_F_NOPREFIXROUTE | (family === 6 ? rt.IFA_F_NODAD : 0);
  attributes.encode(writer, { address: packed, local: packed, ...(isNew ? { flags: addressFlags } : {}) });
  endMessage(writer, start);
}

/** Lists the addresses of a family on one device; ENODEV if it is not there. Needs strict checking (NETLINK_GET_STRICT_CHK). */
export function encodeAddressDump(interfaceIndex: number, family: IpFamily, seq: number): Buffer {
  const writer = new Writer(32);
  const start = beginMessage(writer, rt.RTM_GETADDR, MESSAGE_FLAG.request | MESSAGE_FLAG.dump, seq);
  encodeHeader(writer, family, 0, interfaceIndex);
  endMessage(writer, start);
  return writer.bytes();
}

/** The payload of a request for all addresses of all devices. */
export function encodeAnyAddress(): Buffer {
  const writer = new Writer(8);
  writer.u32(0);
  writer.u32(0);
  return writer.bytes();
}

/** The device of an address, without reading more of the message. Throws DecodeError. */
export function interfaceIndexOf(payload: Uint8Array): number {
  const reader = new Reader('address', payload);
  reader.take(INDEX_OFFSET);
  return reader.u32();
}

/** Of an RTM_NEWADDR or RTM_DELADDR; undefined for a family other than IPv4 and IPv6. Throws DecodeError. */
export function decodeAddress(payload: Uint8Array): InterfaceAddress | undefined {
  const reader = new Reader('address', payload);
  const familyNumber = reader.u8();
  const prefix = reader.u8();
  reader.take(2);
  const interfaceIndex = reader.u32();
  const family = familyNumber === AF[4] ? 4 : familyNumber === AF[6] ? 6 : undefined;
  if (family === undefined) return undefined;
  const { address, local = address } = attributes.decode(reader);
  if (local?.length !== BYTES[family]) throw reader.error(`no address of ${BYTES[family]} bytes`, 0);
  return { interfaceIndex, address: unpackIp(local), prefix };
}

/** True for one that was added as encodeAddressChange does it. */
export function isHostAddress({ address, prefix }: InterfaceAddress): boolean {
  return prefix === HOST_PREFIX[familyOf(address)];
}

function encodeHeader(writer: Writer, family: IpFamily, prefix: number, interfaceIndex: number): void {
  writer.u8(AF[family]);
  writer.u8(prefix);
  writer.u8(0);
  writer.u8(rt.RT_SCOPE_UNIVERSE);
  writer.u32(interfaceIndex);
}
