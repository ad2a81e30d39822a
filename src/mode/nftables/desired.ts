// What the table shall hold: planned frontends, and the objects they share, counted by reference.
// An update of some Services returns just what changed, so its cost does not grow with the cluster.

import type { Cidr, IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { Surroundings } from '../../vip/surroundings.ts';
import type { BackendIds } from './backend-ids.ts';
import type { ElementChange } from './element-change.ts';
import { type IntervalElements, intervalChanges, intervalElements } from './intervals.ts';
import {
  INTERVAL_SETS,
  type IntervalSet,
  packHostU32,
  type SetName,
  SHAPE_SETS,
  serviceValue,
} from './names.ts';
import { isShapeChain, type NeededChain, neededChainName, type ShapeChain } from './needed-chain.ts';
import type { Observed } from './observed.ts';
import {
  endpointSet,
  frontendId,
  type PlannedFrontend,
  type PlannedSide,
  type Previous,
  pickedSet,
  pickSet,
  type SidePlace,
  serviceSet,
  shapeSet,
  sidesOf,
} from './planned-frontend.ts';
import { FIXED_CHAINS, type Shape, shapeChain, shapeId } from './shape.ts';
import { ShapeIds } from './shape-ids.ts';
import { rangeChanges } from './source-ranges.ts';
import { subroutinesOf } from './subroutines.ts';

/** A side whose clients keep their backends for this long from now on, and did for another time. */
export interface RetimedSide extends SidePlace {
  readonly stickySeconds: number;
}

/** What an update changed. */
export interface DesiredDelta {
  /** In an order that is safe to cut anywhere: a frontend's element never precedes the slots and the shape it needs. */
  readonly elements: readonly ElementChange[];
  /** Chains to exist before the elements, in an order in which none refers to a later one. */
  readonly addedChains: readonly NeededChain[];
  /** Chains that nothing refers to any more but others of them. */
  readonly removedChains: readonly NeededChain[];
  readonly retimed: readonly RetimedSide[];
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

export class Desired implements Previous {
  readonly #frontends = new Map<string, PlannedFrontend>();
  readonly #idsByService = new Map<ServiceKey, readonly string[]>();
  readonly #shared = new References<SharedElement>();
  readonly #chains = new References<NeededChain>();
  readonly #shapeIds = new ShapeIds();
  /** Value per key, per set and family. */
  readonly #intervals: Readonly<Record<IntervalSet, Map<IpFamily, IntervalElements>>> = {
    'nodeport-addresses': new Map(),
    'service-cidrs': new Map(),
  };

  /** Of one side of a planned frontend; empty when it is not planned, or picks its backends otherwise. */
  slots(place: SidePlace): readonly string[] {
    const side = this.#side(place);
    return side === undefined || side.ids !== undefined ? [] : side.slots;
  }

  picks(place: SidePlace): readonly string[] {
    const side = this.#side(place);
    return side?.ids === undefined ? [] : side.slots;
  }

  ids(place: SidePlace): BackendIds {
    return this.#side(place)?.ids ?? NO_IDS;
  }

  #side({ family, keyedBy, side, key }: SidePlace): PlannedSide | undefined {
    const frontend = this.#frontends.get(frontendId(family, keyedBy, key));
    return side === 'inside' ? frontend?.inside : frontend;
  }

  /** Takes over the ids of shapes that are in the kernel, before frontends that want them are planned. */
  learnShapeIds(observed: Observed): void {
    for (const family of [4, 6] as const) {
      const inUse: Shape[] = [];
      for (const chain of this.#chains.values()) {
        if (isShapeChain(chain) && chain.family === family && chain.shape.balancing !== undefined)
          inUse.push(chain.shape);
      }
      this.#shapeIds.learn(family, observed.get(family), inUse);
    }
  }

  /** True when this is the id under which the shape is, or would be, reached. */
  hasShapeId({ family, shape, id }: ShapeChain): boolean {
    return shape.balancing === undefined ? shapeId(shape) === id : this.#shapeIds.hasId(family, shape, id);
  }

  /** The chain of a shape has gone from the kernel, and what led to it. */
  forgetShape({ family, shape }: ShapeChain): void {
    if (shape.balancing !== undefined) this.#shapeIds.forget(family, shape);
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
    const retimed: RetimedSide[] = [];
    for (const [id, old] of before) {
      const now = this.#frontends.get(id);
      if (old !== undefined) this.#count(old, -1);
      if (now !== undefined) this.#count(now, 1);
      for (const change of this.#frontendChanges(old, now)) elements.push(change);
      if (old !== undefined && now !== undefined) retimed.push(...retimedSides(old, now));
    }
    const shared = this.#shared.takeCrossings();
    const chains = this.#chains.takeCrossings();
    return {
      elements: [
        ...shared.added.map((one) => sharedChange(one, true)),
        ...chains.added.filter(isShapeChain).map((one) => shapeChange(one, true)),
        ...elements,
        ...chains.removed.filter(isShapeChain).map((one) => shapeChange(one, false)),
        ...shared.removed.map((one) => sharedChange(one, false)),
      ],
      addedChains: chains.added,
      removedChains: chains.removed,
      retimed,
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
  chains(): Iterable<NeededChain> {
    return this.#chains.values();
  }

  /** Every side whose clients keep their backends. */
  *stickySides(): Generator<RetimedSide> {
    for (const frontend of this.#frontends.values()) {
      for (const side of sidesOf(frontend)) {
        const stickySeconds = side.shape?.balancing?.stickySeconds;
        if (stickySeconds !== undefined) yield retimedSide(frontend, side, stickySeconds);
      }
    }
  }

  /** Every wanted element, each with `before` undefined, in the same safe order. */
  *elements(): Generator<ElementChange> {
    for (const set of INTERVAL_SETS) {
      for (const [family, elements] of this.#intervals[set]) {
        yield* intervalChanges(family, set, NO_INTERVALS, elements);
      }
    }
    for (const shared of this.#shared.values()) yield sharedChange(shared, true);
    for (const chain of this.#chains.values()) if (isShapeChain(chain)) yield shapeChange(chain, true);
    yield* fixedShapes(4);
    yield* fixedShapes(6);
    for (const frontend of this.#frontends.values()) yield* this.#frontendChanges(undefined, frontend);
  }

  #count(frontend: PlannedFrontend, by: 1 | -1): void {
    const { family, clusterIp, boundIp, portals, hairpins } = frontend;
    for (const { shape, shapeId } of sidesOf(frontend)) {
      if (shape === undefined) continue;
      for (const subroutine of subroutinesOf(shape)) this.#countChain({ family, subroutine }, by);
      const id = shapeId ?? this.#shapeIds.idOf(family, shape);
      this.#countChain({ family, shape, id }, by);
    }
    if (clusterIp !== undefined) this.#countElement({ family, set: 'cluster-ips', key: clusterIp }, by);
    if (boundIp !== undefined) this.#countElement({ family, set: 'bound-ips', key: boundIp }, by);
    for (const key of portals) this.#countElement({ family, set: 'portals', key }, by);
    for (const key of hairpins) this.#countElement({ family, set: 'hairpin', key }, by);
  }

  #countChain(chain: NeededChain, by: 1 | -1): void {
    this.#chains.change(`${chain.family} ${neededChainName(chain)}`, chain, by);
  }

  #countElement(element: SharedElement, by: 1 | -1): void {
    this.#shared.change(`${element.family}${element.set} ${element.key}`, element, by);
  }

  /**
   * What is restricted before or after changes in one piece: between two transactions nobody may get in whom both keep out,
   * or stay out whom both let in.
   */
  *#frontendChanges(
    before: PlannedFrontend | undefined,
    after: PlannedFrontend | undefined,
  ): Generator<ElementChange> {
    if (before?.ranges === undefined && after?.ranges === undefined) {
      yield* this.#sidesChanges(before, after);
      return;
    }
    const { id, family, service } = (after ?? before)!;
    yield* rangeChanges({ family, service, together: id }, before?.ranges, after?.ranges);
    for (const change of this.#sidesChanges(before, after)) yield { ...change, together: id };
  }

  /** Side by side; a side that is new is written before what leads to it. */
  *#sidesChanges(
    before: PlannedFrontend | undefined,
    after: PlannedFrontend | undefined,
  ): Generator<ElementChange> {
    const one = (after ?? before)!;
    if (before?.inside !== undefined || after?.inside !== undefined) {
      yield* this.#sideChanges(one, before?.inside, after?.inside);
    }
    yield* this.#sideChanges(one, before, after);
  }

  /**
   * What the element needs first, then the element, then what it needs no longer. Equal values yield nothing. A backend
   * that is gone from a side that goes on is forgotten at once: who sticks to it must miss it.
   */
  *#sideChanges(
    { family, key, service }: PlannedFrontend,
    before: PlannedSide | undefined,
    after: PlannedSide | undefined,
  ): Generator<ElementChange> {
    const side = (after ?? before)!;
    const at = (set: SetName, number: string, old: string | undefined, now: string | undefined) => ({
      family,
      set,
      key: key + number,
      before: old,
      after: now,
      service,
    });
    if (after?.ids !== undefined) {
      for (const [endpoint, id] of after.ids) {
        if (before?.ids?.get(endpoint) !== id) yield at(pickedSet(side), id, undefined, endpoint);
      }
    }
    const isSameKind = (before?.ids === undefined) === (after?.ids === undefined);
    const slotsBefore = before?.slots ?? NONE;
    if (after !== undefined) yield* slotChanges(at, after, isSameKind ? slotsBefore : NONE);
    const [old, now] = [this.#valueOf(family, before), this.#valueOf(family, after)];
    if (old !== now) yield { family, set: serviceSet(side), key, before: old, after: now, service };
    // A packet on its way may still need them where the frontend goes on without this side, or balances otherwise. Where no
    // backend is left it is refused.
    const isNeeded = after === undefined || (after.ids === undefined && after.slots.length > 0);
    if (before?.ids !== undefined) {
      for (const [endpoint, id] of before.ids) {
        if (after?.ids?.get(endpoint) === id) continue;
        const change = at(pickedSet(side), id, endpoint, undefined);
        yield isNeeded ? change : { ...change, isRevocation: true };
      }
    }
    const covered = isSameKind ? (after?.slots.length ?? 0) : 0;
    if (before === undefined) return;
    const set = before.ids === undefined ? endpointSet(side) : pickSet(side);
    for (let slot = covered; slot < slotsBefore.length; slot++) {
      const value = isSameKind ? leftoverPick(after, slotsBefore[slot]!) : slotsBefore[slot];
      yield at(set, packHostU32(slot), value, undefined);
    }
  }

  #valueOf(family: IpFamily, side: PlannedSide | undefined): string | undefined {
    if (side === undefined) return undefined;
    return serviceValue(side.shapeId ?? this.#shapeIds.idOf(family, side.shape!), side.comment);
  }
}

/** What leads from the shape id of a frontend to the chain. */
export function shapeChange({ family, shape, id }: ShapeChain, isWanted: boolean): ElementChange {
  const chain = shapeChain(shape);
  const [before, after] = isWanted ? [undefined, chain] : [chain, undefined];
  return { family, set: shapeSet(shape), key: id, before, after, service: undefined };
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

const NONE: readonly string[] = [];
const NO_IDS: BackendIds = new Map();

/** Slots that are covered; and of those that are not any more, picks that would lead a packet on its way nowhere. */
function* slotChanges(
  at: (set: SetName, number: string, old: string | undefined, now: string) => ElementChange,
  after: PlannedSide,
  slotsBefore: readonly string[],
): Generator<ElementChange> {
  const set = after.ids === undefined ? endpointSet(after) : pickSet(after);
  const count = Math.max(after.slots.length, slotsBefore.length);
  for (let slot = 0; slot < count; slot++) {
    const old = slotsBefore[slot];
    const now = after.slots[slot] ?? leftoverPick(after, old!);
    if (old !== now) yield at(set, packHostU32(slot), old, now);
  }
}

/**
 * What a slot that is not covered any more leads to until it is deleted. An endpoint goes on answering for a while; the
 * id of a backend that is gone leads nowhere at once, so the slot gets that of another.
 */
function leftoverPick(after: PlannedSide | undefined, value: string): string {
  if (after?.ids === undefined || after.slots.length === 0) return value;
  for (const id of after.ids.values()) if (id === value) return value;
  return after.slots[0]!;
}

function retimedSides(before: PlannedFrontend, after: PlannedFrontend): RetimedSide[] {
  const sides: RetimedSide[] = [];
  const compare = (old: PlannedSide | undefined, now: PlannedSide | undefined): void => {
    const stickySeconds = now?.shape?.balancing?.stickySeconds;
    // Of a side without backends it is not known what its clients were promised.
    if (old?.shape === undefined || now === undefined || stickySeconds === undefined) return;
    if (old.shape.balancing?.stickySeconds !== stickySeconds)
      sides.push(retimedSide(after, now, stickySeconds));
  };
  compare(before.inside, after.inside);
  compare(before, after);
  return sides;
}

function retimedSide(
  { family, key }: PlannedFrontend,
  side: PlannedSide,
  stickySeconds: number,
): RetimedSide {
  const { keyedBy, side: which } = side;
  return { family, keyedBy, side: which, key, stickySeconds };
}
