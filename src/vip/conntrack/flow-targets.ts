// Which UDP frontends must have their flows looked at, because some of them may have become stale. Pure, incremental.
//
// INVARIANT: a target is due from the change that may have made flows stale until a pass over the kernel's flows that
// covered it has succeeded, however many syncs and passes fail between.

import type { ServiceKey } from '../../model/types.ts';
import type { Frontend } from '../frontend.ts';
import type { ObjectReader } from '../vip-table.ts';

/** Where Services and their endpoints are read; the Store is one. */
export type ServiceReader = Pick<ObjectReader, 'service' | 'slices'>;

import { type FlowTarget, flowTargets } from './flow-target.ts';

const NO_ENDPOINTS: ReadonlySet<string> = new Set();

export class FlowTargets {
  readonly #byKey = new Map<string, FlowTarget>();
  /** Keys of each Service that has any. */
  readonly #keysByService = new Map<ServiceKey, readonly string[]>();
  readonly #due = new Map<string, FlowTarget>();

  /** Every target there is now, by its key. */
  get byKey(): ReadonlyMap<string, FlowTarget> {
    return this.#byKey;
  }

  /** Takes note of all Frontends of each changed Service, as `VipTable.refresh` returns them. */
  update(frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>, objects: ServiceReader): void {
    const targets = [...frontends].flatMap(([service, list]) => {
      const its = flowTargets(list, objects.service(service), objects.slices(service));
      this.#release(service, its);
      return its;
    });
    // Only now: what one Service gains, another may have lost.
    for (const target of targets) {
      const before = this.#byKey.get(target.key);
      this.#byKey.set(target.key, target);
      if (before === undefined || mayHaveStaleFlows(before, target)) this.#due.set(target.key, target);
    }
  }

  /** All that is there becomes due. */
  distrust(): void {
    for (const [key, target] of this.#byKey) this.#due.set(key, target);
  }

  /** The node ports become due: the addresses that serve them have changed. */
  distrustNodePorts(): void {
    for (const [key, target] of this.#byKey) if (target.address === undefined) this.#due.set(key, target);
  }

  /** What is due, which then is no longer. Give it back if the pass fails. */
  takeDue(): FlowTarget[] {
    const due = [...this.#due.values()];
    this.#due.clear();
    return due;
  }

  /** What changed since it was taken stays as it is now. */
  giveBack(targets: readonly FlowTarget[]): void {
    for (const target of targets) {
      if (!this.#due.has(target.key)) this.#due.set(target.key, this.#byKey.get(target.key) ?? target);
    }
  }

  /** Removes what the Service had and no longer has. */
  #release(service: ServiceKey, targets: readonly FlowTarget[]): void {
    const keys = targets.map(({ key }) => key);
    for (const key of this.#keysByService.get(service) ?? []) {
      const target = this.#byKey.get(key);
      if (target === undefined || target.service !== service || keys.includes(key)) continue;
      this.#byKey.delete(key);
      this.#due.set(key, { ...target, endpoints: NO_ENDPOINTS, isRemoved: true });
    }
    if (keys.length > 0) this.#keysByService.set(service, keys);
    else this.#keysByService.delete(service);
  }
}

/** More endpoints make no flow stale, unless they are the first: those of the time without any were not translated. */
function mayHaveStaleFlows(before: FlowTarget, after: FlowTarget): boolean {
  if (before.endpoints.size === 0) return after.endpoints.size > 0;
  for (const end of before.endpoints) if (!after.endpoints.has(end)) return true;
  return false;
}
