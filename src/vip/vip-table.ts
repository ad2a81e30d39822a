// The virtual-IP table of this node, kept incrementally: which Frontends each Service has after conflicts are settled.

import type { EndpointSlice, Node, Problem, Service, ServiceKey } from '../model/types.ts';
import { buildFrontends, type FrontendSettings } from './build-frontends.ts';
import { Claims } from './claims.ts';
import { type Frontend, frontendKey } from './frontend.ts';
import type { DetectLocal } from './local-pods.ts';
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
  readonly #conflicts = new Map<ServiceKey, readonly Problem[]>();
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
   * The Frontends of the given Services, and of every other Service that won or lost an address because of them; of
   * all Services when the facts about this node are others than before. A Service that is gone, or has none, maps to an empty
   * list.
   */
  refresh(objects: ObjectReader, services: Iterable<ServiceKey>): Map<ServiceKey, readonly Frontend[]> {
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
    }
    for (const [key, frontends] of built) built.set(key, this.#settle(key, frontends));
    return built;
  }

  /** Services that do not get an address because an older Service has it. */
  problems(): Problem[] {
    return [...this.#conflicts.values()].flat();
  }

  #build(objects: ObjectReader, key: ServiceKey): readonly Frontend[] {
    const service = objects.service(key);
    return service === undefined
      ? []
      : buildFrontends(service, objects.slices(key), this.#settings, this.#facts);
  }

  #settle(service: ServiceKey, frontends: readonly Frontend[]): readonly Frontend[] {
    const problems: Problem[] = [];
    const granted = frontends.filter((frontend) => {
      const key = frontendKey(frontend);
      const winner = this.#claims.winner(key);
      if (winner === service) return true;
      problems.push({
        subject: `Service ${service}`,
        code: 'VIP_CONFLICT',
        reason: `${frontend.kind} ${key} belongs to the older Service ${winner}`,
      });
      return false;
    });
    if (problems.length > 0) this.#conflicts.set(service, problems);
    else this.#conflicts.delete(service);
    return granted;
  }
}
