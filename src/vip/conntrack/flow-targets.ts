// Which frontends must have their flows looked at, because some of them may have become stale, and when. Pure,
// incremental.
//
// INVARIANT: a target is pending from the change that may have made flows stale until a pass over the kernel's flows that
// covered it has succeeded, however many syncs and passes fail between.

import type { ServiceKey } from '../../model/types.ts';
import { type Frontend, frontendKey } from '../frontend.ts';
import type { ObjectReader } from '../vip-table.ts';
import { type FlowTarget, flowTargets, graceMsOf, type PortalEnds } from './flow-target.ts';
import { dueAtMs, type Pending, pendingAfter, pendingAll, pendingLater } from './pending.ts';

/** Where Services and their endpoints are read; the Store is one. */
export type ServiceReader = Pick<ObjectReader, 'service' | 'slices'>;

const NO_ENDPOINTS: ReadonlySet<string> = new Set();
const NO_SERVICES: ReadonlySet<ServiceKey> = new Set();

export class FlowTargets {
  readonly #byKey = new Map<string, FlowTarget>();
  /** Keys of each Service that has any. */
  readonly #keysByService = new Map<ServiceKey, readonly string[]>();
  /** By key. What is removed is only here. */
  readonly #pending = new Map<string, Pending>();

  /** Takes note of all Frontends of each changed Service, as `VipTable.refresh` returns them. */
  update(
    frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>,
    objects: ServiceReader,
    nowMs: number,
    portals?: PortalEnds,
  ): void {
    const targets = [...frontends].flatMap(([service, list]) => {
      const its = flowTargets(list, objects.service(service), objects.slices(service), portals);
      this.#release(service, its, nowMs);
      return its;
    });
    // Only now: what one Service gains, another may have lost.
    for (const target of targets) {
      const before = this.#pending.get(target.key);
      const isOwn = before?.target.service === target.service;
      const pending = pendingAfter(isOwn ? before : undefined, this.#byKey.get(target.key), target, nowMs);
      this.#byKey.set(target.key, target);
      this.#setPending(target.key, pending);
    }
    this.#forgetUnasked(frontends, objects);
  }

  /** The flows of every target are as unknown as at the start. */
  distrust(nowMs: number): void {
    for (const target of this.#byKey.values()) this.#distrust(target, nowMs);
  }

  /** The same of node ports: the addresses that serve them have changed. */
  distrustNodePorts(nowMs: number): void {
    for (const target of this.#byKey.values())
      if (target.address === undefined) this.#distrust(target, nowMs);
  }

  /** Everything of which some is due. Services in `except` wait: what is known of them is not in force. */
  due(nowMs: number, except: ReadonlySet<ServiceKey> = NO_SERVICES): Pending[] {
    return [...this.#pending.values()].filter(
      (pending) => dueAtMs(pending) <= nowMs && !except.has(pending.target.service),
    );
  }

  /** A pass has succeeded that covered what `due` returned for the same time. */
  settle(due: readonly Pending[], nowMs: number): void {
    for (const pending of due) {
      const { key } = pending.target;
      // What changed meanwhile is another value, and stays.
      if (this.#pending.get(key) === pending) this.#setPending(key, pendingLater(pending, nowMs));
    }
  }

  /** When the next target becomes due after `afterMs`; undefined when none does unless something changes. */
  nextDueMs(afterMs: number): number | undefined {
    let next = Number.POSITIVE_INFINITY;
    for (const pending of this.#pending.values()) next = Math.min(next, dueAtMs(pending, afterMs));
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  /** Removes what the Service had and no longer has. */
  #release(service: ServiceKey, targets: readonly FlowTarget[], nowMs: number): void {
    const keys = targets.map(({ key }) => key);
    for (const key of this.#keysByService.get(service) ?? []) {
      const target = this.#byKey.get(key);
      if (target === undefined || target.service !== service || keys.includes(key)) continue;
      this.#byKey.delete(key);
      const removed = { ...target, endpoints: NO_ENDPOINTS, isRemoved: true };
      this.#setPending(key, pendingAfter(this.#pending.get(key), target, removed, nowMs));
      const nodePort = this.#byKey.get(frontendKey({ ...target, address: undefined }));
      // Where the address is one of this node's, the node port is served there from now on.
      if (nodePort !== undefined) this.#distrust(nodePort, nowMs);
    }
    if (keys.length > 0) this.#keysByService.set(service, keys);
    else this.#keysByService.delete(service);
  }

  /**
   * A Service that is there and leaves its flows alone has let go of those it had before. One that is deleted has not: what
   * it asked for last still holds.
   */
  #forgetUnasked(changed: ReadonlyMap<ServiceKey, unknown>, objects: ServiceReader): void {
    for (const [key, { target }] of this.#pending) {
      if (!target.isRemoved || !changed.has(target.service)) continue;
      const service = objects.service(target.service);
      if (service !== undefined && graceMsOf(service, target.protocol) === undefined)
        this.#pending.delete(key);
    }
  }

  #distrust(target: FlowTarget, nowMs: number): void {
    this.#pending.set(target.key, pendingAll(target, this.#pending.get(target.key), nowMs));
  }

  #setPending(key: string, pending: Pending | undefined): void {
    if (pending === undefined) this.#pending.delete(key);
    else this.#pending.set(key, pending);
  }
}
