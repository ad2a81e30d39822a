// core/v1 Node → Node: its zone, its pods' networks, and InternalIP addresses before ExternalIP ones, as kube-proxy
// orders them (k8s.io/component-helpers node/util GetNodeHostIPs).

import type { Built } from './built.ts';
import { Field } from './fields.ts';
import type { Ip } from './ip.ts';
import type { Node } from './types.ts';

/** The well-known label of core/v1; kube-proxy reads no other, not even its beta predecessor. */
const ZONE_LABEL = 'topology.kubernetes.io/zone';

const TO_BE_DELETED_TAINT = 'ToBeDeletedByClusterAutoscaler';

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
  const metadata = root.at('metadata');
  const zone = metadata.at('labels').at(ZONE_LABEL).text();
  const spec = root.at('spec');
  const podCidrs = spec.at('podCIDRs').items();
  const podCidr = spec.at('podCIDR');
  // The single field came first; the API server keeps it equal to the first of the list.
  const cidrs = podCidrs.length > 0 || podCidr.text() === '' ? podCidrs : [podCidr];
  return root.built({
    name: metadata.at('name').subdomain(),
    zone: zone === '' ? undefined : zone,
    addresses: [...addresses],
    podCidrs: cidrs.flatMap((field) => field.cidrOrSkip() ?? []),
    isEligible: metadata.at('deletionTimestamp').text() === '' && !isToBeDeleted(spec.at('taints')),
  });
}

/** The cluster autoscaler's word, whatever the effect. */
function isToBeDeleted(taints: Field): boolean {
  return taints.items().some((taint) => taint.at('key').value === TO_BE_DELETED_TAINT);
}
