// internalTrafficPolicy Local: cluster-IP traffic stays on its node (kube-proxy.md §2.2, §3).

import { type EndpointSpec, ended, service, slices, terminating, unready } from '../objects.ts';
import { at, DROPPED, masqueraded, nodePort, REFUSED, reaches, type Scenario, says } from '../row.ts';
import { clusterIp, EXTERNAL_IP, LB_IP, NODE_PORT, type Place } from '../world.ts';

const WEB = at(clusterIp());
const LOCAL = service({ internalLocal: true });

const scenario = (
  title: string,
  endpoints: readonly (Place | EndpointSpec)[],
  ...statements: Scenario['statements']
): Scenario => ({
  title: `internalTrafficPolicy Local, ${title}`,
  objects: [LOCAL, ...slices(endpoints)],
  statements,
});

export const INTERNAL_POLICY: readonly Scenario[] = [
  scenario(
    'endpoints here and elsewhere',
    ['local-1', 'local-2', 'remote-1'],
    says('a pod reaches those of the node', 'local-pod', WEB, reaches(['local-1', 'local-2'])),
    says('a pod of another node does, too', 'remote-pod', WEB, reaches(['local-1', 'local-2'])),
    says('the node reaches them, masqueraded', 'node', WEB, masqueraded(['local-1', 'local-2'])),
    says('a client outside reaches them, masqueraded', 'client', WEB, masqueraded(['local-1', 'local-2'])),
    says('an unused port is refused', 'local-pod', at(clusterIp(), 81), REFUSED),
  ),
  scenario(
    'endpoints elsewhere only',
    ['remote-1', 'remote-2'],
    says('a pod is dropped', 'local-pod', WEB, DROPPED),
    says('the node is dropped', 'node', WEB, DROPPED),
    says('a client outside is dropped', 'client', WEB, DROPPED),
    says('an unused port is refused all the same', 'local-pod', at(clusterIp(), 81), REFUSED),
  ),
  scenario('no endpoints', [], says('a pod is refused', 'local-pod', WEB, REFUSED)),
  scenario(
    'endpoints elsewhere that are not ready',
    [unready('remote-1'), ended('remote-2')],
    says('a pod is refused', 'local-pod', WEB, REFUSED),
  ),
  scenario(
    'endpoints elsewhere that serve while they end',
    [terminating('remote-1')],
    says('a pod is dropped', 'local-pod', WEB, DROPPED),
  ),
  scenario(
    'a local endpoint that is not ready',
    [unready('local-1'), 'remote-1'],
    says('a pod is dropped', 'local-pod', WEB, DROPPED),
  ),
  scenario(
    'a local endpoint that ended',
    [ended('local-1'), 'remote-1'],
    says('a pod is dropped', 'local-pod', WEB, DROPPED),
  ),
  scenario(
    'a local endpoint that serves while it ends, ready ones elsewhere',
    [terminating('local-1'), 'remote-1'],
    says('it is reached', 'local-pod', WEB, reaches(['local-1'])),
  ),
  scenario(
    'a local endpoint that is ready and one that ends',
    ['local-1', terminating('local-2')],
    says('the ready one is reached', 'local-pod', WEB, reaches(['local-1'])),
  ),
  scenario(
    'an endpoint of an unnamed node',
    [{ at: 'local-1', nodeName: null }],
    says('is not local', 'local-pod', WEB, DROPPED),
  ),
  scenario(
    'an endpoint of an unnamed node beside a local one',
    [{ at: 'local-1', nodeName: null }, 'local-2'],
    says('is not local', 'local-pod', WEB, reaches(['local-2'])),
  ),
  scenario(
    'an endpoint on the network of the node',
    ['node', 'remote-1'],
    says('is local', 'local-pod', WEB, reaches(['node'])),
  ),
  {
    title: 'internalTrafficPolicy Local of a Service reachable from outside',
    objects: [
      service({
        internalLocal: true,
        ports: [{ nodePort: NODE_PORT }],
        externalIps: [EXTERNAL_IP],
        loadBalancerIps: [LB_IP],
      }),
      ...slices(['local-1', 'remote-1']),
    ],
    statements: [
      says('holds for the cluster IP', 'local-pod', WEB, reaches(['local-1'])),
      says('not for the node port', 'client', nodePort(), masqueraded(['local-1', 'remote-1'])),
      says('not for the external IP', 'client', at(EXTERNAL_IP), masqueraded(['local-1', 'remote-1'])),
      says('not for the load balancer IP', 'local-pod', at(LB_IP), masqueraded(['local-1', 'remote-1'])),
    ],
  },
  {
    title: 'internalTrafficPolicy Local of a Service reachable from outside, nobody local',
    objects: [service({ internalLocal: true, ports: [{ nodePort: NODE_PORT }] }), ...slices(['remote-1'])],
    statements: [
      says('drops at the cluster IP', 'local-pod', WEB, DROPPED),
      says('does not at the node port', 'client', nodePort(), masqueraded(['remote-1'])),
    ],
  },
  {
    title: 'internalTrafficPolicy Local, each port by itself',
    objects: [
      service({ internalLocal: true, ports: [{ name: 'http' }, { name: 'admin', port: 9000 }] }),
      ...slices(['local-1'], { name: 'a', ports: [{ name: 'http' }] }),
      ...slices(['remote-1'], { name: 'b', ports: [{ name: 'admin' }] }),
    ],
    statements: [
      says('one has a local endpoint', 'local-pod', WEB, reaches(['local-1'])),
      says('the other has none', 'local-pod', at(clusterIp(), 9000), DROPPED),
    ],
  },
];
