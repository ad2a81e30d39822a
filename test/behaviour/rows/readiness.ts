// Which endpoints are used: ready ones, or where there is none those that end but still serve (kube-proxy.md §2.3, §3).

import { type EndpointSpec, ended, service, slices, terminating, unready } from '../objects.ts';
import { at, masqueraded, nodePort, REFUSED, reaches, type Scenario, says } from '../row.ts';
import { clusterIp, LB_IP, NODE_PORT, type Place } from '../world.ts';

const WEB = at(clusterIp());
const SERVICE = service({ ports: [{ nodePort: NODE_PORT }], loadBalancerIps: [LB_IP] });

const scenario = (
  title: string,
  endpoints: readonly (Place | EndpointSpec)[],
  ...statements: Scenario['statements']
): Scenario => ({ title, objects: [SERVICE, ...slices(endpoints)], statements });

export const READINESS: readonly Scenario[] = [
  scenario(
    'endpoints of which some are ready',
    ['local-1', unready('local-2'), 'remote-1', terminating('local-3'), ended('remote-2')],
    says('only these are reached', 'local-pod', WEB, reaches(['local-1', 'remote-1'])),
    says('at the node port, too', 'client', nodePort(), masqueraded(['local-1', 'remote-1'])),
    says('at the load balancer IP, too', 'client', at(LB_IP), masqueraded(['local-1', 'remote-1'])),
  ),
  scenario(
    'endpoints whose conditions are unset',
    [{ at: 'local-1' }, { at: 'remote-1', ready: true }],
    says('count as ready', 'local-pod', WEB, reaches(['local-1', 'remote-1'])),
  ),
  scenario(
    'endpoints none of which is ready, but some serve while they end',
    [unready('local-1'), terminating('local-2'), terminating('remote-1'), ended('remote-2')],
    says('these are reached, here and elsewhere', 'local-pod', WEB, reaches(['local-2', 'remote-1'])),
    says('at the node port, too', 'client', nodePort(), masqueraded(['local-2', 'remote-1'])),
    says('at the load balancer IP, too', 'client', at(LB_IP), masqueraded(['local-2', 'remote-1'])),
  ),
  scenario(
    'endpoints that all serve while they end elsewhere',
    [terminating('remote-1'), terminating('remote-2')],
    says('are reached', 'local-pod', WEB, reaches(['remote-1', 'remote-2'])),
    says('are reached by the node', 'node', WEB, masqueraded(['remote-1', 'remote-2'])),
  ),
  scenario(
    'endpoints that are alive but not ready',
    [unready('local-1'), unready('remote-1')],
    says('are refused to a pod', 'local-pod', WEB, REFUSED),
    says('are refused to the node', 'node', WEB, REFUSED),
    says('are refused at the node port', 'client', nodePort(), REFUSED),
    says('are refused at the load balancer IP', 'client', at(LB_IP), REFUSED),
  ),
  scenario(
    'endpoints that serve but are neither ready nor ending',
    [{ at: 'local-1', ready: false, serving: true, terminating: false }],
    says('are never used', 'local-pod', WEB, REFUSED),
  ),
  scenario(
    'endpoints that end and serve no more',
    [ended('local-1'), ended('remote-1')],
    says('are refused', 'local-pod', WEB, REFUSED),
    says('are refused at the node port', 'client', nodePort(), REFUSED),
  ),
  scenario(
    'an ending endpoint of which the slice does not say that it serves',
    [{ at: 'local-1', ready: false, terminating: true }],
    says('counts as serving', 'local-pod', WEB, reaches(['local-1'])),
  ),
  {
    title: 'publishNotReadyAddresses',
    objects: [
      service({ spec: { publishNotReadyAddresses: true } }),
      ...slices(['local-1', { at: 'local-2', ready: true, serving: false }, unready('remote-1')]),
    ],
    statements: [
      says(
        'is what the slices make of it: marked ready is ready, whatever else',
        'local-pod',
        WEB,
        reaches(['local-1', 'local-2']),
      ),
    ],
  },
  scenario(
    'an ending endpoint that is marked ready',
    [{ at: 'local-1', ready: true, terminating: true }, 'local-2'],
    says('is ready', 'local-pod', WEB, reaches(['local-1', 'local-2'])),
  ),
  ...[['a', 'b'] as const, ['b', 'a'] as const].map(
    ([ending, fresh]): Scenario => ({
      title: `a pod address used anew while its former owner ends (slice ${fresh} has the new one)`,
      objects: [
        service(),
        ...slices([terminating('local-1')], { name: ending }),
        ...slices(['local-1', 'local-2'], { name: fresh }),
      ],
      statements: [says('is ready, once', 'local-pod', WEB, reaches(['local-1', 'local-2']))],
    }),
  ),
  {
    title: 'an address that ends in two slices',
    objects: [
      service(),
      ...slices([ended('local-1')], { name: 'a' }),
      ...slices([terminating('local-2'), terminating('local-1')], { name: 'b' }),
      ...slices([terminating('local-2')], { name: 'c' }),
    ],
    statements: [says('each is reached once', 'local-pod', WEB, reaches(['local-1', 'local-2']))],
  },
  {
    title: 'a port whose endpoints are ready while those of the other are not',
    objects: [
      service({ ports: [{ name: 'http' }, { name: 'admin', port: 9000 }] }),
      ...slices(['local-1'], { name: 'a', ports: [{ name: 'http' }] }),
      ...slices([unready('local-2')], { name: 'b', ports: [{ name: 'admin' }] }),
      ...slices([terminating('local-3')], { name: 'c', ports: [{ name: 'admin' }] }),
    ],
    statements: [
      says('each port is judged by itself: ready', 'local-pod', WEB, reaches(['local-1'])),
      says('each port is judged by itself: ending', 'local-pod', at(clusterIp(), 9000), reaches(['local-3'])),
    ],
  },
];
