// Matches as xt structs (linux/netfilter/xt_*.h), one table for both directions. What iptables-nft writes in expressions
// of nf_tables instead is in native.ts; those of its matches stand here that older versions wrote as structs.

import type { IpFamily } from '../../model/ip.ts';
import type { MatchExpression } from './expressions.ts';
import { interfaceMask } from './interface-name.ts';
import {
  ADDRESS_TYPES,
  type AddressTypes,
  CONNTRACK_STATES,
  type ConntrackState,
  type InterfaceMatch,
  type Match,
  type PortRange,
} from './rule.ts';
import { bytes, gap, text, u8, u16, u32, unused, type XtStruct, xtStruct } from './xt-struct.ts';

type MatchOf<Kind extends Match['kind']> = Extract<Match, { readonly kind: Kind }>;

/** How one revision of a match is written and read. `read` gives undefined where `Match` has no words. */
interface Extension<Kind extends Match['kind'], T> {
  readonly kind: Kind;
  readonly name: string;
  readonly revision: number;
  readonly struct: XtStruct<T>;
  readonly write: (match: MatchOf<Kind>) => T;
  readonly read: (fields: T, family: IpFamily) => MatchOf<Kind> | undefined;
}

/** Ties the types of one table entry together, then forgets that of the struct. */
function extension<Kind extends Match['kind'], T>(entry: Extension<Kind, T>) {
  const { kind, name, revision, struct, write, read } = entry;
  return {
    kind,
    name,
    revision,
    write: (match: Match): MatchExpression => ({
      kind: 'match',
      name,
      revision,
      info: struct.encode(write(match as MatchOf<Kind>)),
    }),
    read: (info: string, family: IpFamily): Match | undefined => {
      const fields = struct.decode(info);
      return fields && read(fields, family);
    },
  };
}

/** The bits of all `names` together. */
function toBits<Name extends string>(names: readonly Name[], bitOf: (name: Name) => number): number {
  return names.reduce((bits, name) => bits | bitOf(name), 0);
}

const comment = extension({
  kind: 'comment',
  name: 'comment',
  revision: 0,
  struct: xtStruct({ text: text(256) }),
  write: (match) => match,
  read: ({ text: value }) => ({ kind: 'comment', text: value }),
});

const XT_ADDRTYPE_INVERT_SOURCE = 1;
const XT_ADDRTYPE_INVERT_DEST = 2;

const typeBits = (side: AddressTypes | undefined): number =>
  toBits(side?.types ?? [], (type) => 1 << ADDRESS_TYPES.indexOf(type));

function addressTypes(bits: number, isInverted: boolean): AddressTypes {
  return { types: ADDRESS_TYPES.filter((_, bit) => (bits & (1 << bit)) !== 0), isInverted };
}

const addrtype = extension({
  kind: 'addrtype',
  name: 'addrtype',
  revision: 1,
  struct: xtStruct({ source: u16, destination: u16, flags: u32 }),
  write: ({ source, destination }) => ({
    source: typeBits(source),
    destination: typeBits(destination),
    flags:
      (source?.isInverted ? XT_ADDRTYPE_INVERT_SOURCE : 0) |
      (destination?.isInverted ? XT_ADDRTYPE_INVERT_DEST : 0),
  }),
  read({ source, destination, flags }) {
    const isKnown =
      (source | destination) < 1 << ADDRESS_TYPES.length &&
      (flags & ~(XT_ADDRTYPE_INVERT_SOURCE | XT_ADDRTYPE_INVERT_DEST)) === 0;
    if (!isKnown) return undefined;
    return {
      kind: 'addrtype',
      ...(source !== 0 && { source: addressTypes(source, (flags & XT_ADDRTYPE_INVERT_SOURCE) !== 0) }),
      ...(destination !== 0 && {
        destination: addressTypes(destination, (flags & XT_ADDRTYPE_INVERT_DEST) !== 0),
      }),
    };
  },
});

