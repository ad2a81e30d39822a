// The sets and maps of the table. All are hash tables with exact keys, except those of intervals:
// the networks around this node, and `source-ranges`, which only packets to restricted frontends are looked up in.

import { isDeepEqual } from '../../model/deep-equal.ts';
import type { IpFamily } from '../../model/ip.ts';
import { concatType, DATATYPE } from '../../netlink/nftables/datatypes.ts';
import type { SetDeclaration } from '../../netlink/nftables/set.ts';
import { type TypeofPart, typeofUserdata, typeUserdata } from '../../netlink/nftables/set-userdata.ts';
import { AFFINITY_SETS, PICK_SETS, PICKED_SETS, type SetName } from './names.ts';

/** What only a gate has, and what it has no use for: whoever it lets in is balanced elsewhere. */
const GATE_SETS: readonly SetName[] = ['bound-ips'];
/** What only portals have. */
const PORTAL_SETS: readonly SetName[] = ['portals'];
const BALANCING_SETS: readonly SetName[] = [
  'endpoints',
  'nodeport-endpoints',
  ...PICK_SETS,
  ...PICKED_SETS,
  ...AFFINITY_SETS,
];

/** Every set of one family's table. */
export function setDeclarations(
  family: IpFamily,
  { isGate = false, isPortals = false }: { readonly isGate?: boolean; readonly isPortals?: boolean } = {},
): ReadonlyMap<SetName, SetDeclaration> {
  const sets = allSets(family);
  for (const set of isGate ? BALANCING_SETS : GATE_SETS) sets.delete(set);
  for (const set of isPortals ? [] : PORTAL_SETS) sets.delete(set);
  return sets;
}

function allSets(family: IpFamily): Map<SetName, SetDeclaration> {
  const address: Part = {
    type: family === 4 ? DATATYPE.ipv4_addr : DATATYPE.ipv6_addr,
    length: family === 4 ? 4 : 16,
    bytes: family === 4 ? 4 : 16,
    typeof: { kind: 'payload', protocol: family === 4 ? 'ip' : 'ip6', field: 'daddr' },
  };
  const client: Part = {
    ...address,
    typeof: { kind: 'payload', protocol: family === 4 ? 'ip' : 'ip6', field: 'saddr' },
  };
  return new Map<SetName, SetDeclaration>([
    ['shapes', verdictMap(PRIORITY)],
    ['inside-shapes', verdictMap(PRIORITY)],
    ['services', counted(shapeMap([address, PROTOCOL, PORT]))],
    ['nodeports', counted(shapeMap([PROTOCOL, PORT]))],
    ['endpoints', dataMap([address, PROTOCOL, PORT, SLOT], [address, PORT])],
    ['nodeport-endpoints', dataMap([PROTOCOL, PORT, SLOT], [address, PORT])],
    ['inside-services', shapeMap([address, PROTOCOL, PORT])],
    ['inside-nodeports', shapeMap([PROTOCOL, PORT])],
    ['inside-endpoints', dataMap([address, PROTOCOL, PORT, SLOT], [address, PORT])],
    ['inside-nodeport-endpoints', dataMap([PROTOCOL, PORT, SLOT], [address, PORT])],
    ['picks', pickMap([address, PROTOCOL, PORT])],
    ['nodeport-picks', pickMap([PROTOCOL, PORT])],
    ['inside-picks', pickMap([address, PROTOCOL, PORT])],
    ['inside-nodeport-picks', pickMap([PROTOCOL, PORT])],
    ['picked', dataMap([address, PROTOCOL, PORT, PRIORITY], [address, PORT])],
    ['nodeport-picked', dataMap([PROTOCOL, PORT, PRIORITY], [address, PORT])],
    ['inside-picked', dataMap([address, PROTOCOL, PORT, PRIORITY], [address, PORT])],
    ['inside-nodeport-picked', dataMap([PROTOCOL, PORT, PRIORITY], [address, PORT])],
    ['affinity', affinityMap([client, address, PROTOCOL, PORT])],
    ['nodeport-affinity', affinityMap([client, PROTOCOL, PORT])],
    ['inside-affinity', affinityMap([client, address, PROTOCOL, PORT])],
    ['inside-nodeport-affinity', affinityMap([client, PROTOCOL, PORT])],
    ['source-ranges', rangeSet([address, PROTOCOL, PORT, address])],
    ['cluster-ips', plainSet([address])],
    ['bound-ips', plainSet([address])],
    ['portals', plainSet([address, PROTOCOL, PORT])],
    ['hairpin', plainSet([address, address])],
    ['nodeport-addresses', intervalSet(address)],
    ['service-cidrs', intervalSet(address)],
  ]);
}

