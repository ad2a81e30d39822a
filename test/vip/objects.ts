// Model objects for tests, by what matters about them.

import { parseIp } from '../../src/model/ip.ts';
import { DEFAULT_POLICY } from '../../src/model/service-policy.ts';
import { UNRESTRICTED } from '../../src/model/source-ranges.ts';
import type { Endpoint, EndpointSlice, Service, ServiceKey } from '../../src/model/types.ts';

export const HERE = 'node-1';
export const ELSEWHERE = 'node-2';

/** Combinations of the three conditions, by what they mean. */
export const states = {
  ready: { isReady: true, isServing: true, isTerminating: false },
  /** Not ready because it ends, but still answering. */
  draining: { isReady: false, isServing: true, isTerminating: true },
  /** Ending, and no longer answering. */
  ended: { isReady: false, isServing: false, isTerminating: true },
  unready: { isReady: false, isServing: false, isTerminating: false },
  /** What nothing writes on purpose, but mirrored Endpoints come to: `ready: false` and no word about the rest. */
  servingOnly: { isReady: false, isServing: true, isTerminating: false },
  /** As publishNotReadyAddresses marks a pod that ends. */
  publishedEnding: { isReady: true, isServing: false, isTerminating: true },
} as const;
export type State = keyof typeof states;

export const ip = (text: string) => parseIp(text)!;

export const endpoint = (
  address: string,
  state: State = 'ready',
  over: Partial<Endpoint> = {},
): Endpoint => ({
  ip: ip(address),
  ...states[state],
  zoneHints: undefined,
  nodeHints: undefined,
  nodeName: ELSEWHERE,
  ...over,
});

export const key = 'default/web' as ServiceKey;

export const service = (over: Partial<Service> = {}): Service => ({
  key,
  namespace: 'default',
  name: 'web',
  uid: '',
  createdAtMs: 0,
  type: 'ClusterIP',
  isProxied: true,
  clusterIps: [ip('10.96.0.1')],
  ipFamilies: [4],
  externalIps: [],
  loadBalancerIps: [],
  isInternalLocal: false,
  isExternalLocal: false,
  healthCheckNodePort: 0,
  affinityTimeoutSeconds: undefined,
  sourceRanges: UNRESTRICTED,
  policy: DEFAULT_POLICY,
  ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 0 }],
  ...over,
});

/** Ready endpoints on another node, unless given whole. */
export const slice = (
  endpoints: readonly (string | Endpoint)[],
  over: Partial<EndpointSlice> = {},
): EndpointSlice => ({
  key: 'default/web-1',
  serviceKey: key,
  family: 4,
  ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
  endpoints: endpoints.map((one) => (typeof one === 'string' ? endpoint(one) : one)),
  ...over,
});
