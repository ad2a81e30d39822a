// Topology hints: who prefers whom, and when hints are not followed (kube-proxy.md §3). This node is in zone-a.

import {
  type EndpointSpec,
  inZones,
  node,
  onNodes,
  service,
  slices,
  terminating,
  unready,
} from '../objects.ts';
import { at, DROPPED, masqueraded, nodePort, reaches, type Scenario, says } from '../row.ts';
import { clusterIp, NODE_NAME, NODE_PORT, type Place, REMOTE_NODE_NAME, ZONE } from '../world.ts';

const WEB = at(clusterIp());
const OTHER = 'zone-b';
const SERVICE = service({ ports: [{ nodePort: NODE_PORT }] });
const here = (place: Place): EndpointSpec => inZones(place, ZONE);
const there = (place: Place): EndpointSpec => inZones(place, OTHER);

const scenario = (
  title: string,
  endpoints: readonly (Place | EndpointSpec)[],
  ...statements: Scenario['statements']
): Scenario => ({ title, objects: [SERVICE, ...slices(endpoints)], statements });

export const TOPOLOGY: readonly Scenario[] = [
  scenario(
    'endpoints that all have zone hints, some for this zone',
    [here('local-1'), here('remote-1'), there('local-2'), there('remote-2')],
    says('a pod reaches those', 'local-pod', WEB, reaches(['local-1', 'remote-1'])),
    says('the node reaches those', 'node', WEB, masqueraded(['local-1', 'remote-1'])),
    says('a client outside reaches those', 'client', nodePort(), masqueraded(['local-1', 'remote-1'])),
  ),
  scenario(
    'endpoints that all have zone hints, none for this zone',
    [there('local-1'), there('remote-1')],
    says('all are reached', 'local-pod', WEB, reaches(['local-1', 'remote-1'])),
  ),
  scenario(
    'an endpoint without zone hints among others',
    [here('local-1'), there('remote-1'), 'local-2'],
    says('all are reached', 'local-pod', WEB, reaches(['local-1', 'remote-1', 'local-2'])),
  ),
  scenario(
    'an endpoint with hints for several zones',
    [inZones('remote-1', OTHER, ZONE), there('local-1')],
    says('is reached from each of them', 'local-pod', WEB, reaches(['remote-1'])),
  ),
  scenario(
    'an endpoint that is not ready and has no hints',
    [here('local-1'), there('remote-1'), unready('local-2')],
    says('does not keep others from being preferred', 'local-pod', WEB, reaches(['local-1'])),
  ),
  scenario(
    'an endpoint that ends and has no hints',
    [here('local-1'), there('remote-1'), terminating('local-2')],
    says('does not keep others from being preferred', 'local-pod', WEB, reaches(['local-1'])),
  ),
  scenario(
    'endpoints of this zone that are not ready',
    [{ ...unready('local-1'), zoneHints: [ZONE] }, there('remote-1'), there('local-2')],
    says('leave those of other zones', 'local-pod', WEB, reaches(['remote-1', 'local-2'])),
  ),
  scenario(
    'endpoints that serve while they end, with hints',
    [
      { ...terminating('local-1'), zoneHints: [ZONE] },
      { ...terminating('remote-1'), zoneHints: [OTHER] },
    ],
    says('are reached whatever their zone', 'local-pod', WEB, reaches(['local-1', 'remote-1'])),
  ),
  {
    title: 'zone hints on a node without a zone',
    objects: [node({ zone: null }), SERVICE, ...slices([here('local-1'), there('remote-1')])],
    statements: [says('are not followed', 'local-pod', WEB, reaches(['local-1', 'remote-1']))],
  },
  {
    title: 'zone hints on a node of the other zone',
    objects: [node({ zone: OTHER }), SERVICE, ...slices([here('local-1'), there('remote-1')])],
    statements: [says('are followed there', 'local-pod', WEB, reaches(['remote-1']))],
  },
  scenario(
    'endpoints that all have node hints, some for this node',
    [onNodes('local-1', NODE_NAME), onNodes('remote-1', REMOTE_NODE_NAME)],
    says('a pod reaches those', 'local-pod', WEB, reaches(['local-1'])),
    says('a client outside reaches those', 'client', nodePort(), masqueraded(['local-1'])),
  ),
  scenario(
    'a node hint for an endpoint elsewhere',
    [onNodes('remote-1', NODE_NAME), onNodes('local-1', REMOTE_NODE_NAME)],
    says('the hint decides, not the place', 'local-pod', WEB, reaches(['remote-1'])),
  ),
  scenario(
    'endpoints that all have node hints, none for this node',
    [onNodes('local-1', REMOTE_NODE_NAME), onNodes('remote-1', REMOTE_NODE_NAME)],
    says('all are reached', 'local-pod', WEB, reaches(['local-1', 'remote-1'])),
  ),
  scenario(
    'node hints and zone hints, both for some endpoints here',
    [
      { at: 'local-1', nodeHints: [NODE_NAME], zoneHints: [ZONE] },
      { at: 'remote-1', nodeHints: [REMOTE_NODE_NAME], zoneHints: [ZONE] },
      { at: 'remote-2', nodeHints: [REMOTE_NODE_NAME], zoneHints: [OTHER] },
    ],
    says('the node comes before the zone', 'local-pod', WEB, reaches(['local-1'])),
  ),
  scenario(
    'node hints for other nodes, zone hints for this zone',
    [
      { at: 'remote-1', nodeHints: [REMOTE_NODE_NAME], zoneHints: [ZONE] },
      { at: 'remote-2', nodeHints: [REMOTE_NODE_NAME], zoneHints: [OTHER] },
    ],
    says('the zone is preferred', 'local-pod', WEB, reaches(['remote-1'])),
  ),
  scenario(
    'an endpoint without node hints among others, all with zone hints',
    [{ at: 'local-1', nodeHints: [NODE_NAME], zoneHints: [ZONE] }, here('remote-1'), there('remote-2')],
    says('the zone is preferred', 'local-pod', WEB, reaches(['local-1', 'remote-1'])),
  ),
  scenario(
    'an endpoint without node hints among others, none with zone hints',
    [onNodes('local-1', NODE_NAME), 'remote-1'],
    says('all are reached', 'local-pod', WEB, reaches(['local-1', 'remote-1'])),
  ),
  {
    title: 'trafficDistribution and the topology annotation',
    objects: [
      service({
        spec: { trafficDistribution: 'PreferClose' },
        annotations: { 'service.kubernetes.io/topology-mode': 'Auto' },
      }),
      ...slices(['local-1', 'remote-1']),
    ],
    statements: [
      says('are for those who write hints, not for us', 'local-pod', WEB, reaches(['local-1', 'remote-1'])),
    ],
  },
  {
    title: 'zone hints and internalTrafficPolicy Local',
    objects: [service({ internalLocal: true }), ...slices([there('local-1'), here('remote-1')])],
    statements: [says('local endpoints need no hint', 'local-pod', WEB, reaches(['local-1']))],
  },
  {
    title: 'zone hints and externalTrafficPolicy Local',
    objects: [
      service({ ports: [{ nodePort: NODE_PORT }], externalLocal: true }),
      ...slices([there('local-1'), here('remote-1'), there('remote-2')]),
    ],
    statements: [
      says(
        'a client outside reaches local endpoints, without a hint',
        'client',
        nodePort(),
        reaches(['local-1']),
      ),
      says('a pod reaches those of the zone', 'local-pod', nodePort(), reaches(['remote-1'])),
      says('the node reaches those of the zone', 'node', nodePort(), masqueraded(['remote-1'])),
      says('the cluster IP leads to those of the zone', 'local-pod', WEB, reaches(['remote-1'])),
    ],
  },
  {
    title: 'zone hints and externalTrafficPolicy Local, nobody local',
    objects: [
      service({ ports: [{ nodePort: NODE_PORT }], externalLocal: true }),
      ...slices([here('remote-1'), there('remote-2')]),
    ],
    statements: [
      says('a client outside is dropped', 'client', nodePort(), DROPPED),
      says('a pod reaches those of the zone', 'local-pod', nodePort(), reaches(['remote-1'])),
    ],
  },
];
