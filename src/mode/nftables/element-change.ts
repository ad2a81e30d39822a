// One element of one set that is to appear, change or go: the unit of every diff, plan and message of this mode.

import type { IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
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
