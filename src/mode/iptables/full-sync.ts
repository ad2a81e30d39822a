// The whole comparison: everything desired × everything observed → what to write. Rules of others stay what and where they
// are; chains that a kube-proxy left behind are adopted, rule by rule.

import type { IptablesRule } from '../../netlink/iptables/rule.ts';
import { type Delta, editChain } from './desired.ts';
import type { ChainEdit } from './dispatch.ts';
import type { Edit } from './edit-rules.ts';
import { isOwnJump, jumpChains } from './fixed-chains.ts';
import { isOwnChain } from './names.ts';
import { type ChainPlace, chainId, type PlannedChain } from './planned-chain.ts';
import { isSameRule } from './rule-text.ts';

/** A chain as the kernel was seen to hold it. */
export interface ObservedChain extends ChainPlace {
  readonly rules: readonly IptablesRule[];
  /**
   * Whether it is known to hold just these rules, in this order, where that can be told at less cost than by `rules`. False
   * proves nothing.
   */
  holds?(rules: readonly IptablesRule[]): boolean;
}

/** A chain that others have rules in, and which of the observed rules are ours. */
export interface SharedPlaces extends ChainPlace {
  /** Indexes of observed rules, in order. Edits of the chain count only these. */
  readonly own: readonly number[];
}

export interface FullSync extends Delta {
  readonly shared: readonly SharedPlaces[];
}

/** What counts as ours of what is there and not wanted. */
export interface Extent {
  hasChain(place: ChainPlace): boolean;
  /** Of a rule in the chain of a hook. */
  hasJump(hook: ChainPlace, rule: IptablesRule): boolean;
}

/** All that is ours, or a kube-proxy's. */
export const EVERYTHING: Extent = {
  hasChain: ({ table, name }) => isOwnChain(table, name),
  hasJump: ({ table }, rule) => isOwnJump(rule, (chain) => isOwnChain(table, chain)),
};

/**
 * Plans a full sync of the tables of one family: is told all that is wanted, then what there is, chain by chain, and
 * remembers of that only what is not as it shall be.
 */
export class FullSyncPlanner {
  /** Wanted, and not seen yet. */
  readonly #missing = new Map<string, PlannedChain>();
  readonly #edited: ChainEdit[] = [];
  readonly #shared: SharedPlaces[] = [];
  readonly #strays = new Map<string, { readonly place: ChainPlace; readonly size: number }>();
  readonly #usedByOthers = new Set<string>();
  readonly #extent: Extent;

  constructor(extent = EVERYTHING) {
    this.#extent = extent;
  }

  want(chain: PlannedChain): void {
    this.#missing.set(chainId(chain), chain);
  }

  /** Takes note of a chain, once. Returns whether the plan may edit or remove it. */
  see(observed: ObservedChain): boolean {
    const { table, name } = observed;
    const id = chainId(observed);
    const chain = this.#missing.get(id);
    this.#missing.delete(id);
    if (chain?.ownership === 'own') return this.#seeOwn(chain, observed);
    if (!this.#extent.hasChain(observed)) return this.#seeShared(chain, observed);
    this.#strays.set(id, { place: { table, name }, size: observed.rules.length });
    return true;
  }

  /** Whether a rule of somebody else, seen so far, leads there. */
  isUsedByOthers(place: ChainPlace): boolean {
    return this.#usedByOthers.has(chainId(place));
  }

  plan(): FullSync {
    const edited = [...this.#edited];
    const removed: ChainPlace[] = [];
    for (const { place, size } of this.#strays.values()) {
      // A chain that somebody jumps to cannot be deleted. Emptied it does nothing, and leads to nothing that goes.
      if (!this.isUsedByOthers(place)) removed.push(place);
      else if (size > 0) {
        const edits = Array.from(
          { length: size },
          () => ({ kind: 'delete', index: 0, service: undefined }) as const,
        );
        edited.push({ ...place, edits });
      }
    }
    return { added: [...this.#missing.values()], edited, removed, shared: this.#shared };
  }

  #seeOwn(chain: PlannedChain, observed: ObservedChain): boolean {
    const wanted = chain.rules();
    if (observed.holds?.(wanted)) return false;
    const edit = editChain(chain, observed.rules, wanted);
    if (edit === undefined) return false;
    this.#edited.push(edit);
    return true;
  }

  /** One that is not only ours, or not ours at all. */
  #seeShared(chain: PlannedChain | undefined, { table, name, rules }: ObservedChain): boolean {
    const plan = planShared(
      chain?.rules() ?? [],
      rules,
      (rule) => chain !== undefined && this.#extent.hasJump({ table, name }, rule),
    );
    if (chain !== undefined) this.#shared.push({ table, name, own: plan.own });
    if (plan.edits.length > 0) {
      const edits = plan.edits.map((edit) => ({ ...edit, service: undefined }));
      this.#edited.push({ table, name, edits });
    }
    const kept = new Set(plan.own);
    for (const [i, { target }] of rules.entries()) {
      if (kept.has(i) || (target?.kind !== 'jump' && target?.kind !== 'goto')) continue;
      this.#usedByOthers.add(chainId({ table, name: target.chain }));
    }
    return plan.edits.length > 0;
  }
}

/** The plan that brings a family from `observed` to `wanted` (Desired.chains). */
export function planFullSync(wanted: Iterable<PlannedChain>, observed: Iterable<ObservedChain>): FullSync {
  const planner = new FullSyncPlanner();
  for (const chain of wanted) planner.want(chain);
  for (const chain of observed) planner.see(chain);
  return planner.plan();
}

/** For the removal of all of an extent, that of ours or a kube-proxy's unless given; KUBE-FIREWALL is kubelet's, too. */
export function cleanupPlanner(extent = EVERYTHING): FullSyncPlanner {
  const planner = new FullSyncPlanner(extent);
  for (const chain of jumpChains(false)) planner.want({ ...chain, rules: () => [] });
  return planner;
}

/** What a `cleanupPlanner` came to: what is missing stays so. */
export function cleanupPlan(planner: FullSyncPlanner): FullSync {
  return { ...planner.plan(), added: [] };
}

interface SharedPlan {
  readonly own: readonly number[];
  readonly edits: readonly Edit<IptablesRule>[];
}

/**
 * Our rules in a chain of all: those that are there stay wherever others have moved them; a missing one follows the one
 * it shall follow, or else goes to the top, as kube-proxy's do. What is there twice, or from another version, goes.
 */
function planShared(
  wanted: readonly IptablesRule[],
  rules: readonly IptablesRule[],
  isStale: (rule: IptablesRule) => boolean,
): SharedPlan {
  const own: number[] = [];
  /** Index in `wanted` of each of our rules as they are; undefined for one that goes. */
  const present: (number | undefined)[] = [];
  for (const [i, rule] of rules.entries()) {
    const at = wanted.findIndex((one) => isSameRule(one, rule));
    if (at < 0 && !isStale(rule)) continue;
    own.push(i);
    present.push(at < 0 || present.includes(at) ? undefined : at);
  }
  const edits: Edit<IptablesRule>[] = [];
  for (let index = present.length - 1; index >= 0; index--) {
    if (present[index] !== undefined) continue;
    edits.push({ kind: 'delete', index });
    present.splice(index, 1);
  }
  for (const [at, item] of wanted.entries()) {
    if (present.includes(at)) continue;
    const index = present.indexOf(at - 1) + 1;
    edits.push({ kind: 'insert', index, item });
    present.splice(index, 0, at);
  }
  return { own, edits };
}
