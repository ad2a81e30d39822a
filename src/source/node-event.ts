// Events about this Node (events.k8s.io/v1), as what the daemon has to say and as what is written to an API server.

/** Another object that an Event is about (core/v1 ObjectReference, reduced). */
export interface RelatedObject {
  readonly apiVersion: string;
  readonly kind: string;
  /** '' for objects of the cluster. */
  readonly namespace: string;
  readonly name: string;
}

/** Something that an operator must know, about this Node. */
export interface NodeEvent {
  readonly type: 'Normal' | 'Warning';
  /** Why, in UpperCamelCase, for machines: `Starting`, `VipConflict`. */
  readonly reason: string;
  /** What was being done, in UpperCamelCase: `SyncProxyRules`. */
  readonly action: string;
  /** One sentence. */
  readonly note: string;
  readonly related: RelatedObject | undefined;
}

/** One write: an Event, or how often it has happened by now. */
export type EventWrite =
  | { readonly op: 'create'; readonly id: number; readonly event: NodeEvent; readonly atMs: number }
  /** `count` is 2 or more; `atMs` is when it last happened. */
  | { readonly op: 'count'; readonly id: number; readonly count: number; readonly atMs: number };
