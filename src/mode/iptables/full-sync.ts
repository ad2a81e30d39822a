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
const EVERYTHING: Extent = {
  hasChain: ({ table, name }) => isOwnChain(table, name),
  hasJump: ({ table }, rule) => isOwnJump(rule, (chain) => isOwnChain(table, chain)),
};

/**
 * Plans a full sync of the tables of one family to `wanted` (Desired.chains). Reads `observed` once; each chain may be
 * forgotten after its turn.
 */
export function planFullSync(
  wanted: Iterable<PlannedChain>,
  observed: Iterable<ObservedChain>,
  extent = EVERYTHING,
): FullSync {
  const missing = new Map<string, PlannedChain>();
  for (const chain of wanted) missing.set(chainId(chain), chain);
  const edited: ChainEdit[] = [];
  const shared: SharedPlaces[] = [];
  const strays = new Map<string, { readonly place: ChainPlace; readonly size: number }>();
  const usedByOthers = new Set<string>();
  for (const { table, name, rules } of observed) {
    const chain = missing.get(chainId({ table, name }));
    missing.delete(chainId({ table, name }));
    if (chain?.ownership === 'own') {
      const edit = editChain(chain, rules, chain.rules());
      if (edit !== undefined) edited.push(edit);
    } else if (extent.hasChain({ table, name })) {
      strays.set(chainId({ table, name }), { place: { table, name }, size: rules.length });
    } else {
      const plan = planShared(
        chain?.rules() ?? [],
        rules,
        (rule) => chain !== undefined && extent.hasJump({ table, name }, rule),
      );
      if (chain !== undefined) shared.push({ table, name, own: plan.own });
      if (plan.edits.length > 0) {
        edited.push({ table, name, edits: plan.edits.map((edit) => ({ ...edit, service: undefined })) });
      }
      const kept = new Set(plan.own);
      for (const [i, { target }] of rules.entries()) {
        if (kept.has(i) || (target?.kind !== 'jump' && target?.kind !== 'goto')) continue;
        usedByOthers.add(chainId({ table, name: target.chain }));
      }
    }
  }
  const removed: ChainPlace[] = [];
  for (const [id, { place, size }] of strays) {
    // A chain that somebody jumps to cannot be deleted. Emptied it does nothing, and leads to nothing that goes.
    if (!usedByOthers.has(id)) removed.push(place);
    else if (size > 0) {
      const edits = Array.from(
        { length: size },
        () => ({ kind: 'delete', index: 0, service: undefined }) as const,
      );
      edited.push({ ...place, edits });
    }
  }
  return { added: [...missing.values()], edited, removed, shared };
}

/** Plans the removal of all of an extent, that of ours or a kube-proxy's unless given; KUBE-FIREWALL is kubelet's, too. */
export function planCleanup(observed: Iterable<ObservedChain>, extent = EVERYTHING): FullSync {
  const hooks = jumpChains(false).map((chain) => ({ ...chain, rules: () => [] }));
  return { ...planFullSync(hooks, observed, extent), added: [] };
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
