// One line of the virtual-IP table as a human reads it: an address that clients may dial, and what answers.
// Produced from the kernel's own state, so `kproxy-ts table` needs no API server.

import type { Protocol } from '../model/types.ts';

export interface VipTableRow {
  /** `default/web:http`; the port name is missing for an unnamed port. */
  readonly service: string;
  /** `ClusterIP`, `ExternalIP`, `LoadBalancer`, `NodePort`, or `VIP` where the kernel's state does not say which. */
  readonly kind: string;
  /** An IP, or `*` for a node port. */
  readonly address: string;
  readonly port: number;
  readonly protocol: Protocol;
  /** `balance`, `refuse`, `drop`, or what else the kernel does with it; `, restricted` if only for some clients. */
  readonly action: string;
  readonly backends: readonly { readonly address: string; readonly port: number }[];
  /** The proxy on this host that clients are led to, where there is one: the backends are known to it, and not to the kernel. */
  readonly portal?: { readonly address: string; readonly port: number };
  /** Connections so far, undefined when the kernel does not count them. */
  readonly connections: bigint | undefined;
}

/**
 * What `action` says of connections that get a backend: `balance`, `balance rr`, `balance mh, affinity 90s`. `scheduler` may
 * be any that a kernel has.
 */
export function balanceAction(scheduler: string, affinitySeconds: number | undefined): string {
  const how = scheduler === 'random' ? 'balance' : `balance ${scheduler}`;
  return affinitySeconds === undefined ? how : `${how}, affinity ${formatSeconds(affinitySeconds)}`;
}

/** An action that is for clients in the source ranges only; all others get no answer. */
export function restricted(action: string): string {
  return `${action}, restricted`;
}

/** In the largest unit that needs no fraction. */
function formatSeconds(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600}h`;
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
}