const XT_CONNTRACK_STATE = 1;
/** XT_CONNTRACK_STATE_BIT of enum ip_conntrack_info, and the flags beside them. */
const STATE_BITS: Readonly<Record<ConntrackState, number>> = {
  INVALID: 1,
  ESTABLISHED: 2,
  RELATED: 4,
  NEW: 8,
  SNAT: 64,
  DNAT: 128,
  UNTRACKED: 256,
};
const ALL_STATES = toBits(CONNTRACK_STATES, (state) => STATE_BITS[state]);

/** xt_conntrack_mtinfo3 */
const conntrack = extension({
  kind: 'conntrack',
  name: 'conntrack',
  revision: 3,
  struct: xtStruct({
    addressesExpiryProtocolPorts: unused(146),
    matchFlags: u16,
    invertFlags: u16,
    stateMask: u16,
    statusMask: unused(2),
    highPorts: unused(8),
    padding: gap(6),
  }),
  write: ({ states, isInverted }) => ({
    matchFlags: XT_CONNTRACK_STATE,
    invertFlags: isInverted ? XT_CONNTRACK_STATE : 0,
    stateMask: toBits(states, (state) => STATE_BITS[state]),
  }),
  read({ matchFlags, invertFlags, stateMask }) {
    // `-m state` sets one more flag.
    const isKnown =
      matchFlags === XT_CONNTRACK_STATE &&
      invertFlags <= XT_CONNTRACK_STATE &&
      (stateMask & ~ALL_STATES) === 0;
    if (!isKnown) return undefined;
    const states = CONNTRACK_STATES.filter((state) => (stateMask & STATE_BITS[state]) !== 0);
    return { kind: 'conntrack', states, isInverted: invertFlags !== 0 };
  },
});

/** XT_STATISTIC_MODE_RANDOM is 0. The random mode uses one number of the union; iptables leaves garbage in the others. */
const statistic = extension({
  kind: 'statistic',
  name: 'statistic',
  revision: 0,
  struct: xtStruct({ mode: unused(2), flags: u16, probability: u32, restOfUnion: gap(8), master: gap(8) }),
  write: ({ probability, isInverted }) => ({ probability, flags: isInverted ? 1 : 0 }),
  read: ({ probability, flags }) =>
    flags > 1 ? undefined : { kind: 'statistic', probability, isInverted: flags === 1 },
});

/** XT_RECENT_CHECK and so on. */
const RECENT_OPERATIONS = { rcheck: 1, set: 2, update: 4, remove: 8 } as const;
const XT_RECENT_REAP = 32;
const WHOLE_ADDRESS = '\xff'.repeat(16);

/** xt_recent_mtinfo_v1 */
const recent = extension({
  kind: 'recent',
  name: 'recent',
  revision: 1,
  struct: xtStruct({
    seconds: u32,
    hitCount: unused(4),
    checkSet: u8,
    invert: unused(1),
    name: text(200),
    side: u8,
    alignment: gap(1),
    mask: bytes(16),
    padding: gap(4),
  }),
  write: ({ operation, name, seconds, isReaping, side }) => ({
    seconds,
    checkSet: RECENT_OPERATIONS[operation] | (isReaping ? XT_RECENT_REAP : 0),
    name,
    side: side === 'source' ? 0 : 1,
    mask: WHOLE_ADDRESS,
  }),
  read({ seconds, checkSet, name, side, mask }, family) {
    const operation = (Object.keys(RECENT_OPERATIONS) as (keyof typeof RECENT_OPERATIONS)[]).find(
      (one) => RECENT_OPERATIONS[one] === (checkSet & ~XT_RECENT_REAP),
    );
    // An IPv4 mask that was spelled out has zeros after its 4 bytes, the default has not.
    const isWhole = mask.startsWith(WHOLE_ADDRESS.slice(0, family === 4 ? 4 : 16));
    if (operation === undefined || side > 1 || !isWhole) return undefined;
    return {
      kind: 'recent',
      operation,
      name,
      seconds,
      isReaping: (checkSet & XT_RECENT_REAP) !== 0,
      side: side === 0 ? 'source' : 'destination',
    };
  },
});

/** xt_nfacct_match_info_v1 */
const nfacct = extension({
  kind: 'nfacct',
  name: 'nfacct',
  revision: 1,
  struct: xtStruct({ name: text(32), counter: gap(8) }),
  write: (match) => match,
  read: ({ name }) => ({ kind: 'nfacct', name }),
});

