// What this daemon lists and watches, with kube-proxy 1.36's selectors (cmd/kube-proxy/app/server.go), and what it writes.

import type { ObjectKind } from '../source.ts';

export interface Resource {
  readonly kind: ObjectKind;
  /** The plural name, as in RBAC rules and URLs. */
  readonly plural: string;
  /** API group, '' for the core group. */
  readonly group: string;
  /** Paths of the collection across all namespaces: of the newest version first, of older ones that say the same after. */
  readonly paths: readonly [string, ...string[]];
  /** A server may lack it, or not let us read it: that is told once, and the daemon goes on without. */
  readonly isOptional: boolean;
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
      paths: ['/api/v1/services'],
      isOptional: false,
      selector: {
        labelSelector: '!service.kubernetes.io/service-proxy-name',
        fieldSelector: 'spec.clusterIP!=None',
      },
    },
    {
      kind: 'EndpointSlice',
      plural: 'endpointslices',
      group: 'discovery.k8s.io',
      paths: ['/apis/discovery.k8s.io/v1/endpointslices'],
      isOptional: false,
      selector: { labelSelector: '!service.kubernetes.io/headless' },
    },
    {
      kind: 'Node',
      plural: 'nodes',
      group: '',
      paths: ['/api/v1/nodes'],
      isOptional: false,
      selector: { fieldSelector: `metadata.name=${nodeName}` },
    },
    {
      kind: 'ServiceCIDR',
      plural: 'servicecidrs',
      group: 'networking.k8s.io',
      // Served since Kubernetes 1.33; 1.31 and 1.32 have the beta, where it is switched on.
      paths: ['/apis/networking.k8s.io/v1/servicecidrs', '/apis/networking.k8s.io/v1beta1/servicecidrs'],
      isOptional: true,
      selector: {},
    },
  ];
}

/** What it creates and patches, and nothing else. Events of objects without a namespace are in `default` (client-go tools/events). */
export const NODE_EVENTS = {
  group: 'events.k8s.io',
  plural: 'events',
  namespace: 'default',
  path: '/apis/events.k8s.io/v1/namespaces/default/events',
} as const;
