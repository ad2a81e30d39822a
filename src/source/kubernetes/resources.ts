// What this daemon lists and watches, with kube-proxy 1.36's selectors (cmd/kube-proxy/app/server.go).

import type { ObjectKind } from '../source.ts';

export interface Resource {
  readonly kind: ObjectKind;
  /** The plural name, as in RBAC rules and URLs. */
  readonly plural: string;
  /** API group, '' for the core group. */
  readonly group: string;
  /** Path of the collection across all namespaces. */
  readonly path: string;
  readonly isNamespaced: boolean;
  /** Query parameters that select the objects; the same for list and watch. */
  readonly selector: Readonly<Record<string, string>>;
}

/** The collections that the proxy of node `nodeName` needs. */
export function resourcesOf(nodeName: string): readonly Resource[] {
  return [
    {
      kind: 'Service',
      plural: 'services',
      group: '',
      path: '/api/v1/services',
      isNamespaced: true,
      selector: {
        labelSelector: '!service.kubernetes.io/service-proxy-name',
        fieldSelector: 'spec.clusterIP!=None',
      },
    },
    {
      kind: 'EndpointSlice',
      plural: 'endpointslices',
      group: 'discovery.k8s.io',
      path: '/apis/discovery.k8s.io/v1/endpointslices',
      isNamespaced: true,
      selector: { labelSelector: '!service.kubernetes.io/headless' },
    },
    {
      kind: 'Node',
      plural: 'nodes',
      group: '',
      path: '/api/v1/nodes',
      isNamespaced: false,
      selector: { fieldSelector: `metadata.name=${nodeName}` },
    },
  ];
}
