// What a Service asks for beyond Kubernetes, by annotation: docs/annotations.md is for those who write them.

/**
 * How a connection finds its endpoint: `random`; `rr`, each in turn; `sh`, by a hash of the client's address; `mh`, the
 * same over a Maglev table that is equal on every node. Names are IPVS's where it has the same.
 */
export type Scheduler = 'random' | 'rr' | 'sh' | 'mh';

/** What becomes of established TCP connections to an endpoint that is gone: kept, or reset after a grace period. */
export type RemovedTcpPolicy =
  | { readonly kind: 'keep' }
  | { readonly kind: 'reset'; readonly graceMs: number };

/** Weights of endpoints: the most specific entry counts, an address before a node before a zone before `default`. */
export interface EndpointWeights {
  readonly byAddress: Readonly<Record<string, number>>;
  readonly byNode: Readonly<Record<string, number>>;
  readonly byZone: Readonly<Record<string, number>>;
  /** 0 to MAX_WEIGHT. */
  readonly default: number;
}

export interface ServicePolicy {
  readonly scheduler: Scheduler;
  /** undefined when all weigh the same. */
  readonly weights: EndpointWeights | undefined;
  readonly removedTcp: RemovedTcpPolicy;
}

/** The largest weight of an endpoint. */
export const MAX_WEIGHT = 100;

/** What a Service without annotations gets: one object, for there are many such Services. */
export const DEFAULT_POLICY: ServicePolicy = {
  scheduler: 'random',
  weights: undefined,
  removedTcp: { kind: 'keep' },
};
