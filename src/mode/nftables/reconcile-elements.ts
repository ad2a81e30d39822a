// Desired elements × what the kernel was seen to hold → the changes between. Used at start and after any doubt;
// ordinary changes go through Desired.update.

import type { IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import { type ElementChange, mustWait } from './element-change.ts';
import { NUMBERED_SETS, SERVICE_SETS, SETS, type SetName, SHAPE_SETS, serviceValueParts } from './names.ts';
import type { ObservedTable } from './observed.ts';

/** The elements of one family's table as seen, and what they counted. The elements are emptied by reconciliation. */
export type SeenElements = Pick<ObservedTable, 'elements' | 'counters'>;

/** What nobody may touch for now: Services whose elements the kernel refused. */
export type Frozen = ReadonlySet<ServiceKey>;

/**
 * Changes that make what was seen what is wanted, in the order of `wanted`, followed by the deletion of what nobody
 * wants. Slots that must outlive this transaction go to `wait` instead. What belongs to a frozen Service is left.
 * Consumes `seen`. In `wanted`, node-port addresses come first: those nobody wants are deleted right behind them, in
 * the same transaction, because the kernel refuses ranges that overlap.
 */
export function* reconcileElements(
  wanted: Iterable<ElementChange>,
  seen: ReadonlyMap<IpFamily, SeenElements>,
  frozen: Frozen,
  wait: (change: ElementChange) => void,
): Generator<ElementChange> {
  const frozenKeys = new Set<string>();
  function* unwanted(sets: readonly SetName[]): Generator<ElementChange> {
    for (const [family, { elements }] of seen) {
      for (const set of sets) {
        for (const [key, before] of elements.get(set) ?? []) {
          if (frozenKeys.size > 0 && frozenKeys.has(frozenKey(family, set, key))) continue;
          const change: ElementChange = { family, set, key, before, after: undefined, service: undefined };
          if (mustWait(change)) wait(change);
          else yield change;
        }
        elements.get(set)?.clear();
      }
    }
  }
  let isPastAddresses = false;
  for (const change of wanted) {
    if (!isPastAddresses && change.set !== 'nodeport-addresses') {
      isPastAddresses = true;
      yield* unwanted(['nodeport-addresses']);
    }
    const table = seen.get(change.family);
    const elements = table?.elements.get(change.set);
    const before = elements?.get(change.key);
    elements?.delete(change.key);
    if (change.service !== undefined && frozen.has(change.service)) {
      frozenKeys.add(frozenKey(change.family, change.set, change.key));
      // Its element may still lead to a shape that nobody else has.
      const { shapeId } = serviceValueParts(before ?? '');
      if (SERVICE_SETS.has(change.set)) {
        for (const set of SHAPE_SETS) frozenKeys.add(frozenKey(change.family, set, shapeId));
      }
      continue;
    }
    if (before === change.after) continue;
    const counter = before === undefined ? undefined : table?.counters.get(change.set)?.get(change.key);
    yield counter === undefined ? { ...change, before } : { ...change, before, counter };
  }
  yield* unwanted(SETS);
}

/** Slots and backends of a frozen frontend are found by the frontend's key, whatever their number. */
function frozenKey(family: IpFamily, set: SetName, key: string): string {
  const frontendKey = NUMBERED_SETS.has(set) ? key.slice(0, -4) : key;
  return `${family}${set} ${frontendKey}`;
}

/** Names of the chains that elements refer to. */
export function referencedChains({ elements }: SeenElements): Set<string> {
  return new Set([...SHAPE_SETS].flatMap((set) => [...(elements.get(set)?.values() ?? [])]));
}
