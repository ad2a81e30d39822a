// How pods of this node are told from other clients (`--detect-local-mode`): kube-proxy.md section 3, KEP-2450.

import type { Cidr, IpFamily } from '../model/ip.ts';
import type { Node, Problem } from '../model/types.ts';

/** What the configuration says. */
export type DetectLocal =
  /** The first CIDR of each family counts. */
  | { readonly kind: 'ClusterCIDR'; readonly cidrs: readonly Cidr[] }
  /** The podCIDRs of the Node, live. */
  | { readonly kind: 'NodeCIDR' }
  | { readonly kind: 'BridgeInterface'; readonly name: string }
  | { readonly kind: 'InterfaceNamePrefix'; readonly prefix: string };

/** A packet is from a pod of this node when its source is in a CIDR, or when it came in through an interface. */
export type LocalPods =
  | { readonly kind: 'source'; readonly cidr: Cidr }
  /** `name` is a prefix when `isPrefix`. */
  | { readonly kind: 'interface'; readonly name: string; readonly isPrefix: boolean };

/** LocalPods per family; a family for which pods cannot be told apart is missing. */
export type LocalPodsByFamily = ReadonlyMap<IpFamily, LocalPods>;

/** The test for packets of `family`; undefined when what it needs is not known. */
export function localPods(
  detect: DetectLocal,
  node: Node | undefined,
  family: IpFamily,
): LocalPods | undefined {
  switch (detect.kind) {
    case 'BridgeInterface':
      return { kind: 'interface', name: detect.name, isPrefix: false };
    case 'InterfaceNamePrefix':
      return { kind: 'interface', name: detect.prefix, isPrefix: true };
    default: {
      const cidrs = detect.kind === 'ClusterCIDR' ? detect.cidrs : (node?.podCidrs ?? []);
      const cidr = cidrs.find((one) => one.family === family);
      return cidr === undefined ? undefined : { kind: 'source', cidr };
    }
  }
}

/** Tells that pods of this node cannot be told from other clients because its Node does not say where they are. */
export function localPodsProblems(
  detect: DetectLocal,
  pods: LocalPodsByFamily,
  nodeName: string,
): readonly Problem[] {
  if (detect.kind !== 'NodeCIDR' || pods.size > 0) return [];
  const reason =
    'spec.podCIDRs: is not known, so that pods of this node count as clients from outside (--detect-local-mode=NodeCIDR)';
  return [{ subject: `Node ${nodeName}`, code: 'NO_POD_CIDR', reason }];
}
