// What a rule says without `-m`: interfaces, protocol, addresses. iptables-nft 1.8.9 writes it in this order and loads the
// protocol by `meta l4proto`; 1.8.11 puts the addresses first and, for IPv4, loads the protocol field of the header.

import { InternalError } from '../../errors.ts';
import { type Ip, type IpFamily, packIp, unpackIp } from '../../model/ip.ts';
import type { Expression } from '../nftables/expression.ts';
import { applyMask, compare, loadMeta, loadPayload, type Test } from './expressions.ts';
import { comparisonOf, nameOf } from './interface-name.ts';
import { protocolName, protocolNumber } from './protocol.ts';
import type { AddressMatch, InterfaceMatch, IptablesRule } from './rule.ts';

/** Where the IP headers have what rules test (RFC 791, RFC 8200), in bytes. */
const FIELDS = {
  4: { addressLength: 4, source: 12, destination: 16, protocol: 9 },
  6: { addressLength: 16, source: 8, destination: 24, protocol: 6 },
} as const;

export type Header = Pick<
  IptablesRule,
  'source' | 'destination' | 'inInterface' | 'outInterface' | 'protocol'
>;

/** Appends the tests to `expressions`. */
export function encodeHeader(expressions: Expression[], rule: Header, family: IpFamily): void {
  const { source, destination, inInterface, outInterface, protocol } = rule;
  const fields = FIELDS[family];
  if (inInterface) encodeInterface(expressions, LOAD_IN, inInterface);
  if (outInterface) encodeInterface(expressions, LOAD_OUT, outInterface);
  if (protocol) {
    const number = String.fromCharCode(protocolNumber(protocol.name));
    expressions.push(LOAD_PROTOCOL, compare(protocol.isInverted ? 'neq' : 'eq', number));
  }
  if (source) encodeAddress(expressions, fields.source, source, family);
  if (destination) encodeAddress(expressions, fields.destination, destination, family);
}

const LOAD_IN = loadMeta('iifname');
const LOAD_OUT = loadMeta('oifname');
const LOAD_PROTOCOL = loadMeta('l4proto');

function encodeInterface(expressions: Expression[], load: Expression, match: InterfaceMatch): void {
  const { op, data } = comparisonOf(match.name, match.isInverted);
  expressions.push(load, compare(op, data));
}

/** A prefix of whole bytes loads only those; any other loads all and masks them. */
function encodeAddress(
  expressions: Expression[],
  offset: number,
  { cidr, isInverted }: AddressMatch,
  family: IpFamily,
): void {
  const { ip, prefix } = cidr;
  const size = FIELDS[family].addressLength;
  if (cidr.family !== family) throw new InternalError(`${ip} in a rule of IPv${family}`);
  if (prefix === 0 && !isInverted) return;
  const op = isInverted ? 'neq' : 'eq';
  const packed = packIp(ip);
  // iptables-nft 1.8.9 fails on `! -s 0.0.0.0/0`; this matches nothing, as it should, and is printed as it was meant.
  if (prefix % 8 === 0 && prefix > 0) {
    expressions.push(loadPayload('network', offset, prefix / 8), compare(op, packed.slice(0, prefix / 8)));
  } else {
    expressions.push(
      loadPayload('network', offset, size),
      applyMask(maskOf(prefix, size)),
      compare(op, packed),
    );
  }
}

function maskOf(prefix: number, size: number): string {
  const whole = prefix >> 3;
  if (whole === size) return '\xff'.repeat(size);
  const part = String.fromCharCode((0xff00 >> (prefix & 7)) & 0xff);
  return '\xff'.repeat(whole) + part + '\0'.repeat(size - whole - 1);
}

/** What a test says of the header; undefined if it is about something else, or nothing that iptables can say. */
export function decodeHeader(test: Test, family: IpFamily): Header | undefined {
  const { loaded, mask, op, from, to } = test;
  if (to !== undefined || (op !== 'eq' && op !== 'neq')) return undefined;
  const isInverted = op === 'neq';
  if ('key' in loaded) {
    if (mask !== undefined) return undefined;
    switch (loaded.key) {
      case 'iifname':
        return optional('inInterface', nameOf(op, from));
      case 'oifname':
        return optional('outInterface', nameOf(op, from));
      case 'l4proto':
        return decodeProtocol(from, isInverted);
      default:
        return undefined;
    }
  }
  if (loaded.base !== 'network') return undefined;
  const fields = FIELDS[family];
  switch (loaded.offset) {
    case fields.source:
      return optional('source', decodeAddress(from, mask, isInverted, family));
    case fields.destination:
      return optional('destination', decodeAddress(from, mask, isInverted, family));
    case fields.protocol:
      return mask === undefined ? decodeProtocol(from, isInverted) : undefined;
    default:
      return undefined;
  }
}

function optional<K extends keyof Header>(name: K, value: Header[K] | undefined): Header | undefined {
  return value && { [name]: value };
}

function decodeProtocol(data: string, isInverted: boolean): Header | undefined {
  if (data.length !== 1 || data === '\0') return undefined;
  return { protocol: { name: protocolName(data.charCodeAt(0)), isInverted } };
}

function decodeAddress(
  data: string,
  mask: string | undefined,
  isInverted: boolean,
  family: IpFamily,
): AddressMatch | undefined {
  const size = FIELDS[family].addressLength;
  if (data === '' || data.length > size || (mask !== undefined && mask.length !== size)) return undefined;
  const prefix = mask === undefined ? data.length * 8 : prefixOf(mask);
  if (prefix === undefined || (prefix === 0 && !isInverted)) return undefined;
  const packed = data + '\0'.repeat(size - data.length);
  // Bits beyond the mask would make a rule that never matches: not what a CIDR says.
  for (let bit = prefix; bit < size * 8; bit++) {
    if (packed.charCodeAt(bit >> 3) & (0x80 >> (bit & 7))) return undefined;
  }
  return { cidr: { ip: unpackIp(packed) as Ip, prefix, family }, isInverted };
}

/** undefined for a mask with gaps, such as 255.0.255.0. */
function prefixOf(mask: string): number | undefined {
  let prefix = 0;
  while (prefix < mask.length * 8 && mask.charCodeAt(prefix >> 3) & (0x80 >> (prefix & 7))) prefix++;
  return mask === maskOf(prefix, mask.length) ? prefix : undefined;
}
