// Network devices: the payload of RTM_*LINK messages (struct ifinfomsg and IFLA_* attributes, linux/if_link.h), reduced to what
// tells one device from another.

import { attr, struct } from '../attribute.ts';
import { string } from '../codec.ts';
import { Reader } from '../reader.ts';
import { Writer } from '../writer.ts';
import * as rt from './uapi.ts';

export interface Link {
  readonly index: number;
  readonly name: string;
  /** `dummy`, `veth`; undefined for hardware. */
  readonly kind: string | undefined;
}

const attributes = struct({
  name: attr(rt.IFLA_IFNAME, string),
  kind: attr([rt.IFLA_LINKINFO, rt.IFLA_INFO_KIND], string),
});

/** Which device a request is about: one by its index, or by its name, or (with a kind) a new one. */
export type LinkRequest = { readonly index: number } | { readonly name: string; readonly kind?: string };

/** A device that is not made up yet has no flags: it is down. */
export function encodeLink(request: LinkRequest): Buffer {
  const writer = new Writer(64);
  // family and type unspecified
  writer.u32(0);
  writer.u32('index' in request ? request.index : 0);
  // flags, and which of them to change
  writer.u32(0);
  writer.u32(0);
  if ('name' in request) attributes.encode(writer, request);
  return writer.bytes();
}

/**
 * Of an RTM_NEWLINK or RTM_DELLINK; undefined for one of a family, such as a bridge's RTM_DELLINK for a port that it loses: the
 * device stays. Throws DecodeError.
 */
export function decodeLink(payload: Uint8Array): Link | undefined {
  const reader = new Reader('link', payload);
  const family = reader.u8();
  reader.take(3);
  const index = reader.u32();
  reader.take(8);
  if (family !== 0) return undefined;
  const { name, kind } = attributes.decode(reader);
  if (name === undefined) throw reader.error('no name', 0);
  return { index, name, kind };
}
