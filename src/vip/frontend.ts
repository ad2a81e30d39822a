// The mode-independent product of this daemon: what a client may dial on this node, and what is behind it.
// Kubernetes semantics end here; a mode only writes Frontends into a kernel.

import type { Cidr, Ip, IpFamily } from '../model/ip.ts';
import type { Scheduler, SchedulerFlag } from '../model/service-policy.ts';
import type { Protocol, ServiceKey } from '../model/types.ts';

export type FrontendKind = 'ClusterIP' | 'ExternalIP' | 'LoadBalancer' | 'NodePort';

/**
 * When the client's address is replaced by this node's:
 * `never`; `off-cluster` for clients that are no pods of this node (`LocalPods`); `always`.
 */
export type Masquerade = 'never' | 'off-cluster' | 'always';

/** An address:port behind a Frontend. */
export interface Backend {
  readonly ip: Ip;
  /** 1 to 65535. */
  readonly port: number;
  /** On this node, or on a node its slice does not name: such a backend may dial itself through the VIP. */
  readonly isMaybeLocal: boolean;
  /** 1 to MAX_WEIGHT: its share of connections, relative to the others. Those that weigh nothing are left out. */
  readonly weight: number;
}

export interface Frontend {
  readonly kind: FrontendKind;
  readonly family: IpFamily;
  /** undefined for a node port: every node-port address of this node. */
  readonly address: Ip | undefined;
  readonly protocol: Protocol;
  /** 1 to 65535. */
  readonly port: number;
  readonly service: ServiceKey;
  /** `namespace/name`, or `namespace/name:port` for a named port: kube-proxy's display name. */
  readonly displayName: string;
  /** Usable backends, without duplicates, ordered by `ip:port` text. */
  readonly backends: readonly Backend[];
  /** Whose endpoints `backends` are: of the cluster, or of this node where the internal or external policy is Local. */
  readonly trafficPolicy: 'Cluster' | 'Local';
  /** Where this node tells load balancers whether it has endpoints of the Service (KEP-614); 0 for nowhere. */
  readonly healthCheckNodePort: number;
  readonly masquerade: Masquerade;
  /**
   * Who gets in when there is no backend: nobody, with an answer (`refuse`) or, where endpoints exist elsewhere that a
   * Local policy keeps away, without one (`drop`). Those that weigh nothing count as if they did not exist.
   */
  readonly whenEmpty: 'refuse' | 'drop';
  /**
   * What this node and its own pods get in place of `backends`, undefined when the same: with externalTrafficPolicy
   * Local, the endpoints of the whole cluster. Pods (`LocalPods`) keep their address; the node's own connections are
   * masqueraded.
   */
  readonly insideBackends: readonly Backend[] | undefined;
  readonly scheduler: Scheduler;
  /** Missing when there are none. */
  readonly schedulerFlags?: readonly SchedulerFlag[];
  /** The Service asks that backends answer clients past this node, where a mode can do that; missing when not. */
  readonly isDirect?: true;
  /** So many clients of the Service at once, where a mode can count them; missing for any number. */
  readonly maxConnections?: number;
  /** Endpoints are told who a client is, where a mode can do that; missing when not. */
  readonly proxyProtocol?: 'v2';
  /** Seconds after its last connection for which a client keeps its backend; undefined without affinity. */
  readonly affinityTimeoutSeconds: number | undefined;
  /**
   * Where clients must come from, be there backends or not: CIDRs of this family, without one that lies in another;
   * undefined lets everybody in, an empty list nobody. Those outside get no answer. Decided before `insideBackends`.
   */
  readonly sourceRanges: readonly Cidr[] | undefined;
}

/** What makes a Frontend unique on a node: two Services cannot both have it. `10.96.0.10:53/UDP`, `*v4:31906/TCP`. */
export function frontendKey(frontend: Pick<Frontend, 'address' | 'family' | 'port' | 'protocol'>): string {
  const { address, family, port, protocol } = frontend;
  if (address === undefined) return `*v${family}:${port}/${protocol}`;
  return family === 4 ? `${address}:${port}/${protocol}` : `[${address}]:${port}/${protocol}`;
}
