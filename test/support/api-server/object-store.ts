// What etcd and the watch cache are to an API server: versioned objects, their history, and snapshots of the past.

export interface ApiObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    creationTimestamp?: string;
    labels?: Record<string, string>;
    [field: string]: unknown;
  };
  [field: string]: unknown;
}

export interface Change {
  readonly version: number;
  /** Before the change; undefined for a creation. */
  readonly before: ApiObject | undefined;
  /** After the change; undefined for a deletion. */
  readonly after: ApiObject | undefined;
}

export const KINDS = ['Service', 'EndpointSlice', 'Node', 'ServiceCIDR'] as const;
export type Kind = (typeof KINDS)[number];

export class ObjectStore {
  /** By kind and `namespace/name`, in key order on reading. */
  readonly #objects = new Map<Kind, Map<string, ApiObject>>(KINDS.map((kind) => [kind, new Map()]));
  readonly #changes = new Map<Kind, Change[]>(KINDS.map((kind) => [kind, []]));
  readonly #listeners = new Set<(kind: Kind, change: Change) => void>();
  #version = 1;
  /** Changes up to here are forgotten. */
  #compacted = 0;

  get version(): number {
    return this.#version;
  }

  get compacted(): number {
    return this.#compacted;
  }

  /** Creates or replaces; fills in uid, creationTimestamp and resourceVersion. Returns the stored object. */
  put(object: ApiObject): ApiObject {
    const kind = kindOf(object.kind);
    const key = keyOf(object.metadata.namespace, object.metadata.name);
    const before = this.#objects.get(kind)!.get(key);
    const version = ++this.#version;
    const after: ApiObject = structuredClone(object);
    after.metadata.uid ??=
      before?.metadata.uid ?? `00000000-0000-4000-8000-${String(version).padStart(12, '0')}`;
    after.metadata.creationTimestamp ??= before?.metadata.creationTimestamp ?? '2026-01-01T00:00:00Z';
    after.metadata.resourceVersion = String(version);
    this.#objects.get(kind)!.set(key, after);
    this.#record(kind, { version, before, after });
    return after;
  }

  /** @throws Error when there is no such object. */
  delete(kind: Kind, namespace: string, name: string): void {
    const key = keyOf(namespace, name);
    const before = this.#objects.get(kind)!.get(key);
    if (before === undefined) throw new Error(`${kind} ${key} not found`);
    this.#objects.get(kind)!.delete(key);
    this.#record(kind, { version: ++this.#version, before, after: undefined });
  }

  /** All objects of a kind, in the order of their keys. */
  list(kind: Kind): ApiObject[] {
    const objects = this.#objects.get(kind)!;
    return [...objects.keys()].sort().map((key) => objects.get(key)!);
  }

  /** The changes of a kind after `version`; undefined when some of them are forgotten. */
  changesSince(kind: Kind, version: number): readonly Change[] | undefined {
    if (version < this.#compacted) return undefined;
    return this.#changes.get(kind)!.filter((change) => change.version > version);
  }

  /** Forgets history: watching from an older version is Gone. */
  compact(): void {
    this.#compacted = this.#version;
    for (const changes of this.#changes.values()) changes.length = 0;
  }

  /** As after a restore from an older backup: versions start again at a lower number. */
  rewind(version: number): void {
    this.#version = version;
    this.#compacted = 0;
    for (const changes of this.#changes.values()) changes.length = 0;
  }

  onChange(listener: (kind: Kind, change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #record(kind: Kind, change: Change): void {
    this.#changes.get(kind)!.push(change);
    for (const listener of this.#listeners) listener(kind, change);
  }
}

export function kindOf(name: string): Kind {
  const kind = KINDS.find((candidate) => candidate === name);
  if (kind === undefined) throw new Error(`no such kind: ${name}`);
  return kind;
}

function keyOf(namespace: string | undefined, name: string): string {
  return `${namespace ?? ''}/${name}`;
}
