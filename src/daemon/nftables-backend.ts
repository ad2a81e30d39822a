// nftables mode's shell: observes the table, applies plans through one netlink session, and settles what the kernel
// refuses. All plans come from src/mode/nftables.
//
// INVARIANTS: `#desired` is always what is wanted. While `#isTrusted`, the kernel holds exactly that, less what belongs
// to `#frozen` Services, plus what `#deferred` and `#unused` list. After any failure it is not trusted, and the next sync observes
// and compares everything.

import { KernelError, KproxyError } from '../errors.ts';
import type { RuleSettings } from '../mode/nftables/chains.ts';
import { deleteObjects } from '../mode/nftables/cleanup.ts';
import { Deferred, type DeferredObject } from '../mode/nftables/deferred.ts';
import { Desired, type DesiredDelta, shapeChange } from '../mode/nftables/desired.ts';
import {
  type ElementChange,
  elementId,
  groupBySet,
  isCounted,
  mustWait,
} from '../mode/nftables/element-change.ts';
import { ofFamilies, planFullSync } from '../mode/nftables/full-sync.ts';
import { nftFamily, SHAPE_SETS, tablePlace } from '../mode/nftables/names.ts';
import { isShapeChain, neededChainName, neededChainOf } from '../mode/nftables/needed-chain.ts';
import { type Observed, previousIn } from '../mode/nftables/observed.ts';
import {
  adoptTables,
  OWNED,
  OWNED_PORTALS,
  ownershipOf,
  probeOwnership,
} from '../mode/nftables/ownership.ts';
import { type PlanFrontend, type Previous, planFrontends } from '../mode/nftables/planned-frontend.ts';
import { addChain, addRules, flushChain } from '../mode/nftables/reconcile-structure.ts';
import { ruleScheduler } from '../mode/nftables/shape.ts';
import {
  chunkChanges,
  countWrites,
  elementTransaction,
  joinTransactions,
  structureTransaction,
  type Transaction,
} from '../mode/nftables/transaction.ts';
import { UnusedShapes } from '../mode/nftables/unused-shapes.ts';
import { isDeepEqual } from '../model/deep-equal.ts';
import type { IpFamily } from '../model/ip.ts';
import type { Problem, ServiceKey } from '../model/types.ts';
import type { NftRequest } from '../netlink/nftables/batch.ts';
import type { Counter } from '../netlink/nftables/element.ts';
import type { Frontend } from '../vip/frontend.ts';
import type { Surroundings } from '../vip/surroundings.ts';
import { UnmetWishes } from '../vip/unmet-wishes.ts';
import { attempt, isTransient, type Progress } from './attempt.ts';
import type { Backend, BackendUpdate, SyncResult } from './backend.ts';
import { ClientRetiming } from './client-retiming.ts';
import type { NftSession, Refusal } from './nft-session.ts';

/** How often one sync compares everything anew because the kernel refused some Service. */
const MAX_ROUNDS = 8;

export interface NftablesBackendOptions {
  readonly session: NftSession;
  /** Somebody else closes the session. */
  readonly sharesSession?: boolean;
  /** Own the tables, where the kernel can; by default not. */
  readonly ownsTables?: boolean;
  /** Begins to tell of what others change, once the tables are in force, unless all are owned. `portId`: of the session. */
  readonly watch?: (portId: number) => { close(): void };
  readonly families: readonly IpFamily[];
  /** 0 to 31: the bit of the packet mark that asks for masquerading. */
  readonly masqueradeBit: number;
  /** Makes the table a gate, which balances nothing, and this what plans it. */
  readonly planGate?: PlanFrontend;
  /** Makes the table one of portals, and this what plans it: owned, it goes with the session. */
  readonly planPortal?: PlanFrontend;
}

export class NftablesBackend implements Backend {
  readonly #session: NftSession;
  readonly #sharesSession: boolean;
  readonly #families: readonly IpFamily[];
  readonly #plan: PlanFrontend | undefined;
  #rules: RuleSettings;
  readonly #desired = new Desired();
  readonly #deferred = new Deferred();
  readonly #unused = new UnusedShapes();
  /** What was handed over and is not in `#desired` yet. */
  readonly #pending = new Map<ServiceKey, readonly Frontend[]>();
  #pendingSurroundings: Surroundings | undefined;
  readonly #frozen = new Map<ServiceKey, Refusal>();
  readonly #unmet = new UnmetWishes('nftables', (scheduler) => ruleScheduler(scheduler) !== undefined);
  readonly #retiming: ClientRetiming;
  #isTrusted = false;
  /** The generation that the last observation saw, plus one for every commit of ours since. */
  #generation = 0;
  readonly #ownsTables: boolean;
  /** From TABLE_FLAGS. */
  readonly #ownedFlags: number;
  /** undefined until it is known. */
  #canOwn: boolean | undefined;
  readonly #watch: ((portId: number) => { close(): void }) | undefined;
  #watching: { close(): void } | undefined;

