// The table as the kernel was seen to hold it: what dumps decode to, per family.

import type { IpFamily } from '../../model/ip.ts';
import type { ChainBase } from '../../netlink/nftables/chain.ts';
import type { Counter, Element } from '../../netlink/nftables/element.ts';
import type { Expression } from '../../netlink/nftables/expression.ts';
import type { SetDeclaration } from '../../netlink/nftables/set.ts';
import { type BackendIds, isBackendId } from './backend-ids.ts';
import {
  intervalEndKey,
  isIntervalSet,
  SERVICE_SETS,
  SETS,
  type SetName,
  SHAPE_SETS,
  serviceValue,
} from './names.ts';
import { endpointSet, type Previous, pickedSet, pickSet, shapeSet, slotKey } from './planned-frontend.ts';
import { balancingShapeOf, type Keying, type Shape, shapeOfId } from './shape.ts';

export interface ObservedChain {
  readonly base: ChainBase | undefined;
  /** The expressions of each rule. */
  readonly rules: readonly (readonly Expression[])[];
}

/** One family's table. */
export interface ObservedTable {
  /** Switched off as a whole: its chains see no packets. */
  readonly isDormant: boolean;
  /** It stays when its owner goes. */
  readonly isPersistent: boolean;
  /** Netlink port of the socket that alone may change it. */
  readonly owner: number | undefined;
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

/** What the kernel has of each side, for plans to keep. */
export function previousIn(observed: Observed): Previous {
  const idsBySet = new Map<Map<string, string>, Map<string, Map<string, string>>>();
  return {
    slots: (place) => observedSlots(observed.get(place.family), endpointSet(place), place.key),
    picks: (place) => observedSlots(observed.get(place.family), pickSet(place), place.key),
    ids(place) {
      const picked = observed.get(place.family)?.elements.get(pickedSet(place));
      if (picked === undefined) return NO_IDS;
      const ids = idsBySet.get(picked) ?? idsByFrontend(picked);
      idsBySet.set(picked, ids);
      return ids.get(place.key) ?? NO_IDS;
    },
  };
}

const NO_IDS: BackendIds = new Map();

/** The backends of every frontend. Ids that nobody could have given out are left out. */
function idsByFrontend(picked: ReadonlyMap<string, string>): Map<string, Map<string, string>> {
  const ids = new Map<string, Map<string, string>>();
  for (const [key, endpoint] of picked) {
    const id = key.slice(-4);
    if (!isBackendId(id)) continue;
    const ofFrontend = ids.get(key.slice(0, -4));
    if (ofFrontend === undefined) ids.set(key.slice(0, -4), new Map([[endpoint, id]]));
    else if (!ofFrontend.has(endpoint)) ofFrontend.set(endpoint, id);
  }
  return ids;
}

/** The shape that an element of a map of frontends leads to. */
export function observedShape(
  table: ObservedTable,
  keying: Pick<Keying, 'side'>,
  shapeId: string,
): Shape | undefined {
  if (shapeId.length !== 4) return undefined;
  return shapeOfId(shapeId) ?? balancingShapeOf(table.elements.get(shapeSet(keying))?.get(shapeId) ?? '');
}

/** An empty element table. */
export function noElements(): Map<SetName, Map<string, string>> {
  return new Map(SETS.map((set) => [set, new Map<string, string>()]));
}
