// The one interface behind which every origin of objects hides: an API server, a folder of manifests.

/** Kinds a source delivers. core/v1 Endpoints never appear: the manifest source mirrors them into EndpointSlices. */
export type ObjectKind = 'Service' | 'EndpointSlice' | 'Node';

/**
 * What a source says. Events of one batch belong together and are applied as one.
 *
 * - `upsert`: the raw object, as decoded from JSON or YAML; nothing about it has been validated yet.
 *   `origin` says where it came from, for messages (`web.yaml document 2`, `API server`).
 * - `delete`: the object is gone.
 * - `list-start` / `list-end`: a complete listing of the kind lies between the two, possibly over several batches;
 *   at `list-end` every object of that kind that was not upserted since `list-start` is gone, and the kind is synced.
 * - `problem` / `problem-solved`: something unreadable that is not an object yet (a broken document).
 */
export type SourceEvent =
  | { readonly type: 'upsert'; readonly kind: ObjectKind; readonly object: unknown; readonly origin: string }
  | { readonly type: 'delete'; readonly kind: ObjectKind; readonly namespace: string; readonly name: string }
  | { readonly type: 'list-start'; readonly kind: ObjectKind }
  | { readonly type: 'list-end'; readonly kind: ObjectKind }
  | { readonly type: 'problem'; readonly subject: string; readonly code: string; readonly reason: string }
  | { readonly type: 'problem-solved'; readonly subject: string };

/** Receives batches, in order, on the event loop. Must not throw. */
export type SourceSink = (events: readonly SourceEvent[]) => void;

/** An origin of objects. */
export interface Source {
  /** For logs: `API server https://10.0.0.1:6443`, `manifests ./examples`. */
  readonly description: string;
  /**
   * Starts delivering and returns once running, not once synced. Transient failures are retried inside, for ever.
   * @throws ConfigError when the configuration can never work (no such folder, malformed kubeconfig).
   */
  start(sink: SourceSink): Promise<void>;
  /** Stops; no event is delivered after the promise settles. Idempotent. */
  stop(): Promise<void>;
}
