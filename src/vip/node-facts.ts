// What about this node decides Frontends and rules, beyond the settings.

import { isDeepEqual } from '../model/deep-equal.ts';
import type { Ip } from '../model/ip.ts';
import type { Node } from '../model/types.ts';
import { type DetectLocal, type LocalPods, type LocalPodsByFamily, localPods } from './local-pods.ts';

export interface NodeFacts {
  /** undefined when the Node has none, or is not known yet. */
  readonly zone: string | undefined;
  /** The Node's own, as in `Node`. */
  readonly addresses: readonly Ip[];
  /** How pods of this node are told from other clients. */
  readonly localPods: LocalPodsByFamily;
}

/**
 * The facts that a Node object states; undefined when it is not known. Those last stated outlive the object, which may
 * go and come while the node works on: without one, `before` stays.
 */
export function nodeFacts(detect: DetectLocal, node: Node | undefined, before?: NodeFacts): NodeFacts {
  if (node === undefined && before !== undefined) return before;
  const pods = new Map<4 | 6, LocalPods>();
  for (const family of [4, 6] as const) {
    const one = localPods(detect, node, family);
    if (one !== undefined) pods.set(family, one);
  }
  const facts = { zone: node?.zone, addresses: node?.addresses ?? [], localPods: pods };
  return before !== undefined && isSameFacts(before, facts) ? before : facts;
}

function isSameFacts(a: NodeFacts, b: NodeFacts): boolean {
  const plain = ({ localPods: pods, ...rest }: NodeFacts) => ({ ...rest, pods: [...pods] });
  return isDeepEqual(plain(a), plain(b));
}
