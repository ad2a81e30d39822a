// What a source of objects says, as plain values.

/** Kinds a source delivers. core/v1 Endpoints never appear: the manifest source mirrors them into EndpointSlices. */
export type ObjectKind = (typeof OBJECT_KINDS)[number];
export const OBJECT_KINDS = ['Service', 'EndpointSlice', 'Node', 'ServiceCIDR'] as const;

/** False for kinds whose objects belong to the cluster; their namespace is ''. */
export function isNamespaced(kind: ObjectKind): boolean {
  return kind === 'Service' || kind === 'EndpointSlice';
}

/**
 * One statement of a source. Events of one batch belong together and are applied as one.
 *
 * - `upsert`: the raw object, as decoded from JSON or YAML; nothing about it has been validated yet.
 *   `origin` says where it came from, for messages (`web.yaml document 2`, '' for an API server).
 * - `delete`: the object is gone.
 * - `list-start` / `list-end`: a complete listing of the kind lies between the two, possibly over several batches;
 *   at `list-end` every object of that kind that was not upserted since `list-start` is gone, and the kind is synced.
 *   A `list-start` before the `list-end` means that the listing broke off and begins anew.
 * - `problem` / `problem-solved`: something unreadable that is not an object yet (a broken document).
 */
export type SourceEvent =
  | { readonly type: 'upsert'; readonly kind: ObjectKind; readonly object: unknown; readonly origin: string }
  | { readonly type: 'delete'; readonly kind: ObjectKind; readonly namespace: string; readonly name: string }
  | { readonly type: 'list-start'; readonly kind: ObjectKind }
  | { readonly type: 'list-end'; readonly kind: ObjectKind }
  | { readonly type: 'problem'; readonly subject: string; readonly code: string; readonly reason: string }
  | { readonly type: 'problem-solved'; readonly subject: string };
