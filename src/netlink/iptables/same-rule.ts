// Whether a rule of a dump is the one that a request would make, told by their bytes: of nearly all rules of a large cluster
// nobody wants to know more, and to read them would cost twice as much.

import type { IpFamily } from '../../model/ip.ts';
import { listOf } from '../attribute.ts';
import type { NetlinkMessage } from '../message.ts';
import { expression } from '../nftables/expression.ts';
import * as nft from '../nftables/uapi.ts';
import { align4, isHostLittleEndian, Writer } from '../writer.ts';
import { encodeIptablesRule } from './codec.ts';
import type { IptablesRule } from './rule.ts';

/** NLA_F_NESTED: requests have it, dumps of nf_tables do not. */
const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;
const HEADER_LENGTH = 4;
/** struct nfgenmsg. */
const FAMILY_LENGTH = 4;

const expressions = listOf(nft.NFTA_LIST_ELEM, expression);
// Used again for each rule: there are hundreds of thousands of them at once.
const writer = new Writer();

/**
 * True only if the message, of a dump of rules, is of this rule, whatever was counted. False proves nothing: a rule may be
 * written in another way, by another program or for another kernel.
 */
export function isRuleOf(message: NetlinkMessage, rule: IptablesRule, family: IpFamily): boolean {
  const bytes = message.payload;
  const held = expressionsOf(bytes);
  if (held === undefined) return false;
  writer.truncate(0);
  expressions.encode(writer, encodeIptablesRule(rule, family).expressions);
  return new Comparison(writer.bytes(), bytes).hasSame(0, writer.length, held.start, held.end, isSameElement);
}

interface Extent {
  readonly start: number;
  readonly end: number;
}

/** Undefined for a rule that has something besides, such as a comment of nft's. */
function expressionsOf(bytes: Uint8Array): Extent | undefined {
  let held: Extent | undefined;
  for (let at = FAMILY_LENGTH; at + HEADER_LENGTH <= bytes.length; ) {
    const length = u16(bytes, at);
    const type = u16(bytes, at + 2) & TYPE_MASK;
    if (length < HEADER_LENGTH || at + length > bytes.length) return undefined;
    if (type === nft.NFTA_RULE_EXPRESSIONS) held = { start: at + HEADER_LENGTH, end: at + length };
    else if (type === nft.NFTA_RULE_USERDATA) return undefined;
    at += align4(length);
  }
  return held;
}

/** Whether attributes of the same type, from offset to offset, mean the same. */
type IsSame = (
  comparison: Comparison,
  from: number,
  end: number,
  heldFrom: number,
  heldEnd: number,
) => boolean;

class Comparison {
  readonly wanted: Uint8Array;
  readonly held: Uint8Array;

  constructor(wanted: Uint8Array, held: Uint8Array) {
    this.wanted = wanted;
    this.held = held;
  }

  /** Whether both have the same attributes in the same order; `mayAdd` is a type that is held where it is not wanted. */
  hasSame(
    from: number,
    end: number,
    heldFrom: number,
    heldEnd: number,
    isSame: IsSame,
    mayAdd?: number,
  ): boolean {
    const { wanted, held } = this;
    let [at, heldAt] = [from, heldFrom];
    while (heldAt < heldEnd) {
      const heldLength = u16(held, heldAt);
      if (heldLength < HEADER_LENGTH || heldAt + heldLength > heldEnd) return false;
      const type = u16(held, heldAt + 2) & TYPE_MASK;
      if (at < end && (u16(wanted, at + 2) & TYPE_MASK) === type) {
        const length = u16(wanted, at);
        if (!isSame(this, at, at + length, heldAt, heldAt + heldLength)) return false;
        at += align4(length);
      } else if (type !== mayAdd || !this.#isZero(heldAt + HEADER_LENGTH, heldAt + heldLength)) return false;
      heldAt += align4(heldLength);
    }
    return at >= end;
  }

  hasSameBytes(from: number, end: number, heldFrom: number, heldEnd: number): boolean {
    if (end - from !== heldEnd - heldFrom) return false;
    const { wanted, held } = this;
    for (let i = 0; i < end - from; i++) if (wanted[from + i] !== held[heldFrom + i]) return false;
    return true;
  }

  #isZero(from: number, end: number): boolean {
    for (let i = from; i < end; i++) if (this.held[i] !== 0) return false;
    return true;
  }
}

/** Of values, and of attributes with attributes in them. */
const isSameAttribute: IsSame = (comparison, from, end, heldFrom, heldEnd) => {
  const [start, heldStart] = [from + HEADER_LENGTH, heldFrom + HEADER_LENGTH];
  return (u16(comparison.wanted, from + 2) & NESTED) === 0
    ? comparison.hasSameBytes(start, end, heldStart, heldEnd)
    : comparison.hasSame(start, end, heldStart, heldEnd, isSameAttribute);
};

/** Of expressions: a name, then what belongs to it. */
const isSameElement: IsSame = (comparison, from, end, heldFrom, heldEnd) => {
  const { wanted, held } = comparison;
  const [name, heldName] = [from + HEADER_LENGTH, heldFrom + HEADER_LENGTH];
  const [data, heldData] = [name + align4(u16(wanted, name)), heldName + align4(u16(held, heldName))];
  // A name has no flags: both begin with the same header, and end where the data begins.
  if (!comparison.hasSameBytes(name, data, heldName, heldData)) return false;
  if (isNamed(wanted, name, COUNTER)) {
    return heldData >= heldEnd || (u16(held, heldData + 2) & TYPE_MASK) === nft.NFTA_EXPR_DATA;
  }
  // Newer kernels say of bit operations that they are boolean.
  if (!isNamed(wanted, name, BITWISE)) {
    return comparison.hasSame(data, end, heldData, heldEnd, isSameAttribute);
  }
  const isSameBitwise: IsSame = (_, ...[at, till, heldAt, heldTill]) =>
    comparison.hasSame(
      at + HEADER_LENGTH,
      till,
      heldAt + HEADER_LENGTH,
      heldTill,
      isSameAttribute,
      nft.NFTA_BITWISE_OP,
    );
  return comparison.hasSame(data, end, heldData, heldEnd, isSameBitwise);
};

const COUNTER = Buffer.from('counter\0');
const BITWISE = Buffer.from('bitwise\0');

function isNamed(bytes: Uint8Array, at: number, name: Uint8Array): boolean {
  if (u16(bytes, at) !== HEADER_LENGTH + name.length) return false;
  for (let i = 0; i < name.length; i++) if (bytes[at + HEADER_LENGTH + i] !== name[i]) return false;
  return true;
}

function u16(bytes: Uint8Array, at: number): number {
  return isHostLittleEndian ? bytes[at]! | (bytes[at + 1]! << 8) : (bytes[at]! << 8) | bytes[at + 1]!;
}
