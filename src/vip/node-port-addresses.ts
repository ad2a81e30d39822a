// On which addresses of this node a node port is served (`--nodeport-addresses`).

import { type Cidr, familyOf, hostCidr, type Ip, type IpFamily, isLoopback } from '../model/ip.ts';
import type { Node } from '../model/types.ts';

/** Which local addresses serve node ports: the Node's primary ones, or all within the CIDRs. */
export type NodePortAddresses =
  /** `bindAddress` stands for the Node's own address of its family. */
  | { readonly kind: 'primary'; readonly bindAddress?: Ip | undefined }
  | { readonly kind: 'cidrs'; readonly cidrs: readonly Cidr[] };

/**
 * The networks whose local addresses serve node ports. `primary` is the Node's first address of each family
 * that is not a loopback one; while the Node is not known, `interfaceAddresses` (what this host calls itself) stand in. A family without an address serves
 * none: kube-proxy would serve every address of it, which is a recorded bug.
 */
export function nodePortCidrs(
  setting: NodePortAddresses,
  node: Node | undefined,
  interfaceAddresses: readonly Ip[],
): readonly Cidr[] {
  if (setting.kind === 'cidrs') return setting.cidrs;
  const addresses = node === undefined || node.addresses.length === 0 ? interfaceAddresses : node.addresses;
  const { bindAddress } = setting;
  const all = bindAddress === undefined ? addresses : [bindAddress, ...addresses];
  return ([4, 6] as const).flatMap((family) => primaryOf(all, family));
}

function primaryOf(addresses: readonly Ip[], family: IpFamily): Cidr[] {
  const ip = addresses.find((one) => familyOf(one) === family && !isLoopback(one));
  return ip === undefined ? [] : [hostCidr(ip)];
}
