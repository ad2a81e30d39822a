// networking.k8s.io/v1 ServiceCIDR → ServiceCidr. As in kube-proxy 1.36 (pkg/proxy/config) it counts whatever its
// conditions say, and until it is gone: cluster IPs are allocated from it that long.

import type { Built } from './built.ts';
import { outermost } from './cidr-list.ts';
import { Field } from './fields.ts';
import type { ServiceCidr } from './types.ts';

/** Reduces a raw ServiceCIDR. */
export function buildServiceCidr(object: unknown): Built<ServiceCidr> {
  const root = Field.root(object);
  const listed = root.at('spec').at('cidrs').items();
  return root.built({
    name: root.at('metadata').at('name').subdomain(),
    cidrs: outermost(listed.flatMap((field) => field.cidrOrSkip() ?? [])),
  });
}
