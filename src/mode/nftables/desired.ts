// What the table shall hold: planned frontends, and the objects they share, counted by reference.
// An update of some Services returns just what changed, so its cost does not grow with the cluster.

import type { Cidr, IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { Surroundings } from '../../vip/surroundings.ts';
import type { ElementChange } from './element-change.ts';
import { type IntervalElements, intervalChanges, intervalElements } from './intervals.ts';
import { INTERVAL_SETS, type IntervalSet, type SetName, SHAPE_SETS } from './names.ts';
import {
  endpointSet,
  frontendId,
  type PlannedFrontend,
  type PlannedSide,
  type SidePlace,
  serviceSet,
  shapeSet,
  sidesOf,
  slotKey,
} from './planned-frontend.ts';
import { FIXED_CHAINS, type Shape, shapeChain, shapeId } from './shape.ts';
import { rangeChanges } from './source-ranges.ts';

/** A chain that exists as long as a frontend of its shape does. */
export interface ShapeChain {
  readonly family: IpFamily;
  readonly shape: Shape;
}

/** What an update changed. */
export interface DesiredDelta {
  /** In an order that is safe to cut anywhere: a frontend's element never precedes the slots and the shape it needs. */
  readonly elements: readonly ElementChange[];
  /** Chains to exist before the elements. */
  readonly addedChains: readonly ShapeChain[];
  /** Chains that nothing refers to any more. */
  readonly removedChains: readonly ShapeChain[];
}

/** An element of a plain set that several frontends may need. */
interface SharedElement {
  readonly family: IpFamily;
  readonly set: SetName;
  readonly key: string;
}

interface Counted<T> {
  readonly shared: T;
  count: number;
}

/** Counts references and remembers which objects crossed between needed and not needed. */
class References<T> {
  readonly #counted = new Map<string, Counted<T>>();
  /** Whether each touched object existed before the update. */
  readonly #touched = new Map<string, { readonly shared: T; readonly existed: boolean }>();

  change(id: string, shared: T, by: 1 | -1): void {
    const entry = this.#counted.get(id);
    if (!this.#touched.has(id)) this.#touched.set(id, { shared, existed: entry !== undefined });
    if (entry === undefined) this.#counted.set(id, { shared, count: by });
    else entry.count += by;
    if (this.#counted.get(id)!.count === 0) this.#counted.delete(id);
  }

  takeCrossings(): { added: T[]; removed: T[] } {
    const added: T[] = [];
    const removed: T[] = [];
    for (const [id, { shared, existed }] of this.#touched) {
      const exists = this.#counted.has(id);
      if (exists && !existed) added.push(shared);
      if (!exists && existed) removed.push(shared);
    }
    this.#touched.clear();
    return { added, removed };
  }

  *values(): Generator<T> {
    for (const { shared } of this.#counted.values()) yield shared;
  }
}

const NO_INTERVALS: IntervalElements = new Map();

export class Desired {
  readonly #frontends = new Map<string, PlannedFrontend>();
  readonly #idsByService = new Map<ServiceKey, readonly string[]>();
  readonly #shared = new References<SharedElement>();
  readonly #chains = new References<ShapeChain>();
  /** Value per key, per set and family. */
  readonly #intervals: Readonly<Record<IntervalSet, Map<IpFamily, IntervalElements>>> = {
    'nodeport-addresses': new Map(),
    'service-cidrs': new Map(),
  };

  /** The slots of one side of a planned frontend, empty when it is not planned. */
  slots({ family, keyedBy, side, key }: SidePlace): readonly string[] {
    const frontend = this.#frontends.get(frontendId(family, keyedBy, key));
    return (side === 'inside' ? frontend?.inside : frontend)?.slots ?? [];
  }

  /** Replaces all frontends of the given Services; an empty list removes a Service. */
  update(frontendsByService: ReadonlyMap<ServiceKey, readonly PlannedFrontend[]>): DesiredDelta {
    const before = new Map<string, PlannedFrontend | undefined>();
    for (const service of frontendsByService.keys()) {
      for (const id of this.#idsByService.get(service) ?? []) {
        before.set(id, this.#frontends.get(id));
        this.#frontends.delete(id);
      }
    }
    for (const [service, frontends] of frontendsByService) {
      for (const frontend of frontends) {
        if (!before.has(frontend.id)) before.set(frontend.id, undefined);
        this.#frontends.set(frontend.id, frontend);
      }
      if (frontends.length === 0) this.#idsByService.delete(service);
      else
        this.#idsByService.set(
          service,
          frontends.map(({ id }) => id),
        );
    }
    const elements: ElementChange[] = [];
    for (const [id, old] of before) {
      const now = this.#frontends.get(id);
      if (old !== undefined) this.#count(old, -1);
      if (now !== undefined) this.#count(now, 1);
      for (const change of frontendChanges(old, now)) elements.push(change);
    }
    const shared = this.#shared.takeCrossings();
    const chains = this.#chains.takeCrossings();
    return {
      elements: [
        ...shared.added.map((one) => sharedChange(one, true)),
        ...chains.added.map((one) => shapeChange(one, true)),
        ...elements,
        ...chains.removed.map((one) => shapeChange(one, false)),
        ...shared.removed.map((one) => sharedChange(one, false)),
      ],
      addedChains: chains.added,
      removedChains: chains.removed,
    };
  }

  /** Replaces the networks around this node. */
  updateSurroundings({
    nodePortCidrs,
    serviceCidrs,
  }: Pick<Surroundings, 'nodePortCidrs' | 'serviceCidrs'>): ElementChange[] {
    return [
      ...this.#updateIntervals('nodeport-addresses', nodePortCidrs),
      ...this.#updateIntervals('service-cidrs', serviceCidrs),
    ];
  }

  #updateIntervals(set: IntervalSet, cidrs: readonly Cidr[]): ElementChange[] {
    const changes: ElementChange[] = [];
    for (const family of [4, 6] as const) {
      const before = this.#intervals[set].get(family) ?? NO_INTERVALS;
      const after = intervalElements(cidrs.filter((cidr) => cidr.family === family));
      this.#intervals[set].set(family, after);
      changes.push(...intervalChanges(family, set, before, after));
    }
    return changes;
  }

  /** Every chain that is wanted because of a frontend. */
  chains(): Iterable<ShapeChain> {
    return this.#chains.values();
  }

  /** Every wanted element, each with `before` undefined, in the same safe order. */
  *elements(): Generator<ElementChange> {
    for (const set of INTERVAL_SETS) {
      for (const [family, elements] of this.#intervals[set]) {
        yield* intervalChanges(family, set, NO_INTERVALS, elements);
      }
    }
    for (const shared of this.#shared.values()) yield sharedChange(shared, true);
    for (const chain of this.#chains.values()) yield shapeChange(chain, true);
    yield* fixedShapes(4);
    yield* fixedShapes(6);
    for (const frontend of this.#frontends.values()) yield* frontendChanges(undefined, frontend);
  }

  #count(frontend: PlannedFrontend, by: 1 | -1): void {
    const { family, clusterIp, hairpins } = frontend;
    for (const { shape } of sidesOf(frontend)) {
      if (shape !== undefined) this.#chains.change(chainId({ family, shape }), { family, shape }, by);
    }
    if (clusterIp !== undefined) this.#countElement({ family, set: 'cluster-ips', key: clusterIp }, by);
    for (const key of hairpins) this.#countElement({ family, set: 'hairpin', key }, by);
  }

  #countElement(element: SharedElement, by: 1 | -1): void {
    this.#shared.change(`${element.family}${element.set} ${element.key}`, element, by);
  }
}

function chainId({ family, shape }: ShapeChain): string {
  return `${family} ${shapeChain(shape)}`;
}

/** What leads from the shape id of a frontend to the chain. */
export function shapeChange({ family, shape }: ShapeChain, isWanted: boolean): ElementChange {
  const chain = shapeChain(shape);
  const [before, after] = isWanted ? [undefined, chain] : [chain, undefined];
  return { family, set: shapeSet(shape), key: shapeId(shape), before, after, service: undefined };
}

function fixedShapes(family: IpFamily): ElementChange[] {
  return [...SHAPE_SETS].flatMap((set) =>
    [...FIXED_CHAINS].map(([key, after]) => ({
      family,
      set,
      key,
      before: undefined,
      after,
      service: undefined,
    })),
  );
}

function sharedChange({ family, set, key }: SharedElement, isWanted: boolean): ElementChange {
  return {
    family,
    set,
    key,
    before: isWanted ? undefined : '',
    after: isWanted ? '' : undefined,
    service: undefined,
  };
}

/**
 * What is restricted before or after changes in one piece: between two transactions nobody may get in whom both keep out, or
 * stay out whom both let in.
 */
function* frontendChanges(
  before: PlannedFrontend | undefined,
  after: PlannedFrontend | undefined,
): Generator<ElementChange> {
  if (before?.ranges === undefined && after?.ranges === undefined) {
    yield* sidesChanges(before, after);
    return;
  }
  const { id, family, service } = (after ?? before)!;
  yield* rangeChanges({ family, service, together: id }, before?.ranges, after?.ranges);
  for (const change of sidesChanges(before, after)) yield { ...change, together: id };
}

/** Side by side; a side that is new is written before what leads to it. */
function* sidesChanges(
  before: PlannedFrontend | undefined,
  after: PlannedFrontend | undefined,
): Generator<ElementChange> {
  const one = (after ?? before)!;
  if (before?.inside !== undefined || after?.inside !== undefined) {
    yield* sideChanges(one, before?.inside, after?.inside);
  }
  yield* sideChanges(one, before, after);
}

/** Slots first, then the element, then the slots that are no longer covered. Equal values yield nothing. */
function* sideChanges(
  { family, key, service }: PlannedFrontend,
  before: PlannedSide | undefined,
  after: PlannedSide | undefined,
): Generator<ElementChange> {
  const side = (after ?? before)!;
  const set = endpointSet(side);
  const covered = after?.slots.length ?? 0;
  for (let slot = 0; slot < covered; slot++) {
    const old = before?.slots[slot];
    const now = after!.slots[slot]!;
    if (old !== now) yield { family, set, key: slotKey(key, slot), before: old, after: now, service };
  }
  if (before?.value !== after?.value) {
    yield { family, set: serviceSet(side), key, before: before?.value, after: after?.value, service };
  }
  for (let slot = covered; slot < (before?.slots.length ?? 0); slot++) {
    yield { family, set, key: slotKey(key, slot), before: before!.slots[slot], after: undefined, service };
  }
}
