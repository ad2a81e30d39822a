// A transaction as a plain value: requests that one sendmsg carries, and for each what it was made of, so that a
// refusal of the kernel is told in terms of the Service it hit.

import type { NftRequest } from '../../netlink/nftables/batch.ts';
import type { Element } from '../../netlink/nftables/element.ts';
import { type ElementChange, groupBySet, isCounted } from './element-change.ts';
import {
  intervalEndAddress,
  isIntervalSet,
  SERVICE_SETS,
  SHAPE_SETS,
  serviceValueParts,
  tablePlace,
} from './names.ts';

export interface Transaction {
  readonly requests: readonly NftRequest[];
  /** Per request: the element changes it carries in order of its elements; empty for other requests. */
  readonly changes: readonly (readonly ElementChange[])[];
}

const NO_CHANGES: readonly ElementChange[] = [];

/** Wire bytes of an element beyond its key, value and comment: headers, padding, flags (measured, rounded up). */
const ELEMENT_OVERHEAD_BYTES = 40;

/** A counter expression with both its numbers, and its attribute headers. */
const COUNTER_BYTES = 48;

/** Requests that are not elements: tables, sets, chains, rules. */
export function structureTransaction(requests: readonly NftRequest[]): Transaction {
  return { requests, changes: requests.map(() => NO_CHANGES) };
}

/** Deletions before additions, so that a replaced element is gone before it is added anew. */
export function elementTransaction(changes: readonly ElementChange[], table: string): Transaction {
  const requests: NftRequest[] = [];
  const origins: (readonly ElementChange[])[] = [];
  const add = (op: 'addElements' | 'deleteElements', group: readonly ElementChange[]): void => {
    const { family, set } = group[0]!;
    const elements = group.map((change) => toElement(change, op === 'addElements'));
    requests.push({ op, ...tablePlace(family, table), set, elements });
    origins.push(group);
  };
  for (const group of groupBySet(changes.filter(({ before }) => before !== undefined)))
    add('deleteElements', group);
  for (const group of groupBySet(changes.filter(({ after }) => after !== undefined)))
    add('addElements', group);
  return { requests, changes: origins };
}

/** Both, in order. */
export function joinTransactions(...parts: readonly Transaction[]): Transaction {
  return {
    requests: parts.flatMap(({ requests }) => requests),
    changes: parts.flatMap(({ changes }) => changes),
  };
}

/**
 * Two transactions in place of one, to be committed in order: the structure and its elements, or half of the structure
 * each; a chain that is flushed gets its rules in the same one. Elements alone are not split, since what replaces an element
 * must stay with its deletion: undefined.
 */
export function splitTransaction({ requests, changes }: Transaction): [Transaction, Transaction] | undefined {
  const structureCount = changes.findIndex((carried) => carried.length > 0);
  const at = structureCount < 0 ? middle(requests) : structureCount;
  if (at === 0) return undefined;
  return [
    { requests: requests.slice(0, at), changes: changes.slice(0, at) },
    { requests: requests.slice(at), changes: changes.slice(at) },
  ];
}

/** The place nearest to the middle that lies inside no chain; 0 when there is none. */
function middle(requests: readonly NftRequest[]): number {
  const half = requests.length / 2;
  let best = 0;
  for (let at = 1; at < requests.length; at++) {
    const isInside = isSameChain(requests[at - 1]!, requests[at]!);
    if (!isInside && Math.abs(at - half) < Math.abs(best - half)) best = at;
  }
  return best;
}

function isSameChain(a: NftRequest, b: NftRequest): boolean {
  return 'chain' in a && 'chain' in b && a.chain === b.chain && a.family === b.family;
}

/** About how many bytes a change takes in a message: never less than it does. */
export function estimateBytes(change: ElementChange): number {
  const { key, before, after } = change;
  const keyCount = change.set === 'source-ranges' ? 2 : 1;
  const one = ELEMENT_OVERHEAD_BYTES + keyCount * key.length;
  const counter = isCounted(change) ? COUNTER_BYTES : 0;
  return (before === undefined ? 0 : one) + (after === undefined ? 0 : one + 24 + after.length + counter);
}

/**
 * Cuts a stream of changes into runs of at most `limitBytes` each (at least one change each). What belongs together stays
 * together, as long as it fits.
 */
export function* chunkChanges(
  changes: Iterable<ElementChange>,
  limitBytes: number,
): Generator<ElementChange[]> {
  let chunk: ElementChange[] = [];
  let bytes = 0;
  /** Where in the chunk that begins which `change` belongs to. */
  let start = 0;
  for (const change of changes) {
    const size = estimateBytes(change);
    if (change.together === undefined || change.together !== chunk.at(-1)?.together) start = chunk.length;
    while (chunk.length > 0 && bytes + size > limitBytes) {
      const end = start > 0 ? start : chunk.length;
      yield chunk.slice(0, end);
      chunk = chunk.slice(end);
      bytes = chunk.reduce((sum, one) => sum + estimateBytes(one), 0);
      start = 0;
    }
    chunk.push(change);
    bytes += size;
  }
  if (chunk.length > 0) yield chunk;
}

/** Objects written or deleted: a replaced element counts once. */
export function countWrites({ requests, changes }: Transaction): number {
  const elements = new Set(changes.flat());
  return elements.size + requests.filter((_, i) => changes[i]!.length === 0).length;
}

/** An element as the codec writes it; a deletion names the key alone (and, of an interval, which end it is). */
function toElement({ set, key, before, after, counter }: ElementChange, isAddition: boolean): Element {
  const value = (isAddition ? after : before)!;
  if (isIntervalSet(set)) {
    const end = intervalEndAddress(key);
    return end === undefined ? { key } : { key: end, isIntervalEnd: true };
  }
  if (set === 'source-ranges') return { key, keyEnd: value };
  if (!isAddition || value === '') return { key };
  if (SHAPE_SETS.has(set)) return { key, verdict: { kind: 'goto', chain: value } };
  if (SERVICE_SETS.has(set)) {
    const { shapeId, comment } = serviceValueParts(value);
    const element: Element = { key, data: shapeId, comment };
    return counter === undefined ? element : { ...element, counter };
  }
  return { key, data: value };
}
