// What a Service asks for beyond Kubernetes, by annotation: docs/annotations.md is for those who write them.

/**
 * How a connection finds its endpoint: `random`; `rr`, each in turn; `sh`, by a hash of the client's address; `mh`, the
 * same over a Maglev table that is equal on every node. Names are IPVS's where it has the same.
 */
export type Scheduler = (typeof SCHEDULERS)[number];
export const SCHEDULERS = ['random', 'rr', 'sh', 'mh'] as const;

/** What becomes of established TCP connections to an endpoint that is gone: kept, or reset after a grace period. */
export type RemovedTcpPolicy =
  | { readonly kind: 'keep' }
  | { readonly kind: 'reset'; readonly graceMs: number };

/**
 * Weights of endpoints, each 0 to MAX_WEIGHT: the most specific entry counts, an address before a node before a zone
 * before `default`. Keys may be any text: look them up among own properties only.
 */
export interface EndpointWeights {
  readonly byAddress: Readonly<Record<string, number>>;
  readonly byNode: Readonly<Record<string, number>>;
  readonly byZone: Readonly<Record<string, number>>;
  /** Of an endpoint that no entry names. */
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
