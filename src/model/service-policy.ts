// What a Service asks for beyond Kubernetes, by annotation: docs/annotations.md is for those who write them.

/**
 * How a connection finds its endpoint: `random`; `rr`, each in turn; `sh`, by a hash of the client's address; `mh`, the
 * same over a Maglev table. All but the first are names of IPVS's schedulers (ipvsadm(8)), and those behind `mh` are for
 * ipvs mode only.
 */
export type Scheduler = (typeof SCHEDULERS)[number];
export const SCHEDULERS = [
  'random',
  'rr',
  'sh',
  'mh',
  'wrr',
  'lc',
  'wlc',
  'sed',
  'nq',
  'lblc',
  'lblcr',
  'dh',
  'fo',
  'ovf',
] as const;

/** Scheduler flags of IPVS, under ipvsadm's names: a port goes into the hash, a drained endpoint is stepped over. */
export type SchedulerFlag = (typeof SCHEDULER_FLAGS)[number];
export const SCHEDULER_FLAGS = ['sh-port', 'sh-fallback', 'mh-port', 'mh-fallback'] as const;

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

/** How an endpoint is told who its client is: not at all, or by a header of the PROXY protocol before everything else. */
export type ProxyProtocol = (typeof PROXY_PROTOCOLS)[number];
export const PROXY_PROTOCOLS = ['none', 'v2'] as const;

export interface ServicePolicy {
  readonly scheduler: Scheduler;
  /** For ipvs mode. */
  readonly schedulerFlags: readonly SchedulerFlag[];
  /** For ipvs mode: endpoints answer clients of external and load-balancer IPs past this node. */
  readonly isDirect: boolean;
  /** undefined when all weigh the same. */
  readonly weights: EndpointWeights | undefined;
  readonly removedTcp: RemovedTcpPolicy;
  /** For userspace mode: so many clients at once, undefined for any number. */
  readonly maxConnections: number | undefined;
  /** For userspace mode, TCP. */
  readonly proxyProtocol: ProxyProtocol;
}

/** The largest weight of an endpoint. */
export const MAX_WEIGHT = 100;

/** What a Service without annotations gets: one object, for there are many such Services. */
export const DEFAULT_POLICY: ServicePolicy = {
  scheduler: 'random',
  schedulerFlags: [],
  isDirect: false,
  weights: undefined,
  removedTcp: { kind: 'keep' },
  maxConnections: undefined,
  proxyProtocol: 'none',
};
