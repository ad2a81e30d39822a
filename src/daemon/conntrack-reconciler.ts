// Removes UDP flows that lead to endpoints which no longer serve them, after the rules that no longer lead there are in
// force. Costs nothing while no UDP endpoint goes away. Which flows those are is decided in src/vip/conntrack.

import { networkInterfaces } from 'node:os';
import { KernelError, KproxyError } from '../errors.ts';
import { type Cidr, cidrContains, type Ip, type IpFamily, parseIp } from '../model/ip.ts';
import { FlowTargets, type ServiceReader } from '../vip/conntrack/flow-targets.ts';
import { FlowIndex } from '../vip/conntrack/stale-flows.ts';
import type { BackendUpdate } from './backend.ts';
import { ConntrackSession } from './conntrack-session.ts';

/** How often a listing that the kernel's own changes interrupt is begun anew. */
const MAX_LISTINGS = 5;

export interface ConntrackOptions {
  /** Where the endpoints of Services are read; the Store is one. */
  readonly objects: ServiceReader;
  readonly session?: ConntrackSession;
  /** Every address of this host, of which those within the node-port CIDRs serve node ports. */
  readonly localAddresses?: () => readonly Ip[];
}

export interface ConntrackResult {
  /** Flows deleted. */
  readonly deleted: number;
  /** Why it was not all; what is left is tried again by the next call. */
  readonly failure?: KproxyError;
}

export class ConntrackReconciler {
  readonly #objects: ServiceReader;
  readonly #session: ConntrackSession;
  readonly #localAddresses: () => readonly Ip[];
  readonly #targets = new FlowTargets();
  #nodePortCidrs: readonly Cidr[] = [];

  constructor(options: ConntrackOptions) {
    this.#objects = options.objects;
    this.#session = options.session ?? new ConntrackSession();
    this.#localAddresses = options.localAddresses ?? interfaceAddresses;
  }

  /** Takes note of an update at the moment it is computed, whether or not writing it will succeed. */
  note(update: BackendUpdate): void {
    this.#targets.update(update.frontends, this.#objects);
    if (update.surroundings === undefined) return;
    this.#nodePortCidrs = update.surroundings.nodePortCidrs;
    this.#targets.distrustNodePorts();
  }

  /** The rules were not what they should have been, and flows of that time may have gone anywhere. */
  distrust(): void {
    this.#targets.distrust();
  }

  /** Deletes what is stale. To be called once all that was noted is in force. Never throws for what the kernel refuses. */
  async reconcile(): Promise<ConntrackResult> {
    const due = this.#targets.takeDue();
    if (due.length === 0) return { deleted: 0 };
    const index = new FlowIndex(due, this.#targets.byKey, this.#nodePortAddresses());
    const results = [await this.#reconcileFamily(4, index), await this.#reconcileFamily(6, index)];
    const deleted = results.reduce((sum, result) => sum + result.deleted, 0);
    const failure = results.find((result) => result.failure !== undefined)?.failure;
    if (failure === undefined) return { deleted };
    this.#targets.giveBack(due);
    return { deleted, failure };
  }

  close(): void {
    this.#session.close();
  }

  async #reconcileFamily(family: IpFamily, index: FlowIndex): Promise<ConntrackResult> {
    const filter = index.filter(family);
    let deleted = 0;
    if (filter === undefined) return { deleted };
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
