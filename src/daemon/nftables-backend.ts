// nftables mode's shell: observes the table, applies plans through one netlink session, and settles what the kernel
// refuses. All plans come from src/mode/nftables.
//
// INVARIANTS: `#desired` is always what is wanted. While `#isTrusted`, the kernel holds exactly that, less what belongs
// to `#frozen` Services, plus what `#deferred` and `#unused` list. After any failure it is not trusted, and the next sync observes
// and compares everything.

import { KproxyError } from '../errors.ts';
import type { RuleSettings } from '../mode/nftables/chains.ts';
import { deleteObjects } from '../mode/nftables/cleanup.ts';
import { Deferred, type DeferredObject } from '../mode/nftables/deferred.ts';
import { Desired, type DesiredDelta, shapeChange } from '../mode/nftables/desired.ts';
import { type ElementChange, elementId, mustWait } from '../mode/nftables/element-change.ts';
import { ofFamilies, planFullSync } from '../mode/nftables/full-sync.ts';
import { SHAPE_SETS, tablePlace } from '../mode/nftables/names.ts';
import { isShapeChain, neededChainName, neededChainOf } from '../mode/nftables/needed-chain.ts';
import { previousIn } from '../mode/nftables/observed.ts';
import { OWNED, OWNED_PORTALS } from '../mode/nftables/ownership.ts';
import { type PlanFrontend, type Previous, planFrontends } from '../mode/nftables/planned-frontend.ts';
import { addChain, addRules, flushChain } from '../mode/nftables/reconcile-structure.ts';
import { ruleScheduler } from '../mode/nftables/shape.ts';
import { UnusedShapes } from '../mode/nftables/unused-shapes.ts';
import { isDeepEqual } from '../model/deep-equal.ts';
import type { IpFamily } from '../model/ip.ts';
import type { Problem, ServiceKey } from '../model/types.ts';
import type { NftRequest } from '../netlink/nftables/batch.ts';
import type { Frontend } from '../vip/frontend.ts';
import type { Surroundings } from '../vip/surroundings.ts';
import { UnmetWishes } from '../vip/unmet-wishes.ts';
import { attempt, isTransient, type Progress } from './attempt.ts';
import type { Backend, BackendUpdate, SyncResult } from './backend.ts';
import { withCounters } from './carried-counters.ts';
import { ClientRetiming } from './client-retiming.ts';
import type { NftSession, Refusal } from './nft-session.ts';
import { NftWriter } from './nft-writer.ts';
import { TableOwnership } from './table-ownership.ts';

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
  readonly #writer: NftWriter;
  /** undefined where the tables are everybody's. */
  readonly #ownership: TableOwnership | undefined;
  #isTrusted = false;
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
    this.#watch = watch;
    this.#families = families;
    this.#plan = planGate ?? planPortal;
    const writer = new NftWriter(session);
    this.#writer = writer;
    const commit = writer.commitUncounted.bind(writer);
    const ownedFlags = planPortal === undefined ? OWNED : OWNED_PORTALS;
    this.#ownership = ownsTables ? new TableOwnership({ session, ownedFlags, commit }) : undefined;
    this.#rules = {
      table: session.table,
      masqueradeBit,
      localPods: new Map(),
      isGate: planGate !== undefined,
      isPortals: planPortal !== undefined,
    };
    this.#retiming = new ClientRetiming({ session, families, commit });
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
      return this.#frozen.size > 0 || !(await this.#writer.isAlone());
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
        const elements = await withCounters(this.#session, plan.elements);
        const refusals = await this.#writer.commitAll(plan.structure, elements, progress);
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
    let refusals = await this.#writer.commitAll([], elements, progress);
    if (refusals.length === 0)
      refusals = await this.#writer.commitAll(deleteObjects(objects, this.#rules.table), [], progress);
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
      this.#writer.observed(generation);
      this.#deferred.clear();
      this.#unused.clear();
      const areOwned = (await this.#ownership?.claim(observed, progress)) === true;
      const plan = planFullSync(
        this.#desired,
        this.#families,
        this.#rules,
        observed,
        new Set(this.#frozen.keys()),
        (change) => this.#deferred.addElement(change),
        this.#ownership?.flags ?? 0,
      );
      this.#retiming.note(plan.retimed);
      const refusals = await this.#writer.commitAll(plan.structure, plan.elements, progress);
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
