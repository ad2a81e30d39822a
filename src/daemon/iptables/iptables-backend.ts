// iptables mode's shell: observes the tables, applies plans, and settles what the kernel refuses. All plans come from
// src/mode/iptables.
//
// INVARIANT: while `#isTrusted`, the kernel holds what `#desired` says, but for chains that the tables tell were changed by
// others, and those that a `#comparison` has not come to yet. After any failure it is not trusted, and the next sync observes and compares everything. A Service that the kernel
// refused stays as it was, until it changes or the loop retries.

import { KproxyError } from '../../errors.ts';
import { Desired } from '../../mode/iptables/desired.ts';
import type { RuleSettings } from '../../mode/iptables/fixed-chains.ts';
import type { FullSync } from '../../mode/iptables/full-sync.ts';
import { isOwnChain } from '../../mode/iptables/names.ts';
import {
  type ChainPlace,
  chainId,
  chainPlace,
  type PlannedChain,
} from '../../mode/iptables/planned-chain.ts';
import type { IpFamily } from '../../model/ip.ts';
import type { Problem, ServiceKey } from '../../model/types.ts';
import type { Frontend } from '../../vip/frontend.ts';
import type { Surroundings } from '../../vip/surroundings.ts';
import { UnmetWishes } from '../../vip/unmet-wishes.ts';
import { attempt, type Progress } from '../attempt.ts';
import type { Backend, BackendUpdate, SyncResult } from '../backend.ts';
import type { Log } from '../log.ts';
import { ROUTE_LOCALNET } from '../sysctl.ts';
import { inPieces, Turn } from '../turn.ts';
import { Comparison } from './comparison.ts';
import { planAgainst } from './plan-against.ts';
import type { Applied, ChainsByFamily, IptablesRefusal, IptablesTables } from './tables.ts';

/** How often one sync compares everything anew because the kernel refused some Service. */
const MAX_ROUNDS = 8;

/** So many chains are some milliseconds of comparing. */
const PIECE_CHAINS = 200;

/** So many Services are some milliseconds of planning. */
const PIECE_SERVICES = 100;

export interface IptablesBackendOptions {
  readonly tables: IptablesTables;
  readonly families: readonly IpFamily[];
  readonly settings: RuleSettings;
  /** As sysctl(8), names with slashes. Throws KernelError. */
  readonly setSysctl: (name: string, value: string) => void;
  readonly log: Log;
}

interface Refused {
  readonly error: Error;
  readonly frontends: readonly Frontend[];
}

export class IptablesBackend implements Backend {
  readonly #tables: IptablesTables;
  readonly #setSysctl: IptablesBackendOptions['setSysctl'];
  readonly #log: Log;
  /** Why node ports are not served on 127.0.0.1, told once. */
  #localnetProblem: string | undefined;
  readonly #desired: ReadonlyMap<IpFamily, Desired>;
  /** What was handed over and is not in `#desired` yet. */
  readonly #pending = new Map<ServiceKey, readonly Frontend[]>();
  #pendingSurroundings: Surroundings | undefined;
  readonly #refused = new Map<ServiceKey, Refused>();
  readonly #unmet = new UnmetWishes('iptables', (scheduler) => scheduler === 'random');
  /** What Services in `#desired` had before, until what they have now is in force. */
  readonly #former = new Map<ServiceKey, readonly Frontend[]>();
  #isTrusted = false;
  /** Under way, since others may have changed anything. */
  #comparison: Comparison | undefined;
  /** Others were noticed to have changed our chains. */
  #isSuspicious = false;

  constructor({ tables, families, settings, setSysctl, log }: IptablesBackendOptions) {
    this.#tables = tables;
    this.#setSysctl = setSysctl;
    this.#log = log;
    this.#desired = new Map(families.map((family) => [family, new Desired(family, settings)]));
  }

  /** A rule goes in the transaction that no longer needs it: nothing waits. */
  readonly hasDeferred = false;

  get hasMore(): boolean {
    return this.#comparison !== undefined;
  }

  flushDeferred(): Promise<SyncResult> {
    return this.#attempt(async () => undefined);
  }

  releaseUnused(): Promise<SyncResult> {
    return this.#attempt(async () => undefined);
  }

  distrust(): void {
    if (!this.#isTrusted) return;
    this.#thaw(this.#refused.keys());
    this.#isSuspicious = true;
    if (this.#tables.takeChanged === undefined) this.#isTrusted = false;
  }

  problems(): Problem[] {
    return [
      ...[...this.#refused].map(([service, { error }]) => ({
        subject: `Service ${service}`,
        code: 'REFUSED_BY_KERNEL',
        reason: error.message,
      })),
      ...this.#unmet.problems(),
    ];
  }

  close(): void {
    this.#tables.close();
  }

  async hasDrifted(): Promise<boolean> {
    try {
      return this.#refused.size > 0 || (await this.#tables.hasChanged());
    } catch (error) {
      if (!(error instanceof KproxyError)) throw error;
      return true;
    }
  }

