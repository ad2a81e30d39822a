// Removes flows that lead to endpoints which no longer serve them, after the rules that no longer lead there are in force:
// UDP at once, TCP after the grace period of Services that ask for it. Costs nothing while no such endpoint goes away.
// Which flows those are, and when, is decided in src/vip/conntrack.

import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { KernelError, KproxyError } from '../errors.ts';
import { type Cidr, cidrContains, type Ip, packIp, parseIp } from '../model/ip.ts';
import type { Problem, ServiceKey } from '../model/types.ts';
import { flowEnd, type PortalEnds } from '../vip/conntrack/flow-target.ts';
import { FlowTargets, type ServiceReader } from '../vip/conntrack/flow-targets.ts';
import { isStaleEnd, type Pending } from '../vip/conntrack/pending.ts';
import { FlowIndex, type FlowScope, IPPROTO } from '../vip/conntrack/stale-flows.ts';
import { type Backend, type Frontend, frontendKey } from '../vip/frontend.ts';
import type { BackendUpdate } from './backend.ts';
import { ConntrackSession, NO_CTNETLINK } from './conntrack-session.ts';

/** How often a listing that the kernel's own changes interrupt is begun anew. */
const MAX_LISTINGS = 5;

export interface ConntrackOptions {
  /** Where the endpoints of Services are read; the Store is one. */
  readonly objects: ServiceReader;
  /** Whether any Service has, or claims, the frontend of this `frontendKey`. */
  readonly isClaimed: (key: string) => boolean;
  readonly session?: ConntrackSession;
  /** Every address of this host, of which those within the node-port CIDRs serve node ports. */
  readonly localAddresses?: () => readonly Ip[];
  /** Whether the kernel tracks connections that it sees from the middle on: only those pass the rules, which answer. */
  readonly hasTcpPickup?: () => boolean;
}

export interface ConntrackResult {
  /** Flows deleted. */
  readonly deleted: number;
  /** Why it was not all; what is left is tried again by the next call. */
  readonly failure?: KproxyError;
  /** Nothing was to be looked for: the kernel was not asked. */
  readonly isIdle?: true;
}

/** Resets the TCP connections of proxies that it is told to, by what was dialled and the endpoint. */
export type ResetProxied = (isUnwanted: (frontend: Frontend, backend: Backend) => boolean) => void;

/** Times are in ms, of one clock of the caller's that never goes back. */
export class ConntrackReconciler {
  readonly #objects: ServiceReader;
  readonly #isClaimed: (key: string) => boolean;
  readonly #session: ConntrackSession;
  readonly #localAddresses: () => readonly Ip[];
  readonly #readTcpPickup: () => boolean;
  readonly #targets = new FlowTargets();
  #nodePortCidrs: readonly Cidr[] = [];
  #isSupported = true;
  #hasTcpPickup = true;

  constructor(options: ConntrackOptions) {
    this.#objects = options.objects;
    this.#isClaimed = options.isClaimed;
    this.#session = options.session ?? new ConntrackSession();
    this.#localAddresses = options.localAddresses ?? interfaceAddresses;
    this.#readTcpPickup = options.hasTcpPickup ?? readTcpPickup;
  }

  /**
   * Takes note of an update at the moment it is computed, whether or not writing it will succeed. `portals`: where flows of its
   * Frontends lead instead of to endpoints.
   */
  note(update: BackendUpdate, nowMs: number, portals?: PortalEnds): void {
    this.#targets.update(update.frontends, this.#objects, nowMs, portals);
    if (update.surroundings === undefined) return;
    this.#nodePortCidrs = update.surroundings.nodePortCidrs;
    this.#targets.distrustNodePorts(nowMs);
  }

  /** The rules were not what they should have been, and flows of that time may have gone anywhere. */
  distrust(nowMs: number): void {
    this.#targets.distrust(nowMs);
  }

