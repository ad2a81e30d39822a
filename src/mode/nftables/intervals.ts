// CIDRs as the elements of an interval set: every range is an opening element and, unless it reaches the last
// address, a closing one just behind it. Overlapping and adjacent CIDRs are merged first, as the kernel's rbtree
// requires. Like nft, what lies before the first range is closed too, so that a table nft re-loads stays the same.

import { type Cidr, type IpFamily, ipBytes } from '../../model/ip.ts';
import type { ElementChange } from './element-change.ts';
import { type IntervalSet, intervalEndAddress, intervalEndKey } from './names.ts';

/** Element key → '', for CIDRs of one family; the keys of those that close a range are told by `intervalEndAddress`. */
export function intervalElements(cidrs: readonly Cidr[]): IntervalElements {
  const ranges = cidrs.map(toRange).sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const elements = new Map<string, string>();
  let open: Range | undefined;
  if (ranges[0] !== undefined && ranges[0].first > 0n) {
    elements.set(intervalEndKey(packAddress(0n, ranges[0].bits)), '');
  }
  const close = (): void => {
    if (open === undefined) return;
    elements.set(packAddress(open.first, open.bits), '');
    if (open.end < 1n << BigInt(open.bits))
      elements.set(intervalEndKey(packAddress(open.end, open.bits)), '');
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

/** Element key → value, as `intervalElements` has it. */
export type IntervalElements = ReadonlyMap<string, string>;

/**
 * What makes one set of intervals the other. The kernel (nft_set_rbtree.c) takes an interval as a pair, its start and right
 * after it its end, in deletions as in additions, and may refuse one without the other: so both are written anew where one
 * differs, in the order of addresses. As it refuses what overlaps, all changes of a set belong together.
 */
export function intervalChanges(
  family: IpFamily,
  set: IntervalSet,
  before: IntervalElements,
  after: IntervalElements,
): ElementChange[] {
  const [intervalsBefore, intervalsAfter] = [intervalsOf(before), intervalsOf(after)];
  return inOrder([...new Set([...before.keys(), ...after.keys()])])
    .filter((key) => intervalsBefore.get(key) !== intervalsAfter.get(key))
    .map((key) => ({
      family,
      set,
      key,
      before: before.get(key),
      after: after.get(key),
      service: undefined,
      together: `${family}${set}`,
    }));
}

/** Element key → the interval that it opens or closes; an end that closes nothing stands for itself. */
function intervalsOf(elements: IntervalElements): ReadonlyMap<string, string> {
  const intervals = new Map<string, string>();
  let open: string | undefined;
  for (const key of inOrder([...elements.keys()])) {
    const isEnd = intervalEndAddress(key) !== undefined;
    if (isEnd && open !== undefined) intervals.set(open, `${open} to ${key}`);
    intervals.set(key, isEnd && open !== undefined ? `${open} to ${key}` : key);
    open = isEnd ? undefined : key;
  }
  return intervals;
}

/** By address; at one address an end before a start. */
function inOrder(keys: readonly string[]): readonly string[] {
  const rank = (key: string): string => {
    const end = intervalEndAddress(key);
    return end === undefined ? `${key}1` : `${end}0`;
  };
  return [...keys].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
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
