// The virtual-IP table of this node, kept incrementally: which Frontends each Service has after conflicts are settled.

import type { EndpointSlice, Node, Problem, Service, ServiceKey } from '../model/types.ts';
import { buildFrontends, type FrontendSettings } from './build-frontends.ts';
import { Claims } from './claims.ts';
import { externalIpProblems } from './external-ips.ts';
import { type Frontend, frontendKey } from './frontend.ts';
import { type DetectLocal, localPodsProblems } from './local-pods.ts';
import { type NodeFacts, nodeFacts } from './node-facts.ts';

/** Where the table reads objects; the Store is one. */
export interface ObjectReader {
  readonly node: Node | undefined;
  serviceKeys(): Iterable<ServiceKey>;
  service(key: ServiceKey): Service | undefined;
  slices(key: ServiceKey): readonly EndpointSlice[];
}

export interface VipTableSettings extends FrontendSettings {
  readonly detectLocal: DetectLocal;
}

export class VipTable {
  readonly #settings: VipTableSettings;
  readonly #claims = new Claims();
  readonly #problems = new Map<ServiceKey, readonly Problem[]>();
  #facts: NodeFacts;

  constructor(settings: VipTableSettings) {
    this.#settings = settings;
    this.#facts = nodeFacts(settings.detectLocal, undefined);
  }

  /** As of the last refresh; the same object while nothing changes. */
  get facts(): NodeFacts {
    return this.#facts;
  }

  /**
   * The Frontends of the given Services, and of every other Service that won or lost an address because of them; of all
   * Services when the facts about this node are others than before. A Service that is gone, or has none, maps to an
   * empty list.
   */
  refresh(objects: ObjectReader, services: Iterable<ServiceKey>): Map<ServiceKey, readonly Frontend[]> {
    const steps = this.refreshInSteps(objects, services);
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
    }
  }

  /**
   * The same, a Service at a time. What is read of a Service that changes between two steps may be old or new: it is to be
   * refreshed again. Not to be mixed with another refresh.
   */
  *refreshInSteps(
    objects: ObjectReader,
    services: Iterable<ServiceKey>,
  ): Generator<void, Map<ServiceKey, readonly Frontend[]>> {
    const built = new Map<ServiceKey, readonly Frontend[]>();
    const facts = nodeFacts(this.#settings.detectLocal, objects.node, this.#facts);
    const isOther = facts !== this.#facts;
    this.#facts = facts;
    for (const key of isOther ? new Set([...services, ...objects.serviceKeys()]) : services) {
      const frontends = this.#build(objects, key);
      built.set(key, frontends);
      const createdAtMs = objects.service(key)?.createdAtMs ?? Number.POSITIVE_INFINITY;
      const claimant = { service: key, createdAtMs };
      for (const other of this.#claims.set(claimant, frontends.map(frontendKey))) {
        if (!built.has(other)) built.set(other, this.#build(objects, other));
      }
      yield;
    }
    for (const [key, frontends] of built) {
      built.set(key, this.#settle(objects, key, frontends));
      yield;
    }
    return built;
  }

  /** Whether any Service had the frontend of this `frontendKey` at the last refresh. */
  has(key: string): boolean {
    return this.#claims.winner(key) !== undefined;
  }

  /**
   * Addresses that Services do not get, because an older Service has them or the settings do not allow it; and what the
   * settings need to know of this node and do not.
   */
  problems(): Problem[] {
    const { detectLocal, nodeName } = this.#settings;
    return [
      ...localPodsProblems(detectLocal, this.#facts.localPods, nodeName),
      ...[...this.#problems.values()].flat(),
    ];
  }

  #build(objects: ObjectReader, key: ServiceKey): readonly Frontend[] {
    const service = objects.service(key);
    return service === undefined
      ? []
      : buildFrontends(service, objects.slices(key), this.#settings, this.#facts);
  }

  #settle(objects: ObjectReader, key: ServiceKey, frontends: readonly Frontend[]): readonly Frontend[] {
    const service = objects.service(key);
    const problems: Problem[] =
      service === undefined ? [] : [...externalIpProblems(service, this.#settings.allowedExternalIps)];
    const granted = frontends.filter((frontend) => {
      const address = frontendKey(frontend);
      const winner = this.#claims.winner(address);
      if (winner === key) return true;
      // An address that it did not have when this refresh came to it.
      if (winner === undefined) return false;
      problems.push({
        subject: `Service ${key}`,
        code: 'VIP_CONFLICT',
        reason: `${frontend.kind} ${address} belongs to the older Service ${winner}`,
      });
      return false;
    });
    if (problems.length > 0) this.#problems.set(key, problems);
    else this.#problems.delete(key);
    return granted;
  }
}
