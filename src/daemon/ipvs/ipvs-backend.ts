// ipvs mode's shell: virtual servers through one netlink session, their addresses on a dummy device, and in front of them
// the gate, a small table of nf_tables that another backend keeps. All plans come from src/mode/ipvs.
//
// INVARIANTS: `#desired` is always what is wanted. While `#isTrusted`, the kernel holds exactly that, less what the kernel
// refused of `#refused` Services, plus what `#draining` lists; of others' virtual servers nothing is touched. What leads
// packets somewhere is written after what is there, and taken away before it.

import { type KernelError, KproxyError } from '../../errors.ts';
import { Desired, keyAt, type ServerChange } from '../../mode/ipvs/desired.ts';
import { routed, routingProblem } from '../../mode/ipvs/direct-routing.ts';
import { DrainingServers } from '../../mode/ipvs/draining.ts';
import { type PlannedChange, planFullSync } from '../../mode/ipvs/full-sync.ts';
import { planGateFrontend } from '../../mode/ipvs/gate.ts';
import { ledgerOf } from '../../mode/ipvs/ledger.ts';
import { realId, realServersOf, serverId, virtualServerAt } from '../../mode/ipvs/planned-server.ts';
import { type KnownServer, planRemoval, planServerChange } from '../../mode/ipvs/server-plan.ts';
import type { Cidr, Ip, IpFamily } from '../../model/ip.ts';
import type { Problem, ServiceKey } from '../../model/types.ts';
import type { IpvsRequest } from '../../netlink/ipvs/request.ts';
import { type Frontend, frontendKey } from '../../vip/frontend.ts';
import type { Surroundings } from '../../vip/surroundings.ts';
import { unmetProxyWishes } from '../../vip/unmet-wishes.ts';
import { attempt, isTransient, type Progress } from '../attempt.ts';
import type { Backend, BackendUpdate, SyncResult } from '../backend.ts';
import type { NftSession } from '../nft-session.ts';
import { NftablesBackend } from '../nftables-backend.ts';
import type { AfterSync } from '../sync-loop.ts';
import { BoundAddresses, type IpvsDevice } from './bound-addresses.ts';
import type { IpvsSession } from './ipvs-session.ts';
import { ServerDrift } from './server-drift.ts';

/** What the backend uses of the session. */
export type IpvsTable = Pick<IpvsSession, 'apply' | 'table' | 'virtualServers' | 'realServers' | 'close'>;

/** Addresses of all other interfaces, as of now. */
export interface HostAddresses {
  readonly current: readonly Ip[];
  close(): void;
}

export interface IpvsBackendOptions {
  readonly table: IpvsTable;
  readonly device: IpvsDevice;
  readonly hostAddresses: HostAddresses;
  readonly gateSession: NftSession;
  readonly families: readonly IpFamily[];
  /** 0 to 31: the bit of the packet mark that asks for masquerading. */
  readonly masqueradeBit: number;
  readonly rules: IpvsRules;
  /** Milliseconds that only grow; by default those of the process. */
  readonly nowMs?: () => number;
}

/** What of the settings virtual servers depend on. */
export interface IpvsRules {
  /** Of Services that do not choose one: the kernel's name. */
  readonly scheduler: string;
  readonly excludedCidrs: readonly Cidr[];
  /** The longest that connections to a removed endpoint are waited for. */
  readonly drainTimeoutMs: number;
}

export class IpvsBackend implements Backend {
  readonly #table: IpvsTable;
  readonly #bound: BoundAddresses;
  readonly #hosts: HostAddresses;
  readonly #gateSession: NftSession;
  readonly #gate: NftablesBackend;
  readonly #families: readonly IpFamily[];
  readonly #rules: IpvsRules;
  readonly #nowMs: () => number;
  readonly #desired: Desired;
  readonly #draining: DrainingServers;
  readonly #drift: ServerDrift;
  /** All of each Service: what the gate says depends on more than that Service. */
  readonly #frontends = new Map<ServiceKey, readonly Frontend[]>();
  /** What was handed over and is not in `#desired` yet. */
  readonly #pending = new Map<ServiceKey, readonly Frontend[]>();
  #pendingSurroundings: Surroundings | undefined;
  /** Services that the gate has to be told of. */
  readonly #gatePending = new Set<ServiceKey>();
  #gateSurroundings: Surroundings | undefined;
  readonly #refused = new Map<ServiceKey, KernelError>();
  readonly #unmet = new Map<ServiceKey, readonly Problem[]>();
  /** `serverId` of virtual servers that are wanted and could not be made. */
  #missing = new Set<string>();
  /** `serverId` of ours that nobody wants any more, as far as they may be left. */
  readonly #stale = new Set<string>();
  #hostAddresses: readonly Ip[] = [];
  #isTrusted = false;
  #knowsLedger = false;

