// Desired elements × what the kernel was seen to hold → the changes between. Used at start and after any doubt;
// ordinary changes go through Desired.update.

import type { IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import { type ElementChange, elementId, mustWait, sideOf } from './element-change.ts';
import { intervalChanges } from './intervals.ts';
import {
  INTERVAL_SETS,
  isIntervalSet,
  NUMBERED_SETS,
  PICKED_SETS,
  SERVICE_SETS,
  SETS,
  type SetName,
  SHAPE_SETS,
  serviceValueParts,
} from './names.ts';
import type { ObservedTable } from './observed.ts';
import { frontendId } from './planned-frontend.ts';
import { rangeChanges, SeenRanges } from './source-ranges.ts';

/** The elements of one family's table as seen, and what they counted. The elements are emptied by reconciliation. */
export type SeenElements = Pick<ObservedTable, 'elements' | 'counters'>;

/** What nobody may touch for now: Services whose elements the kernel refused. */
export type Frozen = ReadonlySet<ServiceKey>;

/**
 * Changes that make what was seen what is wanted, in the order of `wanted`, followed by the deletion of what nobody
 * wants. Slots that must outlive this transaction go to `wait` instead. What belongs to a frozen Service is left.
 * Consumes `seen`. In `wanted`, sets of intervals come first: what changes of one goes together, because the kernel refuses
 * ranges that overlap. For the same reason the source ranges of a frontend, the stale ones too, change with its element;
 * those that only somebody else can have written go before anything else.
 */
export function* reconcileElements(
  wanted: Iterable<ElementChange>,
  seen: ReadonlyMap<IpFamily, SeenElements>,
  frozen: Frozen,
  wait: (change: ElementChange) => void,
): Generator<ElementChange> {
  const frozenKeys = new Set<string>();
  /** Frontends whose backends have ids: one that is gone must be missed at once by the clients that stick to it. */
  const picking = new Set<string>();
  function* unwanted(sets: readonly SetName[]): Generator<ElementChange> {
    for (const [family, { elements }] of seen) {
      for (const set of sets) {
        for (const [key, before] of elements.get(set) ?? []) {
          if (frozenKeys.size > 0 && frozenKeys.has(frozenKey(family, set, key))) continue;
          const change: ElementChange = { family, set, key, before, after: undefined, service: undefined };
          if (mustWait(change) && !picking.has(sideOf(change))) wait(change);
          else yield change;
        }
        elements.get(set)?.clear();
      }
    }
  }
  const seenRanges = new Map<IpFamily, SeenRanges>();
  for (const [family, { elements }] of seen) {
    const ranges = new SeenRanges(family, elements.get('source-ranges') ?? new Map());
    seenRanges.set(family, ranges);
    for (const [key, before] of ranges.foreign) {
      yield { family, set: 'source-ranges', key, before, after: undefined, service: undefined };
    }
  }
  let wantedIntervals: ElementChange[] | undefined = [];
  /** Of the frontend whose element comes next. */
  let wantedRanges = new Map<string, string>();
  for (const change of wanted) {
    if (wantedIntervals !== undefined) {
      if (isIntervalSet(change.set)) {
        wantedIntervals.push(change);
        continue;
      }
      yield* reconcileIntervals(wantedIntervals, seen);
      wantedIntervals = undefined;
    }
    if (change.set === 'source-ranges') {
      wantedRanges.set(change.key, change.after!);
      continue;
    }
    const table = seen.get(change.family);
    const elements = table?.elements.get(change.set);
    const before = elements?.get(change.key);
    elements?.delete(change.key);
    if (PICKED_SETS.has(change.set) && (elements?.size ?? 0) > 0) {
      picking.add(sideOf(change));
    }
    const ranges = change.set === 'services' ? rangesOf(change, seenRanges, wantedRanges) : NO_CHANGES;
    if (change.set === 'services' && wantedRanges.size > 0) wantedRanges = new Map();
    if (change.service !== undefined && frozen.has(change.service)) {
      frozenKeys.add(frozenKey(change.family, change.set, change.key));
      // Its element may still lead to a shape that nobody else has.
      const { shapeId } = serviceValueParts(before ?? '');
      if (SERVICE_SETS.has(change.set)) {
        for (const set of SHAPE_SETS) frozenKeys.add(frozenKey(change.family, set, shapeId));
      }
      continue;
    }
    yield* ranges;
    if (before === change.after) continue;
    const counter = before === undefined ? undefined : table?.counters.get(change.set)?.get(change.key);
    const now = counter === undefined ? { ...change, before } : { ...change, before, counter };
    yield ranges[0] === undefined ? now : { ...now, together: ranges[0].together! };
  }
  yield* unwanted(SETS);
}

function* reconcileIntervals(
  wanted: readonly ElementChange[],
  seen: ReadonlyMap<IpFamily, SeenElements>,
): Generator<ElementChange> {
  for (const family of [4, 6] as const) {
    for (const set of INTERVAL_SETS) {
      const elements = seen.get(family)?.elements.get(set) ?? new Map<string, string>();
      const after = wanted.filter((change) => change.family === family && change.set === set);
      yield* intervalChanges(family, set, elements, new Map(after.map((one) => [one.key, one.after!])));
      elements.clear();
    }
  }
}

const NO_CHANGES: readonly ElementChange[] = [];

/** What makes the source ranges of the frontend of an element of `services` those it wants. */
function rangesOf(
  { family, key, service }: ElementChange,
  seen: ReadonlyMap<IpFamily, SeenRanges>,
  wanted: ReadonlyMap<string, string>,
): readonly ElementChange[] {
  const before = seen.get(family)?.take(key);
  if (service === undefined || (wanted.size === 0 && (before?.size ?? 0) === 0)) return NO_CHANGES;
  return rangeChanges({ family, service, together: frontendId(family, 'vip', key) }, before, wanted);
}

/** Slots and backends of a frozen frontend are found by the frontend's key, whatever their number. */
function frozenKey(family: IpFamily, set: SetName, key: string): string {
  const element = { family, set, key };
  return NUMBERED_SETS.has(set) ? sideOf(element) : elementId(element);
}

/** Names of the chains that elements refer to. */
export function referencedChains({ elements }: SeenElements): Set<string> {
  return new Set([...SHAPE_SETS].flatMap((set) => [...(elements.get(set)?.values() ?? [])]));
}