  /**
   * Deletes what is stale by now. To be called once all that was noted is in force, but for Services in `except`, whose
   * flows are left alone. `resetProxied` is for connections that end at a proxy and go on from there, which no flow of the kernel's shows.
   * Never throws for what the kernel refuses.
   */
  async reconcile(
    nowMs: number,
    except?: ReadonlySet<ServiceKey>,
    resetProxied?: ResetProxied,
  ): Promise<ConntrackResult> {
    const due = this.#targets.due(nowMs, except);
    if (due.length === 0) return { deleted: 0, isIdle: true };
    const tcp = new Map<string, Pending>();
    for (const one of due) if (one.target.protocol === 'TCP') tcp.set(one.target.key, one);
    if (tcp.size > 0) {
      resetProxied?.((frontend, { ip, port }) => {
        const pending = tcp.get(frontendKey(frontend));
        return pending !== undefined && isStaleEnd(pending, flowEnd(packIp(ip), port), nowMs);
      });
    }
    const nodePortAddresses = this.#nodePortAddresses();
    const index = new FlowIndex(due, { nowMs, nodePortAddresses, isClaimed: this.#isClaimed });
    let deleted = 0;
    let failure: KproxyError | undefined;
    for (const scope of index.scopes()) {
      if (scope.filter.protocol === IPPROTO.TCP) this.#hasTcpPickup = this.#readTcpPickup();
      const result = await this.#reconcileScope(scope, index);
      deleted += result.deleted;
      failure ??= result.failure;
    }
    const wasSupported = this.#isSupported;
    this.#isSupported = failure?.code !== NO_CTNETLINK;
    if (failure !== undefined && this.#isSupported) return { deleted, failure };
    this.#targets.settle(due, nowMs);
    // What came meanwhile was settled without a look.
    if (this.#isSupported && !wasSupported) this.#targets.distrust(nowMs);
    return { deleted };
  }

  /** When `reconcile` is wanted next, later than `afterMs`; undefined when not unless something changes. */
  nextDueMs(afterMs: number): number | undefined {
    return this.#targets.nextDueMs(afterMs);
  }

  /** What keeps flows from being deleted that retrying does not cure. */
  problems(): Problem[] {
    const problem = (code: string, reason: string) => ({ subject: 'connection tracking', code, reason });
    if (!this.#isSupported) {
      const reason =
        'the kernel cannot list connections (module nf_conntrack_netlink, CONFIG_NF_CT_NETLINK): those to endpoints ' +
        'that no longer serve go on until they end by themselves';
      return [problem(NO_CTNETLINK, reason)];
    }
    if (this.#hasTcpPickup) return [];
    const reason =
      'net.netfilter.nf_conntrack_tcp_loose is 0: clients of connections that are to be reset get no answer at cluster IPs';
    return [problem('NO_TCP_PICKUP', reason)];
  }

  close(): void {
    this.#session.close();
  }

  async #reconcileScope({ family, filter }: FlowScope, index: FlowIndex): Promise<ConntrackResult> {
    let deleted = 0;
    try {
      for (let attempt = 0; attempt < MAX_LISTINGS; attempt++) {
        const found = await this.#session.find(family, filter, (flow) => index.isStale(flow));
        const deletion = await this.#session.delete(found.flows);
        deleted += deletion.deleted;
        if (deletion.refusal !== undefined) return { deleted, failure: deletion.refusal };
        if (!found.isInterrupted) return { deleted };
      }
    } catch (failure) {
      if (!(failure instanceof KproxyError)) throw failure;
      return { deleted, failure };
    }
    const operation = `list IPv${family} flows: interrupted ${MAX_LISTINGS} times`;
    return { deleted, failure: new KernelError('EINTR', 4, operation) };
  }

  #nodePortAddresses(): Ip[] {
    return this.#localAddresses().filter((ip) => this.#nodePortCidrs.some((cidr) => cidrContains(cidr, ip)));
  }
}

/** Addresses of all interfaces, the loopback among them: some announce addresses from there. */
function interfaceAddresses(): Ip[] {
  return Object.values(networkInterfaces()).flatMap((all) =>
    (all ?? []).flatMap(({ address }) => parseIp(address) ?? []),
  );
}

/** Where it cannot be read it is as the kernel has it by default. */
function readTcpPickup(): boolean {
  try {
    return readFileSync('/proc/sys/net/netfilter/nf_conntrack_tcp_loose', 'utf8').trim() !== '0';
  } catch {
    return true;
  }
}