/** XT_PHYSDEV_OP_* */
const PHYSDEV = { in: 1, out: 2, isBridged: 4, isIn: 8, isOut: 16 } as const;
const IFNAMSIZ = 16;

const physdev = extension({
  kind: 'physdev',
  name: 'physdev',
  revision: 0,
  struct: xtStruct({
    inName: text(IFNAMSIZ),
    inMask: bytes(IFNAMSIZ),
    outName: text(IFNAMSIZ),
    outMask: bytes(IFNAMSIZ),
    invert: u8,
    bitmask: u8,
    padding: gap(6),
  }),
  write({ inInterface, outInterface, isIn, isOut, isBridged }) {
    const asked: readonly (readonly [number, boolean | undefined])[] = [
      [PHYSDEV.in, inInterface && !inInterface.isInverted],
      [PHYSDEV.out, outInterface && !outInterface.isInverted],
      [PHYSDEV.isBridged, isBridged],
      [PHYSDEV.isIn, isIn],
      [PHYSDEV.isOut, isOut],
    ];
    return {
      inName: inInterface?.name ?? '',
      inMask: interfaceMask(inInterface?.name ?? ''),
      outName: outInterface?.name ?? '',
      outMask: interfaceMask(outInterface?.name ?? ''),
      invert: asked.reduce((bits, [bit, wanted]) => bits | (wanted === false ? bit : 0), 0),
      bitmask: asked.reduce((bits, [bit, wanted]) => bits | (wanted === undefined ? 0 : bit), 0),
    };
  },
  read({ inName, inMask, outName, outMask, invert, bitmask }) {
    const wanted = (bit: number) => (bitmask & bit ? (invert & bit) === 0 : undefined);
    const isKnown = inMask === interfaceMask(inName) && outMask === interfaceMask(outName) && bitmask < 32;
    if (!isKnown) return undefined;
    const interfaceOf = (name: string, bit: number): InterfaceMatch | undefined =>
      bitmask & bit ? { name, isInverted: (invert & bit) !== 0 } : undefined;
    return defined<'physdev'>({
      kind: 'physdev',
      inInterface: interfaceOf(inName, PHYSDEV.in),
      outInterface: interfaceOf(outName, PHYSDEV.out),
      isIn: wanted(PHYSDEV.isIn),
      isOut: wanted(PHYSDEV.isOut),
      isBridged: wanted(PHYSDEV.isBridged),
    });
  },
});

/** xt_mark_mtinfo1: iptables-nft wrote it before 1.8.9 did so natively. */
const mark = extension({
  kind: 'mark',
  name: 'mark',
  revision: 1,
  struct: xtStruct({ value: u32, mask: u32, invert: u8, padding: gap(7) }),
  write: ({ value, mask, isInverted }) => ({ value, mask, invert: isInverted ? 1 : 0 }),
  read: ({ value, mask, invert }) => ({ kind: 'mark', value, mask, isInverted: invert !== 0 }),
});

/** The last one: from 0 to it is the range of a side that was not given. */
const ALL_PORTS = 0xffff;
const SOURCE = 1;
const DESTINATION = 2;

const invertedSides = ({ sourcePorts, destinationPorts }: MatchOf<'ports'>): number =>
  (sourcePorts?.isInverted ? SOURCE : 0) | (destinationPorts?.isInverted ? DESTINATION : 0);

function portRange(first: number, last: number, isInverted: boolean): PortRange | undefined {
  return first === 0 && last === ALL_PORTS && !isInverted ? undefined : { first, last, isInverted };
}

const portFields = {
  sourceFirst: u16,
  sourceLast: u16,
  destinationFirst: u16,
  destinationLast: u16,
} as const;

