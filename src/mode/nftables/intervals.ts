// CIDRs as the elements of an interval set: every range is an opening element and, unless it reaches the last
// address, a closing one just behind it. Overlapping and adjacent CIDRs are merged first, as the kernel's rbtree
// requires. Like nft, what lies before the first range is closed too, so that a table nft re-loads stays the same.

import { type Cidr, ipBytes } from '../../model/ip.ts';
import { INTERVAL_END } from './names.ts';

/** Element key → value ('' opens a range, INTERVAL_END closes one) for CIDRs of one family. */
export function intervalElements(cidrs: readonly Cidr[]): ReadonlyMap<string, string> {
  const ranges = cidrs.map(toRange).sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const elements = new Map<string, string>();
  let open: Range | undefined;
  if (ranges[0] !== undefined && ranges[0].first > 0n) {
    elements.set(packAddress(0n, ranges[0].bits), INTERVAL_END);
  }
  const close = (): void => {
    if (open === undefined) return;
    elements.set(packAddress(open.first, open.bits), '');
    if (open.end < 1n << BigInt(open.bits)) elements.set(packAddress(open.end, open.bits), INTERVAL_END);
  };
  for (const range of ranges) {
    if (open !== undefined && range.first <= open.end) {
      if (range.end > open.end) open = { ...open, end: range.end };
      continue;
    }
    close();
    open = range;
  }
  close();
  return elements;
}

interface Range {
  readonly first: bigint;
  /** One past the last address. */
  readonly end: bigint;
  readonly bits: number;
}

function toRange(cidr: Cidr): Range {
  const bits = cidr.family === 4 ? 32 : 128;
  let first = 0n;
  for (const byte of ipBytes(cidr.ip)) first = (first << 8n) | BigInt(byte);
  return { first, end: first + (1n << BigInt(bits - cidr.prefix)), bits };
}

function packAddress(address: bigint, bits: number): string {
  let packed = '';
  for (let shift = bits - 8; shift >= 0; shift -= 8) {
    packed += String.fromCharCode(Number((address >> BigInt(shift)) & 0xffn));
  }
  return packed;
}