  async sync({ frontends, surroundings }: BackendUpdate): Promise<SyncResult> {
    const isRetry = this.#isTrusted && frontends.size === 0 && surroundings === undefined;
    if (isRetry) this.#thaw(this.#refused.keys());
    for (const [service, list] of frontends) {
      this.#refused.delete(service);
      this.#pending.set(service, list);
      this.#unmet.note(service, list);
    }
    this.#pendingSurroundings = surroundings ?? this.#pendingSurroundings;
    const result = await this.#attempt(async (progress) => {
      const isUnderWay = this.#comparison !== undefined;
      if (this.#isTrusted && (await this.#repair(progress)) && (await this.#syncPartly(progress)))
        if (isUnderWay || (await this.#compareSome(progress))) return;
      await this.#syncFully(progress);
    });
    return this.#concluded(result);
  }

  async resume(): Promise<SyncResult> {
    const result = await this.#attempt(async (progress) => {
      if (this.#isTrusted && (await this.#compareSome(progress))) return;
      await this.#syncFully(progress);
      progress.repairs = progress.writes;
    });
    return this.#concluded(result);
  }

  #concluded(result: Progress): Progress {
    if (!this.#isTrusted || result.isFull) this.#comparison = undefined;
    this.#isSuspicious = false;
    if (this.#isTrusted) this.#former.clear();
    this.#routeLocalnet();
    for (const [service, { error }] of this.#refused) result.failures.push({ error, services: [service] });
    return result;
  }

  /** Where a node port shall be served on 127.0.0.1 the kernel must route such packets out; a guard chain came before. */
  #routeLocalnet(): void {
    if (!this.#isTrusted || this.#desired.get(4)?.needsRouteLocalnet !== true) return;
    try {
      this.#setSysctl(ROUTE_LOCALNET, '1');
      this.#localnetProblem = undefined;
    } catch (error) {
      if (!(error instanceof KproxyError)) throw error;
      if (this.#localnetProblem === error.message) return;
      this.#localnetProblem = error.message;
      this.#log.warn({ err: error }, 'node ports are not served on 127.0.0.1');
    }
  }

  /** Compares the chains that others have changed. False when all is to be compared. */
  async #repair(progress: Progress): Promise<boolean> {
    const changed = (await this.#tables.takeChanged?.()) ?? new Map();
    if (changed !== 'all') return this.#compareThose(changed, progress);
    // What comes from now on is noticed again.
    await this.#tables.begin();
    await this.#tables.watch?.();
    this.#comparison = new Comparison(this.#desired);
    return true;
  }

  /** False when all is to be compared. */
  async #compareThose(chains: ChainsByFamily, progress: Progress): Promise<boolean> {
    for (const [family, only] of chains) {
      if (only.size === 0) continue;
      const wanted: PlannedChain[] = [];
      const turn = new Turn();
      for (const chain of this.#desired.get(family)?.chains() ?? []) {
        if (only.has(chainId(chain))) wanted.push(chain);
        if (turn.isOver) await turn.next();
      }
      const plan = await planAgainst(this.#tables, family, wanted, { only: [...only].map(chainPlace) });
      if (!(await this.#repairWith(family, plan, progress))) return false;
    }
    return true;
  }

  /**
   * Some pieces of the comparison under way. False when all is to be compared at once: something was refused, or chains are gone,
   * which then are not the only ones.
   */
  async #compareSome(progress: Progress): Promise<boolean> {
    const comparison = this.#comparison;
    if (comparison === undefined) return true;
    const turn = new Turn();
    while (!turn.isOver) {
      const piece = comparison.take(PIECE_CHAINS);
      if (piece === undefined) return this.#endComparison(comparison, progress);
      const { family, wanted } = piece;
      const plan = await planAgainst(this.#tables, family, wanted, { only: wanted });
      const [missing] = plan.added;
      if (missing !== undefined) return false;
      if (!(await this.#repairWith(family, plan, progress))) return false;
    }
    return true;
  }

  /** Compares what was written meanwhile, and takes away what nobody wants. */
  async #endComparison(comparison: Comparison, progress: Progress): Promise<boolean> {
    if (!(await this.#compareThose(comparison.written, progress))) return false;
    for (const family of this.#desired.keys()) {
      const places = await this.#tables.list(family);
      const strays = comparison.strays(family, places);
      if (strays.length === 0) continue;
      // Who else leads there is only known from all the others.
      const others = places.filter(({ table, name }) => !isOwnChain(table, name));
      const plan = await planAgainst(this.#tables, family, [], { only: [...others, ...strays] });
      if (!(await this.#repairWith(family, plan, progress))) return false;
    }
    progress.isFull = true;
    return true;
  }

  /** False when something was refused. */
  async #repairWith(family: IpFamily, plan: FullSync, progress: Progress): Promise<boolean> {
    const applied = await this.#tables.apply(family, plan, plan.shared);
    count(progress, applied);
    progress.repairs += applied.writes;
    if (applied.refusals.length > 0) return false;
    // The loop tells of what it has asked for.
    if (applied.writes > 0 && !this.#isSuspicious && this.#comparison === undefined)
      this.#log.warn({ writes: applied.writes }, 'repaired what somebody else had changed');
    return true;
  }

  /** False when something was refused: all is to be compared. */
  async #syncPartly(progress: Progress): Promise<boolean> {
    const { frontends, surroundings } = this.#takePending();
    // All are told before the first is written: what one family refuses is not lost to the other.
    const deltas = [...this.#desired].map(
      ([family, desired]) => [family, desired.update(frontends, surroundings)] as const,
    );
    // In chains of all, which rules are ours is only known from a look at them.
    if (deltas.some(([, { edited }]) => edited.some(isSharedChain))) return false;
    for (const [family, delta] of deltas) {
      this.#comparison?.note(family, delta);
      const applied = await this.#tables.apply(family, delta);
      count(progress, applied);
      if (applied.refusals.length > 0) return false;
    }
    return true;
  }

  /**
   * Compares everything with the kernel. A Service that the kernel refuses is as before in the next round, or else left out;
   * when there are more of them than rounds, the next sync goes on finding them.
   */
  async #syncFully(progress: Progress): Promise<void> {
    this.#isTrusted = false;
    progress.isFull = true;
    await this.#updateDesired();
    for (let round = 1; ; round++) {
      const refusals = await this.#compareAll(progress);
      if (refusals.length === 0) {
        await this.#tables.watch?.();
        this.#isTrusted = true;
        return;
      }
      const blamed = new Map<ServiceKey, Error>();
      for (const { error, service } of refusals) if (service !== undefined) blamed.set(service, error);
      if (blamed.size === 0 || round === MAX_ROUNDS) {
        for (const { error } of refusals) progress.failures.push({ error, services: [] });
        return;
      }
      for (const [service, error] of blamed) this.#refuse(service, error);
    }
  }

  /** Puts the Service back to what it had; to nothing if that was refused, too. */
  #refuse(service: ServiceKey, error: Error): void {
    const wanted = this.#refused.get(service)?.frontends ?? this.#frontendsOf(service);
    const places = new Set(wanted.map(placeOf));
    // An address that it gives away may be another's by now.
    const former = (this.#former.get(service) ?? []).filter((frontend) => places.has(placeOf(frontend)));
    this.#former.delete(service);
    this.#refused.set(service, { error, frontends: wanted });
    for (const desired of this.#desired.values()) desired.replace(new Map([[service, former]]));
  }

  async #compareAll(progress: Progress): Promise<readonly IptablesRefusal[]> {
    await this.#tables.begin();
    for (const [family, desired] of this.#desired) {
      const plan = await planAgainst(this.#tables, family, desired.chains());
      const applied = await this.#tables.apply(family, plan, plan.shared);
      count(progress, applied);
      if (applied.refusals.length > 0) return applied.refusals;
    }
    return [];
  }

  /** What is pending and goes into `#desired` now. */
  #takePending(): BackendUpdate {
    const [frontends, surroundings] = [new Map(this.#pending), this.#pendingSurroundings];
    this.#pending.clear();
    this.#pendingSurroundings = undefined;
    for (const service of frontends.keys()) {
      const former = this.#frontendsOf(service);
      if (former.length > 0 && !this.#former.has(service)) this.#former.set(service, former);
    }
    return { frontends, surroundings };
  }

  /** Takes what is pending into `#desired`, in pieces: what follows compares everything, and needs no deltas. */
  async #updateDesired(): Promise<void> {
    const { frontends, surroundings } = this.#takePending();
    const turn = new Turn();
    for (const some of inPieces(frontends, PIECE_SERVICES)) {
      for (const desired of this.#desired.values()) desired.replace(new Map(some), surroundings);
      if (turn.isOver) await turn.next();
    }
  }

  #frontendsOf(service: ServiceKey): readonly Frontend[] {
    return [...this.#desired.values()].flatMap((desired) => desired.frontends(service));
  }

  /** Refused Services get another chance. */
  #thaw(services: Iterable<ServiceKey>): void {
    for (const service of [...services]) {
      const refused = this.#refused.get(service);
      if (refused === undefined) continue;
      this.#refused.delete(service);
      if (!this.#pending.has(service)) this.#pending.set(service, refused.frontends);
    }
  }

  #attempt(step: (progress: Progress) => Promise<void>): Promise<Progress> {
    return attempt(step, () => {
      this.#isTrusted = false;
    });
  }
}

/** What is dialled to get to a Frontend. */
function placeOf({ family, address, protocol, port }: Frontend): string {
  return `${family} ${address} ${protocol} ${port}`;
}

function isSharedChain({ table, name }: ChainPlace): boolean {
  return !isOwnChain(table, name);
}

function count(progress: Progress, { writes, transactions }: Applied): void {
  progress.writes += writes;
  progress.transactions += transactions;
}
