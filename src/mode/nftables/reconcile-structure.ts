// Desired table, sets, chains and rules of one family × what was seen → requests. Elements are not its business.

import { isDeepEqual } from '../../model/deep-equal.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import { normalizeExpressions } from '../../netlink/nftables/expression.ts';
import type { SetDeclaration } from '../../netlink/nftables/set.ts';
import type { Chain } from './chains.ts';
import type { TablePlace } from './names.ts';
import type { ObservedChain, ObservedTable } from './observed.ts';
import { isSameSet } from './sets.ts';

export interface DesiredStructure {
  readonly sets: ReadonlyMap<string, SetDeclaration>;
  readonly chains: readonly Chain[];
  /** From TABLE_FLAGS, for a table that is made; one that is there keeps its own. */
  readonly tableFlags: number;
}

export interface StructurePlan {
  /** In order; empty when the structure is as desired. */
  readonly requests: readonly NftRequest[];
  /** True when the table is made anew, so that none of the seen elements will remain. */
  readonly isRebuilt: boolean;
  /** Chains that are not ours and may still be referred to by elements: to be deleted later. */
  readonly strayChains: readonly string[];
  /** Sets that are not ours. */
  readonly straySets: readonly string[];
}

/**
 * What makes the structure as desired. A set or base chain of another make cannot be changed: the table is rebuilt, as
 * is one that was switched off.
 */
export function reconcileStructure(
  at: TablePlace,
  desired: DesiredStructure,
  seen: ObservedTable | undefined,
): StructurePlan {
  const fresh = (): NftRequest[] => [
    { op: 'addTable', ...at, flags: desired.tableFlags },
    ...[...desired.sets].map(
      ([set, declaration]): NftRequest => ({ op: 'addSet', ...at, set, ...declaration }),
    ),
    ...desired.chains.map((chain) => addChain(at, chain)),
    ...desired.chains.flatMap((chain) => addRules(at, chain)),
  ];
  if (seen === undefined) return { requests: fresh(), isRebuilt: true, strayChains: [], straySets: [] };
  if (mustRebuild(desired, seen)) {
    const requests: NftRequest[] = [{ op: 'deleteTable', ...at }, ...fresh()];
    return { requests, isRebuilt: true, strayChains: [], straySets: [] };
  }
  const requests: NftRequest[] = [];
  for (const [set, declaration] of desired.sets) {
    if (!seen.sets.has(set)) requests.push({ op: 'addSet', ...at, set, ...declaration });
  }
  const missing = desired.chains.filter(({ name }) => !seen.chains.has(name));
  requests.push(...missing.map((chain) => addChain(at, chain)));
  const wanted = new Set(desired.chains.map(({ name }) => name));
  const strayChains = [...seen.chains.keys()].filter((name) => !wanted.has(name));
  for (const chain of desired.chains) {
    const present = seen.chains.get(chain.name);
    if (present !== undefined && hasSameRules(chain, present)) continue;
    if (present !== undefined && present.rules.length > 0) {
      requests.push(flushChain(at, chain));
    }
    requests.push(...addRules(at, chain));
  }
  return {
    requests,
    isRebuilt: false,
    strayChains,
    straySets: [...seen.sets.keys()].filter((name) => !desired.sets.has(name)),
  };
}

/** A chain without its rules. */
export function addChain(at: TablePlace, chain: Chain): NftRequest {
  const request = { op: 'addChain', ...at, chain: chain.name } as const;
  return chain.base === undefined ? request : { ...request, base: chain.base };
}

/** All rules of a chain away. */
export function flushChain(at: TablePlace, { name }: Chain): NftRequest {
  return { op: 'flushChain', ...at, chain: name };
}

export function addRules(at: TablePlace, chain: Chain): NftRequest[] {
  return chain.rules.map((expressions) => ({
    op: 'addRule',
    ...at,
    chain: chain.name,
    expressions,
  }));
}

function mustRebuild(desired: DesiredStructure, seen: ObservedTable): boolean {
  if (seen.isDormant) return true;
  for (const [name, declaration] of desired.sets) {
    const present = seen.sets.get(name);
    if (present !== undefined && !isSameSet(declaration, present)) return true;
  }
  return desired.chains.some((chain) => {
    const present = seen.chains.get(chain.name);
    return present !== undefined && !hasSameBase(chain, present);
  });
}

function hasSameBase({ base }: Chain, { base: present }: ObservedChain): boolean {
  if (base === undefined || present === undefined) return base === present;
  return (
    base.type === present.type &&
    base.hook === present.hook &&
    base.priority === present.priority &&
    base.policy === present.policy
  );
}

/** True when a chain that was seen has the rules it should have. */
export function hasSameRules(chain: Chain, present: ObservedChain): boolean {
  return (
    chain.rules.length === present.rules.length &&
    chain.rules.every((rule, i) => isDeepEqual(normalizeExpressions(rule), present.rules[i]))
  );
}
