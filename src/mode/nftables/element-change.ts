// One element of one set that is to appear, change or go: the unit of every diff, plan and message of this mode.

import type { IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { Counter } from '../../netlink/nftables/element.ts';
import type { SetName } from './names.ts';

export interface ElementChange {
  readonly family: IpFamily;
  readonly set: SetName;
  /** Packed key. */
  readonly key: string;
  /** The value the kernel has, undefined when it has no such element. */
  readonly before: string | undefined;
  /** The value it shall have, undefined to delete it. Values are '' in plain sets. */
  readonly after: string | undefined;
  /** What a replaced verdict element had counted: it goes on from there. */
  readonly counter?: Counter;
  /** On whose behalf; undefined for static, shared and foreign elements. */
  readonly service: ServiceKey | undefined;
}

/** Identifies an element over all sets and families. */
export function elementId(change: Pick<ElementChange, 'family' | 'set' | 'key'>): string {
  return `${change.family}${change.set} ${change.key}`;
}

/**
 * True for what must wait for a later transaction: a packet can read the verdict before a commit and the endpoint slot
 * after it, so a slot goes only once no verdict in force covers it.
 */
export function mustWait(change: ElementChange): boolean {
  return change.after === undefined && (change.set === 'endpoints' || change.set === 'nodeport-endpoints');
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