  constructor(options: IpvsBackendOptions) {
    const { table, device, hostAddresses, gateSession, families, masqueradeBit, rules } = options;
    this.#table = table;
    this.#hosts = hostAddresses;
    this.#gateSession = gateSession;
    this.#families = families;
    this.#rules = rules;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#desired = new Desired(rules.scheduler);
    this.#draining = new DrainingServers(rules.drainTimeoutMs);
    this.#drift = new ServerDrift(table, this.#desired, this.#draining);
    this.#bound = new BoundAddresses(
      device,
      (address) => this.#desired.isBound(address),
      rules.excludedCidrs,
    );
    this.#gate = new NftablesBackend({
      session: gateSession,
      families,
      masqueradeBit,
      planGate: (frontend, previous) =>
        planGateFrontend(frontend, previous, {
          inside: this.#desired.insideTarget(frontendKey(frontend)),
          isBound: frontend.address !== undefined && this.#desired.isBound(frontend.address),
          isRefused: this.#isMissing(frontend),
        }),
    });
  }

  get hasDeferred(): boolean {
    return this.#gate.hasDeferred;
  }

  flushDeferred(): Promise<SyncResult> {
    return this.#gate.flushDeferred();
  }

  releaseUnused(): Promise<SyncResult> {
    return this.#gate.releaseUnused();
  }

  distrust(): void {
    this.#isTrusted = false;
    this.#gate.distrust();
  }

  problems(): Problem[] {
    return [
      ...[...this.#refused].map(([service, error]) => ({
        subject: `Service ${service}`,
        code: 'REFUSED_BY_KERNEL',
        reason: error.message,
      })),
      ...[...this.#unmet.values()].flat(),
      ...this.#gate.problems(),
    ];
  }

  close(): void {
    this.#table.close();
    this.#bound.close();
    this.#hosts.close();
    this.#gate.close();
  }

  async hasDrifted(): Promise<boolean> {
    try {
      if (!this.#isTrusted || this.#refused.size > 0 || this.#hasOtherHostAddresses()) return true;
      if (await this.#gate.hasDrifted()) return true;
      return (await this.#bound.haveGone()) || (await this.#drift.isSeen());
    } catch (error) {
      if (!(error instanceof KproxyError)) throw error;
      return true;
    }
  }

  async sync({ frontends, surroundings }: BackendUpdate): Promise<SyncResult> {
    const isRetry = frontends.size === 0 && surroundings === undefined;
    for (const [service, list] of frontends) {
      const unmet = [routingProblem(list) ?? [], unmetProxyWishes('ipvs', list)].flat();
      if (unmet.length === 0) this.#unmet.delete(service);
      else this.#unmet.set(service, unmet);
      this.#pending.set(service, list.map(routed));
      if (this.#refused.delete(service)) this.#isTrusted = false;
    }
    if (isRetry && this.#refused.size > 0) this.#isTrusted = false;
    this.#pendingSurroundings = surroundings ?? this.#pendingSurroundings;
    const result = await this.#attempt(async (progress) => {
      if (this.#hasOtherHostAddresses()) this.#isTrusted = false;
      if (this.#isTrusted && (await this.#syncPartly(progress))) return;
      await this.#syncFully(progress);
    });
    for (const [service, error] of this.#refused) result.failures.push({ error, services: [service] });
    return result;
  }

  /** Looks at what drains when it is time to, and lets go of what has ended. */
  readonly afterSync: AfterSync = {
    note: () => undefined,
    distrust: () => undefined,
    settle: async (nowMs) => (await this.#attempt((progress) => this.#drain(nowMs, progress))).failures,
    nextDueMs: (afterMs) => (this.#isTrusted ? this.#draining.nextLookMs(afterMs) : undefined),
  };

  /** False when all is to be compared. */
  async #syncPartly(progress: Progress): Promise<boolean> {
    if (this.#takeSurroundings()) return false;
    const changes = this.#takePending();
    this.#isTrusted = false;
    const plans = changes.map((change) => {
      const { address, before, after: wanted } = change;
      const plan =
        wanted === undefined
          ? planRemoval(keyAt(before!, address))
          : planServerChange(address, this.#known(change), wanted);
      return { plan, wanted };
    });
    const isClean = await this.#carryOut(plans, progress);
    this.#isTrusted = isClean;
    return isClean;
  }

  async #syncFully(progress: Progress): Promise<void> {
    progress.isFull = true;
    this.#isTrusted = false;
    for (const service of this.#refused.keys()) this.#gatePending.add(service);
    this.#refused.clear();
    this.#missing = new Set();
    this.#takeHostAddresses();
    this.#takeSurroundings();
    this.#takePending();
    await this.#bound.ensure();
    await this.#readLedger();
    const observed = await this.#table.table();
    await this.#bound.read();
    const ownership = {
      boundAddresses: this.#bound.known,
      ours: this.#stale,
      excludedCidrs: this.#rules.excludedCidrs,
    };
    const plans = [...planFullSync(this.#desired, observed, ownership)];
    this.#draining.keepOnly(new Set(plans.map(({ plan }) => serverId(plan.key))));
    const isClean = await this.#carryOut(plans, progress);
    // What is refused of some Services is told, and all others are as they should be.
    this.#isTrusted = isClean || this.#refused.size > 0;
  }

  /**
   * What opens the way; the gate, which leads packets there; what closes it. A virtual server that goes at once from an
   * address of this host goes before the gate forgets that it was ours. False after a refusal.
   */
  async #carryOut(plans: readonly PlannedChange[], progress: Progress): Promise<boolean> {
    const nowMs = this.#nowMs();
    for (const { plan, wanted } of plans) {
      if (wanted === undefined) this.#stale.add(serverId(plan.key));
      else this.#stale.delete(serverId(plan.key));
      this.#draining.note(plan, nowMs);
    }
    const addresses = plans.map(({ plan }) => plan.key.address);
    await this.#bound.bind(progress.isFull ? this.#desired.boundAddresses() : addresses, progress);
    const isGone = ({ plan, wanted }: PlannedChange): boolean =>
      wanted === undefined && !this.#bound.known.has(plan.key.address);
    const gone = plans.filter(isGone).map((one) => ({ ...one, requests: one.plan.last }));
    const opening = plans.map((one) => ({ ...one, requests: one.plan.first }));
    const isOpen = await this.#apply([...opening, ...gone], progress);
    const isGateClean = await this.#syncGate(progress);
    const closing = plans.filter((one) => !isGone(one)).map((one) => ({ ...one, requests: one.plan.last }));
    const isClosed = await this.#apply(closing, progress);
    if (!isOpen || !isGateClean || !isClosed) return false;
    for (const { plan, wanted } of plans) if (wanted === undefined) this.#stale.delete(serverId(plan.key));
    await this.#bound.unbind(progress.isFull ? this.#bound.known : addresses, progress);
    return true;
  }

  async #drain(nowMs: number, progress: Progress): Promise<void> {
    const due = this.#isTrusted ? this.#draining.due(nowMs) : [];
    if (due.length === 0) return;
    const seen = await this.#table.realServers(due);
    const requests = due.flatMap((key, i) => this.#draining.drained(key, seen[i]!, nowMs));
    if (requests.length === 0) return;
    const results = await this.#table.apply(requests);
    progress.writes += requests.length;
    this.#draining.done(requests.filter((_, i) => results[i] === undefined || isMissing(results[i])));
    const failed = results.find((error) => error !== undefined && !isMissing(error));
    if (failed !== undefined) throw failed;
  }

  /** Takes what is pending into `#desired`. */
  #takePending(): ServerChange[] {
    for (const [service, frontends] of this.#pending) {
      if (frontends.length === 0) this.#frontends.delete(service);
      else this.#frontends.set(service, frontends);
      this.#gatePending.add(service);
    }
    const ofFamilies = new Map(
      [...this.#pending].map(([service, list]) => [
        service,
        list.filter(({ family }) => this.#families.includes(family)),
      ]),
    );
    this.#pending.clear();
    const changes = this.#desired.update(ofFamilies);
    for (const { address, before, after } of changes) {
      if (before !== undefined && after === undefined) this.#stale.add(serverId(keyAt(before, address)));
    }
    return changes;
  }

  /** True when it makes a difference where node ports are served. */
  #takeSurroundings(): boolean {
    const surroundings = this.#pendingSurroundings;
    if (surroundings === undefined) return false;
    this.#pendingSurroundings = undefined;
    this.#gateSurroundings = surroundings;
    return this.#noteFormer(() => this.#desired.setNodePortCidrs(surroundings.nodePortCidrs));
  }

  /** What served node ports before `change` is ours to delete. */
  #noteFormer(change: () => boolean): boolean {
    const before = this.#desired.nodePortAddresses;
    const isOther = change();
    const former = [...before].filter((address) => !this.#desired.nodePortAddresses.has(address));
    for (const server of former.length === 0 ? [] : this.#desired.nodePorts()) {
      for (const address of former) this.#stale.add(serverId(keyAt(server, address)));
    }
    return isOther;
  }

  /** As the kernel has it, which is trusted. */
  #known({ address, before }: ServerChange): KnownServer | undefined {
    if (before === undefined) return undefined;
    const realServers = new Map(this.#draining.at(keyAt(before, address)));
    for (const realServer of realServersOf(before)) realServers.set(realId(realServer), realServer);
    return { server: virtualServerAt(before, address), realServers };
  }

  async #readLedger(): Promise<void> {
    if (this.#knowsLedger) return;
    const { observed } = await this.#gateSession.observe(this.#families);
    for (const id of ledgerOf(observed, this.#hostAddresses)) this.#stale.add(id);
    this.#knowsLedger = true;
  }

  async #syncGate(progress: Progress): Promise<boolean> {
    const frontends = new Map<ServiceKey, readonly Frontend[]>();
    for (const service of this.#gatePending) frontends.set(service, this.#frontends.get(service) ?? []);
    this.#gatePending.clear();
    const surroundings = this.#gateSurroundings;
    this.#gateSurroundings = undefined;
    const { writes, transactions, failures } = await this.#gate.sync({ frontends, surroundings });
    progress.writes += writes;
    progress.transactions += transactions;
    progress.failures.push(...failures);
    return failures.every(({ services }) => services.length > 0);
  }

  /** False after a refusal, which is put down to the Service that wants it. */
  async #apply(
    groups: readonly (PlannedChange & { readonly requests: readonly IpvsRequest[] })[],
    progress: Progress,
  ): Promise<boolean> {
    const requests = groups.flatMap((group) => group.requests);
    if (requests.length === 0) return true;
    const owners = groups.flatMap((group) => group.requests.map(() => group));
    const results = await this.#table.apply(requests);
    let isClean = true;
    for (const [i, error] of results.entries()) {
      if (error === undefined || (isDeletion(requests[i]!) && isMissing(error))) {
        progress.writes++;
        continue;
      }
      isClean = false;
      const { wanted, plan } = owners[i]!;
      if (!progress.isFull) continue;
      if (wanted === undefined || isTransient(error)) throw error;
      if (!this.#refused.has(wanted.service)) this.#refused.set(wanted.service, error);
      if (requests[i]!.kind !== 'add virtual server') continue;
      this.#missing.add(serverId(plan.key));
      this.#gatePending.add(wanted.service);
    }
    return isClean;
  }

  #isMissing(frontend: Frontend): boolean {
    if (this.#missing.size === 0) return false;
    const { address } = frontend;
    const addresses = address === undefined ? [...this.#desired.nodePortAddresses] : [address];
    return addresses.some((one) => this.#missing.has(frontendKey({ ...frontend, address: one })));
  }

  #hasOtherHostAddresses(): boolean {
    const now = this.#hosts.current;
    return (
      now !== this.#hostAddresses &&
      (now.length !== this.#hostAddresses.length || now.some((one, i) => one !== this.#hostAddresses[i]))
    );
  }

  /** Whether the gate keeps packets off the other ports of an address depends on who has it. */
  #takeHostAddresses(): void {
    const before = new Set(this.#hostAddresses);
    this.#hostAddresses = this.#hosts.current;
    const now = new Set(this.#hostAddresses);
    this.#noteFormer(() => this.#desired.setHostAddresses(this.#hostAddresses));
    const others = new Set([...before, ...now].filter((one) => before.has(one) !== now.has(one)));
    if (others.size === 0) return;
    for (const [service, frontends] of this.#frontends) {
      if (frontends.some(({ address }) => address !== undefined && others.has(address)))
        this.#gatePending.add(service);
    }
  }

  #attempt(step: (progress: Progress) => Promise<void>): Promise<Progress> {
    return attempt(step, () => {
      this.#isTrusted = false;
    });
  }
}

/** ip_vs_ctl.c answers ESRCH for a virtual server that is not there, ENOENT for a real server. */
function isMissing(error: KernelError | undefined): boolean {
  return error?.code === 'ESRCH' || error?.code === 'ENOENT';
}

function isDeletion({ kind }: IpvsRequest): boolean {
  return kind === 'delete virtual server' || kind === 'delete real server';
}
