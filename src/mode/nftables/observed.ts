// The table as the kernel was seen to hold it: what dumps decode to, per family.

import type { IpFamily } from '../../model/ip.ts';
import type { ChainBase } from '../../netlink/nftables/chain.ts';
import type { Counter, Element } from '../../netlink/nftables/element.ts';
import type { Expression } from '../../netlink/nftables/expression.ts';
import type { SetDeclaration } from '../../netlink/nftables/set.ts';
import {
  intervalEndKey,
  isIntervalSet,
  SERVICE_SETS,
  SETS,
  type SetName,
  SHAPE_SETS,
  serviceValue,
} from './names.ts';
import { slotKey } from './planned-frontend.ts';

export interface ObservedChain {
  readonly base: ChainBase | undefined;
  /** The expressions of each rule. */
  readonly rules: readonly (readonly Expression[])[];
}

/** One family's table. */
export interface ObservedTable {
  /** Switched off as a whole: its chains see no packets. */
  readonly isDormant: boolean;
  readonly sets: ReadonlyMap<string, SetDeclaration>;
  readonly chains: ReadonlyMap<string, ObservedChain>;
  /** Element value per key, per set of ours. */
  readonly elements: ReadonlyMap<SetName, Map<string, string>>;
  /** Counters per key, per set that counts: in NAT chains, packets are connections. */
  readonly counters: ReadonlyMap<SetName, ReadonlyMap<string, Counter>>;
}

/** Families without a table of ours are missing. */
export type Observed = ReadonlyMap<IpFamily, ObservedTable>;

/** The key of a decoded element as the diff knows it. */
export function observedKey(set: SetName, { key, isIntervalEnd = false }: Element): string {
  return isIntervalSet(set) && isIntervalEnd ? intervalEndKey(key) : key;
}

/**
 * The value of a decoded element as the diff compares it. A verdict that only somebody else can have written gets a value
 * that no plan produces, so that it is replaced.
 */
export function observedValue(set: SetName, element: Element): string {
  if (set === 'source-ranges') return element.keyEnd ?? element.key;
  const { data = '', verdict, comment = '' } = element;
  if (SERVICE_SETS.has(set)) return serviceValue(data, comment);
  if (SHAPE_SETS.has(set)) return verdict?.kind === 'goto' ? verdict.chain : `${verdict?.kind}`;
  return data;
}

/** The slots a frontend has in the kernel, from slot 0 up to the first gap. */
export function observedSlots(table: ObservedTable | undefined, set: SetName, frontendKey: string): string[] {
  const elements = table?.elements.get(set);
  const slots: string[] = [];
  for (;;) {
    const data = elements?.get(slotKey(frontendKey, slots.length));
    if (data === undefined) return slots;
    slots.push(data);
  }
}

/** An empty element table. */
export function noElements(): Map<SetName, Map<string, string>> {
  return new Map(SETS.map((set) => [set, new Map<string, string>()]));
}