  constructor({
    session,
    sharesSession = false,
    ownsTables = false,
    watch,
    families,
    masqueradeBit,
    planGate,
    planPortal,
  }: NftablesBackendOptions) {
    this.#session = session;
    this.#sharesSession = sharesSession;
    this.#ownsTables = ownsTables;
    this.#watch = watch;
    this.#families = families;
    this.#plan = planGate ?? planPortal;
    this.#ownedFlags = planPortal === undefined ? OWNED : OWNED_PORTALS;
    this.#rules = {
      table: session.table,
      masqueradeBit,
      localPods: new Map(),
      isGate: planGate !== undefined,
      isPortals: planPortal !== undefined,
    };
    this.#retiming = new ClientRetiming({
      session,
      families,
      commit: (transaction, progress) => this.#commitUncounted(transaction, progress),
    });
  }

  get hasDeferred(): boolean {
    // What a comparison finds is put off anew.
    return this.#isTrusted && this.#deferred.size > 0;
  }

  distrust(): void {
    if (this.#isTrusted) this.#frozen.clear();
    this.#isTrusted = false;
  }

  problems(): Problem[] {
    return [
      ...[...this.#frozen].map(([service, { error }]) => ({
        subject: `Service ${service}`,
        code: 'REFUSED_BY_KERNEL',
        reason: error.message,
      })),
      ...this.#unmet.problems(),
    ];
  }

  close(): void {
    this.#watching?.close();
    if (!this.#sharesSession) this.#session.close();
  }

  async hasDrifted(): Promise<boolean> {
    try {
      return this.#frozen.size > 0 || (await this.#session.generation()) !== this.#generation;
    } catch (error) {
      if (!(error instanceof KproxyError)) throw error;
      return true;
    }
  }

  async sync(update: BackendUpdate): Promise<SyncResult> {
    for (const [service, frontends] of update.frontends) {
      this.#pending.set(service, frontends);
      if (this.#plan === undefined) this.#unmet.note(service, frontends);
    }
    this.#pendingSurroundings = update.surroundings ?? this.#pendingSurroundings;
    this.#detectLocalPods(update);
    this.#thaw(update);
    const result = await this.#attempt(async (progress) => {
      if (this.#isTrusted) {
        const plan = this.#planPending(this.#desired);
        const elements = await this.#withCounters(plan.elements);
        const refusals = await this.#commitAll(plan.structure, elements, progress);
        this.#isTrusted = refusals.length === 0;
      }
      if (!this.#isTrusted) await this.#syncFully(progress);
      if (this.#isTrusted) await this.#retiming.run(progress);
    });
    for (const [service, { error }] of this.#frozen) result.failures.push({ error, services: [service] });
    return result;
  }

  async flushDeferred(): Promise<SyncResult> {
    return this.#attempt(async (progress) => {
      if (!this.#isTrusted) return;
      const { elements, objects } = this.#deferred.take();
      await this.#delete(elements, objects, progress);
    });
  }

  async releaseUnused(): Promise<SyncResult> {
    return this.#attempt(async (progress) => {
      if (!this.#isTrusted) return;
      const chains = this.#unused.take();
      const shapes = chains.filter(isShapeChain);
      await this.#delete(
        shapes.map((chain) => shapeChange(chain, false)),
        chains.map((chain) => ({ kind: 'chain', family: chain.family, name: neededChainName(chain) })),
        progress,
      );
      if (progress.failures.length === 0) for (const chain of shapes) this.#desired.forgetShape(chain);
    });
  }

  /** Elements first: a chain cannot go in the transaction that deletes the last element that leads to it (before 6.2). */
  async #delete(
    elements: readonly ElementChange[],
    objects: readonly DeferredObject[],
    progress: Progress,
  ): Promise<void> {
    let refusals = await this.#commitAll([], elements, progress);
    if (refusals.length === 0)
      refusals = await this.#commitAll(deleteObjects(objects, this.#rules.table), [], progress);
    if (refusals.length > 0) this.#fail(refusals, progress);
  }

  #attempt(step: (progress: Progress) => Promise<void>): Promise<Progress> {
    return attempt(step, () => {
      this.#isTrusted = false;
    });
  }

  /** With another way to tell pods of this node, many chains are others: a comparison finds them all. */
  #detectLocalPods({ surroundings }: BackendUpdate): void {
    if (surroundings === undefined) return;
    const { localPods } = surroundings;
    if (isDeepEqual([...localPods], [...this.#rules.localPods])) return;
    this.#rules = { ...this.#rules, localPods };
    this.#isTrusted = false;
  }

  /**
   * Refused Services get another chance when they change, and whenever the loop retries; but not before all of them
   * are known, or the first ones found would keep the others from being found.
   */
  #thaw({ frontends, surroundings }: BackendUpdate): void {
    const isRetry = this.#isTrusted && frontends.size === 0 && surroundings === undefined;
    for (const service of [...(isRetry ? this.#frozen : frontends).keys()]) {
      if (this.#frozen.delete(service)) this.#isTrusted = false;
    }
  }

  /**
   * Compares everything with the kernel. A Service that the kernel refuses is left out of the next round; when there
   * are more of them than rounds, the next sync goes on finding them.
   */
  async #syncFully(progress: Progress): Promise<void> {
    progress.isFull = true;
    for (let round = 1; ; round++) {
      const { observed, generation } = await this.#session.observe(this.#families);
      this.#desired.learnShapeIds(observed);
      this.#planPending(firstOf(this.#desired, previousIn(observed)));
      this.#generation = generation;
      this.#deferred.clear();
      this.#unused.clear();
      const areOwned = this.#ownsTables && (await this.#own(observed, progress));
      const plan = planFullSync(
        this.#desired,
        this.#families,
        this.#rules,
        observed,
        new Set(this.#frozen.keys()),
        (change) => this.#deferred.addElement(change),
        this.#canOwn === true ? this.#ownedFlags : 0,
      );
      this.#retiming.note(plan.retimed);
      const refusals = await this.#commitAll(plan.structure, plan.elements, progress);
      if (refusals.length === 0) {
        for (const object of plan.strays) this.#deferred.addObject(object);
        for (const chain of plan.unused) this.#unused.add(chain);
        this.#isTrusted = true;
        if (!areOwned) this.#watching ??= this.#watch?.(await this.#session.portId());
        return;
      }
      const blamed = refusals.filter(isAboutService);
      for (const refusal of blamed) this.#frozen.set(refusal.change!.service!, refusal);
      if (blamed.length === 0 || round === MAX_ROUNDS) {
        this.#fail(refusals, progress);
        return;
      }
    }
  }

  /**
   * Makes the tables that are there ours where that can be, and finds out whether new ones can be. Returns whether all will be.
   * Throws KernelError when somebody else owns one.
   */
  async #own(observed: Observed, progress: Progress): Promise<boolean> {
    const { orphans, strangers, ownerless } = ownershipOf(
      observed,
      await this.#session.portId(),
      this.#ownedFlags,
    );
    const [stranger] = strangers;
    if (stranger !== undefined) {
      const table = `table ${nftFamily(stranger.family)} ${this.#rules.table}`;
      throw new KernelError(
        'EPERM',
        1,
        `write ${table}`,
        `owned by another socket (netlink port ${stranger.owner})`,
      );
    }
    if (orphans.length > 0) {
      const refusals = await this.#commitUncounted(
        structureTransaction(adoptTables(orphans, this.#rules.table)),
        progress,
      );
      if (refusals[0] !== undefined) throw refusals[0].error;
    }
    this.#canOwn ??= orphans.length > 0 || (await this.#probeOwnership(progress));
    return this.#canOwn && ownerless.length === 0;
  }

  async #probeOwnership(progress: Progress): Promise<boolean> {
    const refusals = await this.#commitUncounted(
      structureTransaction(probeOwnership(this.#ownedFlags)),
      progress,
    );
    const unexpected = refusals.find(({ error }) => isTransient(error));
    if (unexpected !== undefined) throw unexpected.error;
    return refusals.length === 0;
  }

  /** Takes the pending update into `#desired`; what it returns brings a trusted kernel there. */
  #planPending(previous: Previous): { structure: NftRequest[]; elements: ElementChange[] } {
    const delta = this.#desired.update(planFrontends(this.#pending, previous, this.#plan));
    this.#pending.clear();
    this.#retiming.note(delta.retimed);
    const surroundings = this.#pendingSurroundings;
    this.#pendingSurroundings = undefined;
    const networks = surroundings === undefined ? [] : this.#desired.updateSurroundings(surroundings);
    const known = new Set(this.#unused.keys());
    return {
      structure: this.#planChains(delta),
      elements: this.#planElements([...networks, ...delta.elements], known),
    };
  }

  #planChains({ addedChains, removedChains }: DesiredDelta): NftRequest[] {
    const requests: NftRequest[] = [];
    for (const added of addedChains) {
      const { family } = added;
      if (!this.#families.includes(family) || this.#unused.revive(added)) continue;
      const chain = neededChainOf(added, this.#rules);
      const at = tablePlace(family, this.#rules.table);
      // One that waits for its deletion may be left from other settings, or somebody else's.
      const isPresent = this.#deferred.reviveObject({ kind: 'chain', family, name: chain.name });
      requests.push(isPresent ? flushChain(at, chain) : addChain(at, chain), ...addRules(at, chain));
    }
    for (const removed of removedChains)
      if (this.#families.includes(removed.family)) this.#unused.add(removed);
    return requests;
  }

  /** Puts off what must wait, and takes back what waited and is wanted again. */
  #planElements(changes: readonly ElementChange[], unusedBefore: ReadonlySet<string>): ElementChange[] {
    const now: ElementChange[] = [];
    for (const change of ofFamilies(changes, this.#families)) {
      // The element of a shape stays and comes back with its chain.
      if (SHAPE_SETS.has(change.set) && (change.after === undefined || unusedBefore.has(elementId(change))))
        continue;
      if (mustWait(change)) this.#deferred.addElement(change);
      else {
        const revived = this.#deferred.revive(change);
        if (revived !== undefined) now.push(revived);
      }
    }
    // Last, behind the slots that led to them.
    now.push(...this.#deferred.revokePicked(changes));
    return now;
  }

  /** A replaced element starts with the count of the one it replaces, as of now. */
  async #withCounters(changes: readonly ElementChange[]): Promise<readonly ElementChange[]> {
    const counters = new Map<ElementChange, Counter>();
    for (const group of groupBySet(changes.filter(isCounted))) {
      const { family, set } = group[0]!;
      const keys = group.map(({ key }) => key);
      try {
        const counted = await this.#session.counters(family, set, keys);
        for (const change of group) {
          const counter = counted.get(change.key);
          if (counter !== undefined) counters.set(change, counter);
        }
      } catch (error) {
        // Somebody took an element away: the commit will say so and lead to a full comparison.
        if (!(error instanceof KernelError)) throw error;
      }
    }
    if (counters.size === 0) return changes;
    return changes.map((change) => {
      const counter = counters.get(change);
      return counter === undefined ? change : { ...change, counter };
    });
  }

  /** Structure first, elements after it, in transactions of bounded size. Stops at the first refusal. */
  async #commitAll(
    structure: readonly NftRequest[],
    elements: Iterable<ElementChange>,
    progress: Progress,
  ): Promise<readonly Refusal[]> {
    let head = structureTransaction(structure);
    for (const chunk of chunkChanges(elements, this.#session.transactionBytes)) {
      const refusals = await this.#commit(
        joinTransactions(head, elementTransaction(chunk, this.#rules.table)),
        progress,
      );
      if (refusals.length > 0) return refusals;
      head = structureTransaction([]);
    }
    return this.#commit(head, progress);
  }

  async #commit(transaction: Transaction, progress: Progress): Promise<readonly Refusal[]> {
    const refusals = await this.#commitUncounted(transaction, progress);
    if (refusals.length === 0) progress.writes += countWrites(transaction);
    return refusals;
  }

  /** Of what is no rule, or is counted otherwise. */
  async #commitUncounted(transaction: Transaction, progress: Progress): Promise<readonly Refusal[]> {
    const { refusals, commits } = await this.#session.commit(transaction);
    this.#generation += commits;
    progress.transactions += commits;
    return refusals;
  }

  /** Whatever the refusals are about: of their transaction, which may be about anybody, nothing is in force. */
  #fail(refusals: readonly Refusal[], progress: Progress): void {
    this.#isTrusted = false;
    for (const { error } of refusals) progress.failures.push({ error, services: [] });
  }
}

/** What the first knows of a side, else what the second does. */
function firstOf(first: Previous, second: Previous): Previous {
  const slotsOr = (slots: readonly string[], others: () => readonly string[]) =>
    slots.length > 0 ? slots : others();
  return {
    slots: (place) => slotsOr(first.slots(place), () => second.slots(place)),
    picks: (place) => slotsOr(first.picks(place), () => second.picks(place)),
    ids: (place) => (first.ids(place).size > 0 ? first.ids(place) : second.ids(place)),
  };
}

function isAboutService({ error, change }: Refusal): boolean {
  return change?.service !== undefined && !isTransient(error);
}
