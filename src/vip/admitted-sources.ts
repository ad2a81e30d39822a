// Who may dial the load-balancer addresses of a Service (spec.loadBalancerSourceRanges): kube-proxy.md section 5.4.

import { outermost } from '../model/cidr-list.ts';
import { type Cidr, cidrContains, familyOf, hostCidr, type IpFamily } from '../model/ip.ts';
import type { Service } from '../model/types.ts';
import type { NodeFacts } from './node-facts.ts';

/**
 * The ranges of a family, as `outermost` makes them; undefined lets everybody in, an empty list nobody. Where this node
 * is in one of them, the load-balancer addresses are added: some load balancers make theirs an address of the node, and
 * what the node itself sends there then comes from it.
 */
export function admittedSources(
  { sourceRanges, loadBalancerIps }: Pick<Service, 'sourceRanges' | 'loadBalancerIps'>,
  family: IpFamily,
  { addresses }: Pick<NodeFacts, 'addresses'>,
): readonly Cidr[] | undefined {
  const ranges = sourceRanges[family];
  if (ranges === undefined) return undefined;
  const isNodeAdmitted = addresses.some((ip) => ranges.some((range) => cidrContains(range, ip)));
  if (!isNodeAdmitted) return ranges;
  return outermost([...ranges, ...loadBalancerIps.filter((ip) => familyOf(ip) === family).map(hostCidr)]);
}
