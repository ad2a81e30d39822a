// externalTrafficPolicy Local: clients keep their address and stay on the node, while its own pods and the node itself
// reach the whole cluster (kube-proxy.md §2.2, §3, §4.5).

import { ended, type ServiceSpec, service, slices, terminating, unready } from '../objects.ts';
import {
  at,
  CLUSTER_CIDR_FLAG,
  DROPPED,
  masqueraded,
  nodePort,
  PASSES,
  REFUSED,
  reaches,
  type Scenario,
  says,
  type Target,
} from '../row.ts';
import { clusterIp, EXTERNAL_IP, LB_IP, LOOPBACK, NODE_PORT } from '../world.ts';
import { servedOnLoopbackInIptablesMode } from './documented.ts';

const WEB = at(clusterIp());

/** The three ways in from outside, which all obey the policy alike. */
const WAYS: readonly { readonly way: string; readonly to: Target; readonly spec: ServiceSpec }[] = [
  { way: 'node port', to: nodePort(), spec: { ports: [{ nodePort: NODE_PORT }] } },
  { way: 'external IP', to: at(EXTERNAL_IP), spec: { externalIps: [EXTERNAL_IP] } },
  { way: 'load balancer IP', to: at(LB_IP), spec: { loadBalancerIps: [LB_IP] } },
];
const ALL = ['local-1', 'local-2', 'remote-1'] as const;

