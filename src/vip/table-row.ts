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
  /** `balance`, `refuse`, `drop`, or what else the kernel does with it. */
  readonly action: string;
  readonly backends: readonly { readonly address: string; readonly port: number }[];
  /** Connections so far, undefined when the kernel does not count them. */
  readonly connections: bigint | undefined;
}
