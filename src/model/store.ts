// The objects as last known, reduced by the builders, and which Services a batch of events touched.
// Pure and synchronous. An invalid object never replaces its last good state.

import { buildEndpointSlice } from './build-endpoint-slice.ts';
import { buildNode } from './build-node.ts';
import { buildService } from './build-service.ts';
import { buildServiceCidr } from './build-service-cidr.ts';
import type { Built } from './built.ts';
import { outermost } from './cidr-list.ts';
import { isDeepEqual } from './deep-equal.ts';
import type { Cidr } from './ip.ts';
import type { KnownObject } from './saved-object.ts';
import { isNamespaced, OBJECT_KINDS, type ObjectKind, type SourceEvent } from './source-event.ts';
import type { EndpointSlice, Node, Problem, Service, ServiceCidr, ServiceKey } from './types.ts';

/** What a batch of events changed. */
export interface StoreChange {
  /** Services whose own object or slices changed, appeared or went. */
  readonly services: ReadonlySet<ServiceKey>;
  /** The Node, or which networks cluster IPs are allocated of: what rules depend on besides Services. */
  readonly hasNewSurroundings: boolean;
}

type Kind = ObjectKind;
interface Listing {
  readonly keys: Set<string>;
  /** Subjects that may have problems. */
  readonly subjects: Set<string>;
}
type Upsert = Extract<SourceEvent, { type: 'upsert' }>;

/** All known objects of every kind. */
export class Store {
  readonly #services = new Map<ServiceKey, Service>();
  readonly #slicesByKey = new Map<string, EndpointSlice>();
  readonly #slicesByService = new Map<ServiceKey, readonly EndpointSlice[]>();
  #node: Node | undefined;
  readonly #serviceCidrs = new Map<string, ServiceCidr>();
  #serviceNetworks: readonly Cidr[] = [];
  /** What was seen since `list-start`, per kind that is being listed. */
  readonly #listings = new Map<Kind, Listing>();
  readonly #synced = new Set<Kind>();
  /** Not listed yet: what is known of them was restored. */
  readonly #restored = new Set<Kind>();
  readonly #problems = new Map<string, readonly Problem[]>();
  /** Services touched by the batch being applied. */
  #touched = new Set<ServiceKey>();
  #hasNewSurroundings = false;

