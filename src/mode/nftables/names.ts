// The names an operator meets in `nft list ruleset`, and the packed keys and values of our elements.
// Keys and values are binary strings (one char per byte), so that they serve as Map keys and as wire bytes alike.

import { type Ip, type IpFamily, packIp } from '../../model/ip.ts';
import type { Protocol } from '../../model/types.ts';

/** This mode's table, once per family. Other modes that are planned by the same code have tables of their own names. */
export const TABLE = 'kproxy-ts';

/** A table of one family. */
export interface TablePlace {
  readonly family: NftFamily;
  readonly table: string;
}

export function tablePlace(family: IpFamily, table: string): TablePlace {
  return { family: nftFamily(family), table };
}

/** kube-proxy's, once per family; only ever deleted, and only on request. */
export const KUBE_PROXY_TABLE = 'kube-proxy';

/** nf_tables family of an IP family. */
export type NftFamily = 'ip' | 'ip6';

export function nftFamily(family: IpFamily): NftFamily {
  return family === 4 ? 'ip' : 'ip6';
}

/** Sets and maps of the table; README.md beside this file says what each holds. */
export const SETS = [
  'shapes',
  'inside-shapes',
  'services',
  'nodeports',
  'endpoints',
  'nodeport-endpoints',
  'inside-services',
  'inside-nodeports',
  'inside-endpoints',
  'inside-nodeport-endpoints',
  'picks',
  'nodeport-picks',
  'inside-picks',
  'inside-nodeport-picks',
  'picked',
  'nodeport-picked',
  'inside-picked',
  'inside-nodeport-picked',
  'affinity',
  'nodeport-affinity',
  'inside-affinity',
  'inside-nodeport-affinity',
  'source-ranges',
  'cluster-ips',
  'bound-ips',
  'portals',
  'hairpin',
  'nodeport-addresses',
  'service-cidrs',
] as const;
export type SetName = (typeof SETS)[number];

/** Sets of intervals of addresses: the networks around this node. */
export type IntervalSet = 'nodeport-addresses' | 'service-cidrs';
export const INTERVAL_SETS: readonly IntervalSet[] = ['nodeport-addresses', 'service-cidrs'];

export function isIntervalSet(set: SetName): set is IntervalSet {
  return (INTERVAL_SETS as readonly SetName[]).includes(set);
}

/** Where frontends without backends go: answers with a TCP reset or ICMP port unreachable. */
export const REFUSE_CHAIN = 'refuse';

/** Where packets go that nobody answers: backends that a Local policy keeps away, clients outside the source ranges. */
export const DROP_CHAIN = 'drop-silently';

/** Where goes what nobody serves at a virtual address that is this host's: it may be pinged, and refuses the rest. */
export const BOUND_CHAIN = 'bound-address';

/**
 * Maps from shape ids to chains. The inside has one of its own: a chain that a map leads to may not read the same map, or
 * the kernel sees a loop.
 */
export const SHAPE_SETS: ReadonlySet<SetName> = new Set(['shapes', 'inside-shapes']);

/** Maps whose values are shape ids. */
export const SERVICE_SETS: ReadonlySet<SetName> = new Set([
  'services',
  'nodeports',
  'inside-services',
  'inside-nodeports',
]);

/** Maps whose values are endpoints, one per slot. */
export const ENDPOINT_SETS: ReadonlySet<SetName> = new Set([
  'endpoints',
  'nodeport-endpoints',
  'inside-endpoints',
  'inside-nodeport-endpoints',
]);

/** Maps whose values are backend ids, one per slot: of sides that are more than one random pick. */
export const PICK_SETS: ReadonlySet<SetName> = new Set([
  'picks',
  'nodeport-picks',
  'inside-picks',
  'inside-nodeport-picks',
]);

/** Maps whose values are endpoints, one per backend id. */
export const PICKED_SETS: ReadonlySet<SetName> = new Set([
  'picked',
  'nodeport-picked',
  'inside-picked',
  'inside-nodeport-picked',
]);

/** Maps whose keys are the key of a frontend and a number. */
export const NUMBERED_SETS: ReadonlySet<SetName> = new Set([...ENDPOINT_SETS, ...PICK_SETS, ...PICKED_SETS]);

/** Maps that packets write: which backend a client sticks to. Never read to compare, never reconciled. */
export const AFFINITY_SETS: ReadonlySet<SetName> = new Set([
  'affinity',
  'nodeport-affinity',
  'inside-affinity',
  'inside-nodeport-affinity',
]);

/** IANA protocol numbers. */
const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** The protocol of an IANA number, undefined for one no Service can have. */
export function protocolOf(number: number): Protocol | undefined {
  for (const [name, value] of Object.entries(PROTOCOL_NUMBERS)) if (value === number) return name as Protocol;
  return undefined;
}

/** A protocol as a field of a concatenated key: one byte, padded to a 32-bit register. */
export function packProtocol(protocol: Protocol): string {
  return `${String.fromCharCode(PROTOCOL_NUMBERS[protocol])}\0\0\0`;
}

/** A port as a field of a concatenated key or value: network order, padded to a 32-bit register. */
export function packPort(port: number): string {
  return `${String.fromCharCode(port >> 8, port & 0xff)}\0\0`;
}

export function unpackPort(packed: string): number {
  return (packed.charCodeAt(0) << 8) | packed.charCodeAt(1);
}

const IS_LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** Reads what `packHostU32` packed. */
export function unpackHostU32(packed: string): number {
  const bytes = Uint8Array.from(packed, (char) => char.charCodeAt(0));
  return new DataView(bytes.buffer).getUint32(0, IS_LITTLE_ENDIAN);
}

/** A 32-bit number in host order, as numgen and meta mark leave it in a register. */
export function packHostU32(value: number): string {
  const bytes = [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
  return String.fromCharCode(...(IS_LITTLE_ENDIAN ? bytes : bytes.reverse()));
}

/** A number as nft prints `meta priority`: two hexadecimal halves. */
export function formatPriority(packed: string): string {
  const value = unpackHostU32(packed);
  return value === 0 ? 'none' : `${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;
}

/** `ip . port`: the value of an endpoint slot. */
export function packEndpoint(ip: Ip, port: number): string {
  return packIp(ip) + packPort(port);
}

/** The value of an element of `services` or `nodeports` as the diff compares it: packed shape id, then the comment. */
export function serviceValue(shapeId: string, comment: string): string {
  return shapeId + comment;
}

export function serviceValueParts(value: string): { shapeId: string; comment: string } {
  return { shapeId: value.slice(0, 4), comment: value.slice(4) };
}

const INTERVAL_END = 'end';

/**
 * The key of the element that closes an interval just before `address` (NFT_SET_ELEM_INTERVAL_END): another one that opens an
 * interval may be there too, with the address as its key.
 */
export function intervalEndKey(address: string): string {
  return address + INTERVAL_END;
}

/** The address of an element that closes an interval; undefined for one that opens it, whose key has whole words. */
export function intervalEndAddress(key: string): string | undefined {
  return key.length % 4 === 0 ? undefined : key.slice(0, -INTERVAL_END.length);
}