/** xt_tcp and xt_udp, which differ in their size alone as far as ports go. */
function tcpOrUdp(name: 'tcp' | 'udp', unusedBytes: number) {
  return extension({
    kind: 'ports',
    name,
    revision: 0,
    struct: xtStruct({
      ...portFields,
      optionAndFlags: unused(unusedBytes),
      inverted: u8,
      padding: gap(7 - unusedBytes),
    }),
    write: (match) => ({
      sourceFirst: match.sourcePorts?.first ?? 0,
      sourceLast: match.sourcePorts?.last ?? ALL_PORTS,
      destinationFirst: match.destinationPorts?.first ?? 0,
      destinationLast: match.destinationPorts?.last ?? ALL_PORTS,
      inverted: invertedSides(match),
    }),
    read({ sourceFirst, sourceLast, destinationFirst, destinationLast, inverted }) {
      if (inverted > (SOURCE | DESTINATION)) return undefined;
      return defined<'ports'>({
        kind: 'ports',
        sourcePorts: portRange(sourceFirst, sourceLast, (inverted & SOURCE) !== 0),
        destinationPorts: portRange(destinationFirst, destinationLast, (inverted & DESTINATION) !== 0),
      });
    },
  });
}

/** The four chunk types for which flags could be given: none, as iptables says it. */
const NO_CHUNK_FLAGS = '\xff\0\0'.repeat(4);

/** `flags`: which sides count, and in bit 4 the chunk types. */
const sctp = extension({
  kind: 'ports',
  name: 'sctp',
  revision: 0,
  struct: xtStruct({
    destinationFirst: u16,
    destinationLast: u16,
    sourceFirst: u16,
    sourceLast: u16,
    chunkMapAndType: gap(260),
    chunkFlags: bytes(12),
    chunkFlagCount: gap(4),
    flags: u32,
    inverted: u32,
    padding: gap(4),
  }),
  write: (match) => ({
    destinationFirst: match.destinationPorts?.first ?? 0,
    destinationLast: match.destinationPorts?.last ?? 0,
    sourceFirst: match.sourcePorts?.first ?? 0,
    sourceLast: match.sourcePorts?.last ?? 0,
    chunkFlags: NO_CHUNK_FLAGS,
    flags: (match.sourcePorts ? SOURCE : 0) | (match.destinationPorts ? DESTINATION : 0),
    inverted: invertedSides(match),
  }),
  read({ sourceFirst, sourceLast, destinationFirst, destinationLast, flags, inverted }) {
    if (flags > (SOURCE | DESTINATION) || (inverted & ~flags) !== 0) return undefined;
    const range = (side: number, first: number, last: number) =>
      flags & side ? portRange(first, last, (inverted & side) !== 0) : undefined;
    return defined<'ports'>({
      kind: 'ports',
      sourcePorts: range(SOURCE, sourceFirst, sourceLast),
      destinationPorts: range(DESTINATION, destinationFirst, destinationLast),
    });
  },
});

/** The object less its fields that are undefined. */
function defined<Kind extends Match['kind']>(
  fields: { readonly [K in keyof MatchOf<Kind>]: MatchOf<Kind>[K] | undefined } & { readonly kind: Kind },
): MatchOf<Kind> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}

/** How each kind is written, if not natively. */
const WRITERS = { comment, addrtype, conntrack, statistic, recent, nfacct, physdev } as const;
const PORTS = { tcp: tcpOrUdp('tcp', 3), udp: tcpOrUdp('udp', 0), sctp } as const;

const READERS = new Map(
  [...Object.values(WRITERS), ...Object.values(PORTS), mark].map((one) => [
    `${one.name} ${one.revision}`,
    one,
  ]),
);

/** `ports` needs the protocol, which is to be one that has ports. */
export type XtMatch = Extract<Match, { readonly kind: keyof typeof WRITERS }>;

export function encodeXtMatch(match: XtMatch): MatchExpression {
  return WRITERS[match.kind].write(match);
}

export type PortProtocol = keyof typeof PORTS;

export function encodeXtPorts(protocol: PortProtocol, match: MatchOf<'ports'>): MatchExpression {
  return PORTS[protocol].write(match);
}

/** undefined for what `Match` has no words for; `protocol` is that of the rule, if it has one that is not inverted. */
export function decodeXtMatch(
  expression: MatchExpression,
  protocol: string | undefined,
  family: IpFamily,
): Match | undefined {
  const { name, revision, info } = expression;
  const reader = READERS.get(`${name} ${revision}`);
  if (reader === undefined || (reader.kind === 'ports' && name !== protocol)) return undefined;
  return reader.read(info, family);
}
