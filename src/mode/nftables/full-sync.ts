// The whole comparison: everything desired × everything observed → what to write now and what to delete later.

import type { IpFamily } from '../../model/ip.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import { constantChains, type RuleSettings, shapeChainOf } from './chains.ts';
import type { DeferredObject } from './deferred.ts';
import type { Desired, ShapeChain } from './desired.ts';
import type { ElementChange } from './element-change.ts';
import { SHAPE_SETS } from './names.ts';
import type { Observed, ObservedTable } from './observed.ts';
import { shapeSet } from './planned-frontend.ts';
import { type Frozen, reconcileElements, referencedChains, type SeenElements } from './reconcile-elements.ts';
import { hasSameRules, reconcileStructure } from './reconcile-structure.ts';
import { setDeclarations } from './sets.ts';
import { type Shape, shapeChain, shapeOfId } from './shape.ts';

export interface FullSync {
  /** Tables, sets, chains and rules, in order; to be written before the elements. */
  readonly structure: readonly NftRequest[];
  /** Produced while it is read, once; `wait` is called meanwhile for slots that must outlive the transaction. */
  readonly elements: Iterable<ElementChange>;
  /** What nobody wants any more, to be deleted once no element refers to it. */
  readonly strays: readonly DeferredObject[];
  /** Shapes that are there as they should be, and that nobody needs now: no reason to write anything. */
  readonly unused: readonly ShapeChain[];
}

/** Plans a full sync. Consumes the elements of `observed`. */
export function planFullSync(
  desired: Desired,
  families: readonly IpFamily[],
  settings: RuleSettings,
  observed: Observed,
  frozen: Frozen,
  wait: (change: ElementChange) => void,
): FullSync {
  const structure: NftRequest[] = [];
  const strays: DeferredObject[] = [];
  const unused: ShapeChain[] = [];
  const seen = new Map<IpFamily, SeenElements>();
  for (const family of families) {
    const shapes = [...desired.chains()].filter((chain) => chain.family === family);
    const table = observed.get(family);
    const chains = [
      ...constantChains(family, settings),
      ...shapes.map(({ shape }) => shapeChainOf(family, shape, settings)),
    ];
    const plan = reconcileStructure(family, { sets: setDeclarations(family), chains }, table);
    structure.push(...plan.requests);
    if (!plan.isRebuilt && table !== undefined) seen.set(family, table);
    const kept = frozen.size > 0 && table !== undefined ? referencedChains(table) : new Set<string>();
    const idle = table === undefined ? [] : unusedShapes(family, settings, table, plan.strayChains);
    for (const { id, shape } of idle) {
      // Not an element that nobody wants.
      table?.elements.get(shapeSet(shape))?.delete(id);
      kept.add(shapeChain(shape));
      unused.push({ family, shape });
    }
    for (const name of plan.strayChains) if (!kept.has(name)) strays.push({ kind: 'chain', family, name });
    for (const name of plan.straySets) strays.push({ kind: 'set', family, name });
  }
  const wanted = ofFamilies(desired.elements(), families);
  return { structure, strays, unused, elements: reconcileElements(wanted, seen, frozen, wait) };
}

/** Of the chains that nobody wants, those that are whole: their rules, and the element that leads to them. */
function unusedShapes(
  family: IpFamily,
  settings: RuleSettings,
  { elements, chains }: ObservedTable,
  strayChains: readonly string[],
): { id: string; shape: Shape }[] {
  const whole: { id: string; shape: Shape }[] = [];
  for (const [id, name] of [...SHAPE_SETS].flatMap((set) => [...(elements.get(set) ?? [])])) {
    const shape = shapeOfId(id);
    const present = chains.get(name);
    if (shape === undefined || present === undefined || !strayChains.includes(name)) continue;
    const chain = shapeChainOf(family, shape, settings);
    if (chain.name === name && hasSameRules(chain, present)) whole.push({ id, shape });
  }
  return whole;
}

/** Leaves out what this kernel cannot have. */
export function* ofFamilies(
  changes: Iterable<ElementChange>,
  families: readonly IpFamily[],
): Generator<ElementChange> {
  for (const change of changes) if (families.includes(change.family)) yield change;
}