  /** Applies a batch in order. */
  apply(events: readonly SourceEvent[]): StoreChange {
    this.#touched = new Set();
    this.#hasNewSurroundings = false;
    for (const event of events) this.#applyOne(event);
    return { services: this.#touched, hasNewSurroundings: this.#hasNewSurroundings };
  }

  /**
   * Takes in objects as they were known some time ago, of kinds that have not been listed since. What the source has said
   * already is newer and stays; what it does not confirm until it has listed the kind goes then.
   */
  restore(objects: Iterable<KnownObject>): StoreChange {
    this.#touched = new Set();
    this.#hasNewSurroundings = false;
    for (const kind of OBJECT_KINDS) if (!this.#synced.has(kind)) this.#restored.add(kind);
    for (const object of objects) if (this.#restored.has(object.kind)) this.#restoreOne(object);
    return { services: this.#touched, hasNewSurroundings: this.#hasNewSurroundings };
  }

  /** All objects, each once; what changes while they are gone through is told as it is by then. */
  *known(): Generator<KnownObject> {
    if (this.#node !== undefined) yield { kind: 'Node', value: this.#node };
    for (const value of this.#serviceCidrs.values()) yield { kind: 'ServiceCIDR', value };
    for (const value of this.#services.values()) yield { kind: 'Service', value };
    // A slice that changes moves to the end of its map, where it would be met again.
    for (const key of [...this.#slicesByKey.keys()]) {
      const value = this.#slicesByKey.get(key);
      if (value !== undefined) yield { kind: 'EndpointSlice', value };
    }
  }

  /** True once it is known what Services and EndpointSlices there are: nothing is written before. */
  get isSynced(): boolean {
    return this.#isKnown('Service') && this.#isKnown('EndpointSlice');
  }

  /** True while Services or EndpointSlices are what was restored, and no source has listed them since. */
  get isStale(): boolean {
    return this.#restored.has('Service') || this.#restored.has('EndpointSlice');
  }

  /** True once the source has listed the kind completely. */
  isListed(kind: Kind): boolean {
    return this.#synced.has(kind);
  }

  get node(): Node | undefined {
    return this.#node;
  }

  /** The networks of all ServiceCIDRs together, as `outermost` orders them; the same list while they stay. */
  get serviceCidrs(): readonly Cidr[] {
    return this.#serviceNetworks;
  }

  get serviceCount(): number {
    return this.#services.size;
  }

  serviceKeys(): IterableIterator<ServiceKey> {
    return this.#services.keys();
  }

  service(key: ServiceKey): Service | undefined {
    return this.#services.get(key);
  }

  /** The slices of a Service, ordered by their key so that results do not depend on arrival. */
  slices(key: ServiceKey): readonly EndpointSlice[] {
    return this.#slicesByService.get(key) ?? [];
  }

  /** Everything odd about the present objects and documents. */
  problems(): Problem[] {
    return [...this.#problems.values()].flat();
  }

  #isKnown(kind: Kind): boolean {
    return this.#synced.has(kind) || this.#restored.has(kind);
  }

  #restoreOne({ kind, value }: KnownObject): void {
    switch (kind) {
      case 'Service':
        if (!this.#services.has(value.key)) this.#putService(value);
        return;
      case 'EndpointSlice':
        if (!this.#slicesByKey.has(value.key)) this.#putSlice(value);
        return;
      case 'Node':
        if (this.#node === undefined) this.#putNode(value);
        return;
      case 'ServiceCIDR':
        if (!this.#serviceCidrs.has(value.name)) this.#putServiceCidr(value.name, value);
    }
  }

  #applyOne(event: SourceEvent): void {
    switch (event.type) {
      case 'upsert':
        this.#upsert(event);
        return;
      case 'delete':
        this.#delete(event.kind, objectKey(event.kind, event.namespace, event.name));
        return;
      case 'list-start':
        this.#listings.set(event.kind, { keys: new Set(), subjects: new Set() });
        return;
      case 'list-end':
        this.#endListing(event.kind);
        return;
      case 'problem':
        this.#problems.set(event.subject, [
          { subject: event.subject, code: event.code, reason: event.reason },
        ]);
        return;
      case 'problem-solved':
        this.#problems.delete(event.subject);
    }
  }

  #upsert(event: Upsert): void {
    const key = looseKey(event.kind, event.object);
    if (key !== undefined) this.#listings.get(event.kind)?.keys.add(key);
    switch (event.kind) {
      case 'Service':
        this.#keep(event, key, buildService(event.object), (service) => this.#putService(service));
        return;
      case 'EndpointSlice':
        this.#keep(event, key, buildEndpointSlice(event.object), (slice) => this.#putSlice(slice));
        return;
      case 'Node':
        this.#keep(event, key, buildNode(event.object), (node) => this.#putNode(node));
        return;
      case 'ServiceCIDR':
        this.#keep(event, key, buildServiceCidr(event.object), (one) => this.#putServiceCidr(one.name, one));
    }
  }

  /** Stores what was built and records what is odd about it; an object no longer of interest is as good as gone. */
  #keep<T>(event: Upsert, key: string | undefined, built: Built<T>, put: (value: T) => void): void {
    const subject = key === undefined ? `${event.kind} in ${event.origin}` : subjectOf(event.kind, key);
    this.#listings.get(event.kind)?.subjects.add(subject);
    const problem = (code: string, reason: string): Problem => ({
      subject,
      code,
      reason: event.origin === '' ? reason : `${reason} (${event.origin})`,
    });
    switch (built.kind) {
      case 'built':
        this.#setProblems(
          subject,
          built.warnings.map(({ code, reason }) => problem(code, reason)),
        );
        put(built.value);
        return;
      case 'ignored':
        this.#setProblems(subject, []);
        if (key !== undefined) this.#forget(event.kind, key);
        return;
      case 'invalid':
        this.#setProblems(subject, [problem(built.code, built.reason)]);
    }
  }

  #setProblems(subject: string, problems: readonly Problem[]): void {
    if (problems.length > 0) this.#problems.set(subject, problems);
    else this.#problems.delete(subject);
  }

  #putService(service: Service): void {
    const before = this.#services.get(service.key);
    if (before !== undefined && isDeepEqual(before, service)) return;
    this.#services.set(service.key, service);
    this.#touched.add(service.key);
  }

  #putSlice(slice: EndpointSlice): void {
    const before = this.#slicesByKey.get(slice.key);
    if (before !== undefined) {
      if (isDeepEqual(before, slice)) return;
      this.#removeSlice(before);
    }
    this.#slicesByKey.set(slice.key, slice);
    const siblings = [...this.slices(slice.serviceKey), slice];
    this.#slicesByService.set(slice.serviceKey, siblings.sort(compareByKey));
    this.#touched.add(slice.serviceKey);
  }

  #removeSlice(slice: EndpointSlice): void {
    this.#slicesByKey.delete(slice.key);
    const siblings = this.slices(slice.serviceKey).filter((one) => one.key !== slice.key);
    if (siblings.length > 0) this.#slicesByService.set(slice.serviceKey, siblings);
    else this.#slicesByService.delete(slice.serviceKey);
    this.#touched.add(slice.serviceKey);
  }

  #putNode(node: Node | undefined): void {
    if (isDeepEqual(this.#node, node)) return;
    this.#node = node;
    this.#hasNewSurroundings = true;
  }

  /** Only what all of them come to matters: two may state the same network, and one of them go. */
  #putServiceCidr(name: string, serviceCidr: ServiceCidr | undefined): void {
    if (serviceCidr === undefined) this.#serviceCidrs.delete(name);
    else this.#serviceCidrs.set(name, serviceCidr);
    const networks = outermost([...this.#serviceCidrs.values()].flatMap(({ cidrs }) => cidrs));
    if (isDeepEqual(networks, this.#serviceNetworks)) return;
    this.#serviceNetworks = networks;
    this.#hasNewSurroundings = true;
  }

  #delete(kind: Kind, key: string): void {
    this.#listings.get(kind)?.keys.delete(key);
    this.#problems.delete(subjectOf(kind, key));
    this.#forget(kind, key);
  }

  #forget(kind: Kind, key: string): void {
    if (kind === 'Service') {
      if (this.#services.delete(key as ServiceKey)) this.#touched.add(key as ServiceKey);
    } else if (kind === 'EndpointSlice') {
      const slice = this.#slicesByKey.get(key);
      if (slice !== undefined) this.#removeSlice(slice);
    } else if (kind === 'ServiceCIDR') {
      this.#putServiceCidr(key, undefined);
    } else if (this.#node?.name === key) {
      this.#putNode(undefined);
    }
  }

  #endListing(kind: Kind): void {
    const listing = this.#listings.get(kind);
    this.#listings.delete(kind);
    this.#synced.add(kind);
    this.#restored.delete(kind);
    if (listing === undefined) return;
    for (const key of [...this.#keys(kind)]) if (!listing.keys.has(key)) this.#delete(kind, key);
    for (const subject of [...this.#problems.keys()]) {
      if (subject.startsWith(`${kind} `) && !listing.subjects.has(subject)) this.#problems.delete(subject);
    }
  }

  #keys(kind: Kind): Iterable<string> {
    if (kind === 'Service') return this.#services.keys();
    if (kind === 'EndpointSlice') return this.#slicesByKey.keys();
    if (kind === 'ServiceCIDR') return this.#serviceCidrs.keys();
    return this.#node === undefined ? [] : [this.#node.name];
  }
}

function compareByKey(a: EndpointSlice, b: EndpointSlice): number {
  return a.key < b.key ? -1 : 1;
}

function objectKey(kind: Kind, namespace: string, name: string): string {
  return isNamespaced(kind) ? `${namespace}/${name}` : name;
}

/** How a human finds the object: `Service default/web`. */
function subjectOf(kind: Kind, key: string): string {
  return `${kind} ${key}`;
}

/** The key of a raw object that may be malformed elsewhere; undefined when it has no usable name. */
function looseKey(kind: Kind, object: unknown): string | undefined {
  if (typeof object !== 'object' || object === null) return undefined;
  const metadata = (object as { metadata?: unknown }).metadata;
  if (typeof metadata !== 'object' || metadata === null) return undefined;
  const { namespace, name } = metadata as { namespace?: unknown; name?: unknown };
  if (typeof name !== 'string' || name === '') return undefined;
  return objectKey(kind, typeof namespace === 'string' ? namespace : '', name);
}