export const EXTERNAL_POLICY: readonly Scenario[] = WAYS.flatMap(({ way, to, spec }): Scenario[] => {
  const local = service({ ...spec, externalLocal: true });
  const title = (rest: string): string => `externalTrafficPolicy Local at the ${way}, ${rest}`;
  return [
    {
      title: title('endpoints here and elsewhere'),
      objects: [local, ...slices(ALL)],
      statements: [
        says('a client reaches local ones by its own address', 'client', to, reaches(['local-1', 'local-2'])),
        says('a pod reaches all by its own address', 'local-pod', to, reaches(ALL)),
        says('so does a pod of another node, being in the cluster CIDR', 'remote-pod', to, reaches(ALL)),
        says('the node reaches all, masqueraded', 'node', to, masqueraded(ALL)),
        says('the cluster IP leads a pod to all', 'local-pod', WEB, reaches(ALL)),
        says('the cluster IP leads a client to all, masqueraded', 'client', WEB, masqueraded(ALL)),
        says(
          'an endpoint that gets back to itself is masqueraded',
          'local-1',
          to,
          reaches({ 'local-1': 'node', 'local-2': 'own', 'remote-1': 'own' }),
        ),
      ],
    },
    {
      title: title('endpoints elsewhere only'),
      objects: [local, ...slices(['remote-1', 'remote-2'])],
      statements: [
        says('a client is dropped', 'client', to, DROPPED),
        says('a pod reaches them', 'local-pod', to, reaches(['remote-1', 'remote-2'])),
        says('the node reaches them, masqueraded', 'node', to, masqueraded(['remote-1', 'remote-2'])),
        says('the cluster IP leads to them', 'local-pod', WEB, reaches(['remote-1', 'remote-2'])),
      ],
    },
    {
      title: title('local endpoints only'),
      objects: [local, ...slices(['local-1', 'local-2'])],
      statements: [
        says('a client reaches them by its own address', 'client', to, reaches(['local-1', 'local-2'])),
        says('a pod reaches them by its own address', 'local-pod', to, reaches(['local-1', 'local-2'])),
        says('the node is masqueraded', 'node', to, masqueraded(['local-1', 'local-2'])),
      ],
    },
    {
      title: title('no endpoints'),
      objects: [local],
      statements: [
        says('a client is refused', 'client', to, REFUSED),
        says('a pod is refused', 'local-pod', to, REFUSED),
        says('the node is refused', 'node', to, REFUSED),
      ],
    },
    {
      title: title('no ready endpoints'),
      objects: [local, ...slices([unready('local-1'), ended('remote-1')])],
      statements: [
        says('a client is refused', 'client', to, REFUSED),
        says('a pod is refused', 'local-pod', to, REFUSED),
        says('the node is refused', 'node', to, REFUSED),
      ],
    },
    {
      title: title('a local endpoint that serves while it ends, a ready one elsewhere'),
      objects: [local, ...slices([terminating('local-1'), 'remote-1'])],
      statements: [
        says('a client reaches the one that ends', 'client', to, reaches(['local-1'])),
        says('a pod reaches the ready one', 'local-pod', to, reaches(['remote-1'])),
        says('the node reaches the ready one', 'node', to, masqueraded(['remote-1'])),
      ],
    },
    {
      title: title('all endpoints serve while they end'),
      objects: [local, ...slices([terminating('local-1'), terminating('remote-1')])],
      statements: [
        says('a client reaches the local one', 'client', to, reaches(['local-1'])),
        says('a pod reaches all', 'local-pod', to, reaches(['local-1', 'remote-1'])),
      ],
    },
    {
      title: title('endpoints elsewhere that serve while they end'),
      objects: [local, ...slices([terminating('remote-1')])],
      statements: [
        says('a client is dropped', 'client', to, DROPPED),
        says('a pod reaches them', 'local-pod', to, reaches(['remote-1'])),
      ],
    },
    {
      title: title('a local endpoint that is not ready'),
      objects: [local, ...slices([unready('local-1'), 'remote-1'])],
      statements: [says('a client is dropped', 'client', to, DROPPED)],
    },
    {
      title: title('an endpoint of an unnamed node'),
      objects: [local, ...slices([{ at: 'local-1', nodeName: null }, 'local-2'])],
      statements: [
        says('is not local to a client', 'client', to, reaches(['local-2'])),
        says('is one of all to a pod', 'local-pod', to, reaches(['local-1', 'local-2'])),
      ],
    },
    {
      title: title('without a cluster CIDR'),
      flags: [],
      objects: [local, ...slices(ALL)],
      statements: [
        says('a client reaches local ones', 'client', to, reaches(['local-1', 'local-2'])),
        says('nobody can tell a pod, so it does, too', 'local-pod', to, reaches(['local-1', 'local-2'])),
        says('the node reaches all, masqueraded', 'node', to, masqueraded(ALL)),
      ],
    },
    {
      title: title('without a cluster CIDR and endpoints elsewhere only'),
      flags: [],
      objects: [local, ...slices(['remote-1'])],
      statements: [
        says('a pod is dropped like a client', 'local-pod', to, DROPPED),
        says('the node reaches them', 'node', to, masqueraded(['remote-1'])),
      ],
    },
    {
      title: title('internalTrafficPolicy Local as well'),
      objects: [
        service({ ...spec, externalLocal: true, internalLocal: true }),
        ...slices(['local-1', 'remote-1']),
      ],
      statements: [
        says('the cluster IP leads to local ones', 'local-pod', WEB, reaches(['local-1'])),
        says('a client reaches local ones', 'client', to, reaches(['local-1'])),
        says('a pod reaches all from outside', 'local-pod', to, reaches(['local-1', 'remote-1'])),
        says('the node reaches all from outside', 'node', to, masqueraded(['local-1', 'remote-1'])),
      ],
    },
    {
      title: title('--masquerade-all'),
      flags: [CLUSTER_CIDR_FLAG, '--masquerade-all=true'],
      objects: [local, ...slices(['local-1', 'remote-1'])],
      statements: [
        says('a client keeps its address: that flag is for cluster IPs', 'client', to, reaches(['local-1'])),
        says('a pod keeps its address', 'local-pod', to, reaches(['local-1', 'remote-1'])),
      ],
    },
    {
      title: title('an endpoint on the network of the node'),
      objects: [local, ...slices(['node'])],
      statements: [says('is local', 'client', to, reaches(['node']))],
    },
    // With packets the external IP differs in how it is found, not in what becomes of them then.
  ].map((scenario, i) => ({ ...scenario, isTracedOnly: way === 'external IP' && i > 1 }));
}).concat([
  {
    title: 'externalTrafficPolicy Local of a Service with nothing outside',
    objects: [service({ externalLocal: true }), ...slices(['remote-1'])],
    statements: [says('has no effect', 'local-pod', WEB, reaches(['remote-1']))],
  },
  {
    title: 'externalTrafficPolicy Local, loopback',
    objects: [service({ externalLocal: true, ports: [{ nodePort: NODE_PORT }] }), ...slices(['remote-1'])],
    statements: [
      says(
        'serves no node port',
        'node',
        nodePort(LOOPBACK),
        PASSES,
        servedOnLoopbackInIptablesMode(masqueraded(['remote-1'])),
      ),
    ],
  },
]);
