// What rules depend on besides the Frontends: this node and the networks around it.

import type { Cidr, Ip } from '../model/ip.ts';
import type { LocalPodsByFamily } from './local-pods.ts';

export interface Surroundings {
  /** Networks whose local addresses serve node ports. */
  readonly nodePortCidrs: readonly Cidr[];
  /** Networks of which cluster IPs are allocated, as far as they are known. */
  readonly serviceCidrs: readonly Cidr[];
  /** How pods of this node are told from other clients. */
  readonly localPods: LocalPodsByFamily;
  /** What the Node says that its addresses are, the best first; missing while no Node says. */
  readonly nodeAddresses?: readonly Ip[];
}
