// core/v1 Node → Node: InternalIP addresses before ExternalIP ones, as kube-proxy orders them
// (k8s.io/component-helpers node/util GetNodeHostIPs).

import type { Built } from './built.ts';
import { Field } from './fields.ts';
import type { Ip } from './ip.ts';
import type { Node } from './types.ts';

/** Reduces a raw Node. */
export function buildNode(object: unknown): Built<Node> {
  const root = Field.root(object);
  const listed = root.at('status').at('addresses').items();
  const addresses = new Set<Ip>();
  for (const type of ['InternalIP', 'ExternalIP']) {
    for (const field of listed) {
      const ip = field.at('type').value === type ? field.at('address').ipOrSkip() : undefined;
      if (ip !== undefined) addresses.add(ip);
    }
  }
  return root.built({ name: root.at('metadata').at('name').subdomain(), addresses: [...addresses] });
}