/** True when two declarations hold the same; what nft needs to print them does not count. */
export function isSameSet(a: SetDeclaration, b: SetDeclaration): boolean {
  return isDeepEqual(withoutText(a), withoutText(b));
}

function withoutText({ userdata: _, comment: __, ...rest }: SetDeclaration): Partial<SetDeclaration> {
  return rest;
}

/** A field of a key or value: nft's type number, its bytes in a register and without padding, what `typeof` says. */
interface Part {
  readonly type: number;
  readonly length: number;
  readonly bytes: number;
  readonly typeof: TypeofPart;
}

const PROTOCOL: Part = {
  type: DATATYPE.inet_proto,
  length: 4,
  bytes: 1,
  typeof: { kind: 'meta', key: 'l4proto' },
};
const PORT: Part = {
  type: DATATYPE.inet_service,
  length: 4,
  bytes: 2,
  typeof: { kind: 'payload', protocol: 'th', field: 'dport' },
};
/** What travels in the packet's priority has the type of one: ids of shapes and backends, and slots on their way to them. */
const PRIORITY: Part = {
  type: DATATYPE.classid,
  length: 4,
  bytes: 4,
  typeof: { kind: 'meta', key: 'priority' },
};
/** The modulus says nothing here: it only tells nft that the field is a number that numgen drew. */
const SLOT: Part = {
  type: DATATYPE.integer,
  length: 4,
  bytes: 4,
  typeof: { kind: 'numgen', type: 'random', modulus: 2 },
};

function keyOf(parts: readonly Part[]): Pick<SetDeclaration, 'keyType' | 'keyLength'> {
  return { keyType: concatType(...parts.map(({ type }) => type)), keyLength: lengthOf(parts) };
}

function lengthOf(parts: readonly Part[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

function plainSet(key: readonly Part[]): SetDeclaration {
  return {
    ...keyOf(key),
    isMap: false,
    flags: {},
    userdata: typeUserdata({ parts: key.length }),
  };
}

/** Each range is two elements, one that opens it and one that closes it. */
function intervalSet(key: Part): SetDeclaration {
  return { ...plainSet([key]), flags: { interval: true } };
}

/** Each range is one element, with a first and a last key. */
function rangeSet(key: readonly Part[]): SetDeclaration {
  return {
    ...plainSet(key),
    flags: { interval: true, concat: true },
    fieldLengths: key.map(({ bytes }) => bytes),
  };
}

function verdictMap(key: Part): SetDeclaration {
  return {
    ...keyOf([key]),
    isMap: true,
    dataType: DATATYPE.verdict,
    flags: {},
    userdata: typeUserdata({ parts: 1, isHostOrder: true, map: 'verdict' }),
  };
}

/** Each element counts the packets that found it: in a NAT chain, the connections. */
function counted(set: SetDeclaration): SetDeclaration {
  return { ...set, expressions: [{ kind: 'counter' }] };
}

function shapeMap(key: readonly Part[]): SetDeclaration {
  return {
    ...keyOf(key),
    isMap: true,
    dataType: PRIORITY.type,
    dataLength: PRIORITY.length,
    flags: {},
    userdata: typeUserdata({ parts: key.length, map: 'host order' }),
  };
}

function pickMap(key: readonly Part[]): SetDeclaration {
  return dataMap([...key, PRIORITY], [PRIORITY]);
}

/**
 * Most clients that one map remembers. The kernel makes room for the low 16 bits of this number beforehand
 * (rhashtable_params.nelem_hint): for none, and then for as many as there are.
 */
const MAX_CLIENTS = 2 ** 20;

/** Packets add to it; what they add goes by itself. */
function affinityMap(key: readonly Part[]): SetDeclaration {
  return { ...dataMap(key, [PRIORITY]), flags: { dynamic: true, timeout: true }, size: MAX_CLIENTS };
}

function dataMap(key: readonly Part[], data: readonly Part[]): SetDeclaration {
  return {
    ...keyOf(key),
    isMap: true,
    dataType: concatType(...data.map(({ type }) => type)),
    dataLength: lengthOf(data),
    flags: {},
    userdata: typeofUserdata({ key: key.map((part) => part.typeof), data: data.map((part) => part.typeof) }),
  };
}
