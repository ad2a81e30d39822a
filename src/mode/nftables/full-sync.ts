// The whole comparison: everything desired × everything observed → what to write now and what to delete later.

import type { IpFamily } from '../../model/ip.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import { constantChains, type RuleSettings } from './chains.ts';
import type { DeferredObject } from './deferred.ts';
import type { Desired, RetimedSide } from './desired.ts';
import type { ElementChange } from './element-change.ts';
import { SHAPE_SETS, serviceValueParts, tablePlace } from './names.ts';
import { isShapeChain, type NeededChain, neededChainName, neededChainOf } from './needed-chain.ts';
import { type Observed, type ObservedTable, observedShape } from './observed.ts';
import { serviceSet, shapeSet } from './planned-frontend.ts';
import { type Frozen, reconcileElements, referencedChains, type SeenElements } from './reconcile-elements.ts';
import { hasSameRules, reconcileStructure } from './reconcile-structure.ts';
import { setDeclarations } from './sets.ts';
import { subroutineOf, subroutinesOf } from './subroutines.ts';

export interface FullSync {
  /** Tables, sets, chains and rules, in order; to be written before the elements. */
  readonly structure: readonly NftRequest[];
  /** Produced while it is read, once; `wait` is called meanwhile for slots that must outlive the transaction. */
  readonly elements: Iterable<ElementChange>;
  /** What nobody wants any more, to be deleted once no element refers to it. */
  readonly strays: readonly DeferredObject[];
  /** Shapes and subroutines that are there as they should be, and that nobody needs now: no reason to write anything. */
  readonly unused: readonly NeededChain[];
  /** Sides whose clients were promised another time. */
  readonly retimed: readonly RetimedSide[];
}

/**
 * Plans a full sync of what `desired` has learnt the ids of shapes from. Consumes the elements of `observed`. Tables that have to be
 * made get `tableFlags`.
 */
export function planFullSync(
  desired: Desired,
  families: readonly IpFamily[],
  settings: RuleSettings,
  observed: Observed,
  frozen: Frozen,
  wait: (change: ElementChange) => void,
  tableFlags = 0,
): FullSync {
  const structure: NftRequest[] = [];
  const strays: DeferredObject[] = [];
  const unused: NeededChain[] = [];
  const retimed = retimedSides(desired, observed);
  const seen = new Map<IpFamily, SeenElements>();
  for (const family of families) {
    const needed = [...desired.chains()].filter((chain) => chain.family === family);
    const table = observed.get(family);
    const chains = [
      ...constantChains(family, settings),
      ...needed.map((chain) => neededChainOf(chain, settings)),
    ];
    const plan = reconcileStructure(
      tablePlace(family, settings.table),
      { sets: setDeclarations(family, settings), chains, tableFlags },
      table,
    );
    structure.push(...plan.requests);
    if (!plan.isRebuilt && table !== undefined) seen.set(family, table);
    const idle = table === undefined ? [] : unusedChains(family, settings, desired, table, plan.strayChains);
    const kept = new Set(idle.map(neededChainName));
    if (frozen.size > 0 && table !== undefined) addReachable(kept, referencedChains(table), table);
    for (const chain of idle) {
      // Not an element that nobody wants.
      if (isShapeChain(chain)) table?.elements.get(shapeSet(chain.shape))?.delete(chain.id);
      unused.push(chain);
    }
    for (const name of plan.strayChains) if (!kept.has(name)) strays.push({ kind: 'chain', family, name });
    for (const name of plan.straySets) strays.push({ kind: 'set', family, name });
  }
  const wanted = ofFamilies(desired.elements(), families);
  return { structure, strays, unused, retimed, elements: reconcileElements(wanted, seen, frozen, wait) };
}

/**
 * Of the chains that nobody wants, those that are whole: their rules, and for a shape the element that leads to it and the
 * subroutines it jumps to.
 */
function unusedChains(
  family: IpFamily,
  settings: RuleSettings,
  desired: Desired,
  table: ObservedTable,
  strayChains: readonly string[],
): NeededChain[] {
  const strays = new Set(strayChains);
  const isWhole = (chain: NeededChain): boolean => {
    const name = neededChainName(chain);
    const present = table.chains.get(name);
    return present !== undefined && strays.has(name) && hasSameRules(neededChainOf(chain, settings), present);
  };
  const broken = new Set(strays);
  const whole: NeededChain[] = [];
  for (const name of strays) {
    const subroutine = subroutineOf(name);
    if (subroutine === undefined || !isWhole({ family, subroutine })) continue;
    whole.push({ family, subroutine });
    broken.delete(name);
  }
  for (const set of SHAPE_SETS) {
    for (const [id, name] of table.elements.get(set) ?? []) {
      const shape = observedShape(table, { side: set === 'shapes' ? 'all' : 'inside' }, id);
      if (shape === undefined || shapeSet(shape) !== set) continue;
      const chain = { family, shape, id };
      if (neededChainName(chain) !== name || !desired.hasShapeId(chain) || !isWhole(chain)) continue;
      if (subroutinesOf(shape).some((one) => broken.has(neededChainName({ family, subroutine: one }))))
        continue;
      whole.push(chain);
    }
  }
  return whole;
}

/** Adds names of chains, and of those that they lead to. */
function addReachable(names: Set<string>, from: Iterable<string>, { chains }: ObservedTable): void {
  const pending = [...from];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (names.has(name)) continue;
    names.add(name);
    for (const expression of chains.get(name)?.rules.flat() ?? []) {
      const verdict = expression.kind === 'immediate' ? expression.verdict : undefined;
      if (verdict !== undefined && 'chain' in verdict) pending.push(verdict.chain);
    }
  }
}

function retimedSides(desired: Desired, observed: Observed): RetimedSide[] {
  return [...desired.stickySides()].filter((side) => {
    const table = observed.get(side.family);
    const value = table?.elements.get(serviceSet(side))?.get(side.key);
    if (table === undefined || value === undefined) return false;
    const shape = observedShape(table, side, serviceValueParts(value).shapeId);
    return shape !== undefined && shape.balancing?.stickySeconds !== side.stickySeconds;
  });
}

/** Leaves out what this kernel cannot have. */
export function* ofFamilies(
  changes: Iterable<ElementChange>,
  families: readonly IpFamily[],
): Generator<ElementChange> {
  for (const change of changes) if (families.includes(change.family)) yield change;
}
