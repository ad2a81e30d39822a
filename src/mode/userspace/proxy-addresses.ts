// Where proxies listen: one address of this host per family. Whoever is sent there by the rules dialled another one.

import { familyOf, type Ip, type IpFamily, isLoopback } from '../../model/ip.ts';

export interface ProxyAddressFacts {
  /** `--bind-address`; undefined for an unspecified one. */
  readonly bindAddress: Ip | undefined;
  /** What the Node says that its addresses are, the first being the best; empty while no Node says. */
  readonly nodeAddresses: readonly Ip[];
  /** What this host has, in the order of its interfaces. */
  readonly hostAddresses: readonly Ip[];
}

/** The address of each family; a family without one is missing. */
export function proxyAddresses({
  bindAddress,
  nodeAddresses,
  hostAddresses,
}: ProxyAddressFacts): ReadonlyMap<IpFamily, Ip> {
  const present = new Set(hostAddresses);
  const wished = [...(bindAddress === undefined ? [] : [bindAddress]), ...nodeAddresses];
  const all = [...wished.filter((ip) => present.has(ip)), ...hostAddresses].filter((ip) => !isLoopback(ip));
  const found = new Map<IpFamily, Ip>();
  for (const family of [4, 6] as const) {
    const ip = all.find((one) => familyOf(one) === family);
    if (ip !== undefined) found.set(family, ip);
  }
  return found;
}
