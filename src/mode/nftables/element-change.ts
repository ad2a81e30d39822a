// One element of one set that is to appear, change or go: the unit of every diff, plan and message of this mode.

import type { IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { Counter } from '../../netlink/nftables/element.ts';
import { NUMBERED_SETS, type SetName, SHAPE_SETS } from './names.ts';

export interface ElementChange {
  readonly family: IpFamily;
  readonly set: SetName;
  /** Packed key. */
  readonly key: string;
  /** The value the kernel has, undefined when it has no such element. */
  readonly before: string | undefined;
  /** The value it shall have, undefined to delete it. Values are '' in plain sets. */
  readonly after: string | undefined;
  /** What a replaced element had counted: it goes on from there. */
  readonly counter?: Counter;
  /** A deletion that must not wait, whoever may be about to read the element. */
  readonly isRevocation?: true;
  /** On whose behalf; undefined for static, shared and foreign elements. */
  readonly service: ServiceKey | undefined;
  /** Changes in a row with the same mark go in one transaction: between two of them, packets would find neither state. */
  readonly together?: string;
}

/** Identifies an element over all sets and families. */
export function elementId(change: Pick<ElementChange, 'family' | 'set' | 'key'>): string {
  return `${change.family}${change.set} ${change.key}`;
}

/** What the elements of a numbered set that belong to one side of a frontend share: all of the key but the number. */
export function sideOf({ family, set, key }: Pick<ElementChange, 'family' | 'set' | 'key'>): string {
  return elementId({ family, set, key: key.slice(0, -4) });
}

/** Sets that are read after `services` or `nodeports` by the same packet. */
const READ_LATER: ReadonlySet<SetName> = new Set([
  ...SHAPE_SETS,
  'inside-services',
  'inside-nodeports',
  ...NUMBERED_SETS,
]);

/**
 * True for what must wait for a later transaction: a packet can read a frontend's element before a commit and its shape
 * or slot after it, so these go only once no element in force leads to them.
 */
export function mustWait(change: ElementChange): boolean {
  return change.after === undefined && change.isRevocation !== true && READ_LATER.has(change.set);
}

/** True for the replacement of an element that counts. */
export function isCounted({ set, before, after }: ElementChange): boolean {
  return before !== undefined && after !== undefined && (set === 'services' || set === 'nodeports');
}

/** Changes of one set each, in order of first appearance. */
export function groupBySet(changes: Iterable<ElementChange>): ElementChange[][] {
  const groups = new Map<string, ElementChange[]>();
  for (const change of changes) {
    const id = `${change.family}${change.set}`;
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [change]);
    else group.push(change);
  }
  return [...groups.values()];
}
