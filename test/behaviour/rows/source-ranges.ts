// loadBalancerSourceRanges: who may dial the load balancer's address (kube-proxy.md §2.2, §4.5, §5.4, §16 Q5, §17).

import { type ServiceSpec, service, slices, terminating, unready } from '../objects.ts';
import {
  at,
  DROPPED,
  masqueraded,
  nodePort,
  PASSES,
  REFUSED,
  reaches,
  type Scenario,
  says,
  sticks,
} from '../row.ts';
import {
  CROWD_CIDRS,
  clusterIp,
  EXTERNAL_IP,
  LB_IP,
  LOCAL_POD_CIDRS,
  NEIGHBOUR_103,
  NEIGHBOUR_104,
  NEIGHBOUR_163,
  NODE_PORT,
  PLACES,
  SECOND_LB_IP,
} from '../world.ts';
import { refusedInIpvsMode } from './documented.ts';

const WEB = at(clusterIp());
const LB = at(LB_IP);
const BOTH = ['local-1', 'remote-1'] as const;
/** The network of the client and of the node. */
const OUTSIDE = ['192.168.50.0/24', 'fd00:50::/64'];
const CLIENT_ONLY = [`${PLACES.client[4]}/32`, `${PLACES.client[6]}/128`];
const NODE_ONLY = [`${PLACES.node[4]}/32`, `${PLACES.node[6]}/128`];
const PODS = [LOCAL_POD_CIDRS[4], LOCAL_POD_CIDRS[6]];
const NOBODY = ['192.0.2.0/24', '2001:db8::/32'];
const NEIGHBOUR = NEIGHBOUR_104;

const restricted = (sourceRanges: readonly string[], spec: ServiceSpec = {}): object =>
  service({ loadBalancerIps: [LB_IP], sourceRanges, ...spec });

export const SOURCE_RANGES: readonly Scenario[] = [
  {
    title: 'source ranges that name the client',
    objects: [restricted(CLIENT_ONLY), ...slices(BOTH)],
    statements: [
      says('let it in', 'client', LB, masqueraded(BOTH)),
      says('give its neighbour no answer', 'client', LB, DROPPED, { source: NEIGHBOUR }),
      says('give a pod no answer', 'local-pod', LB, DROPPED),
      says('give a pod of another node no answer', 'remote-pod', LB, DROPPED),
      says('give the node no answer', 'node', LB, DROPPED),
      says('leave the cluster IP open to a pod', 'local-pod', WEB, reaches(BOTH)),
      says('leave the cluster IP open to the neighbour', 'client', WEB, masqueraded(BOTH), {
        source: NEIGHBOUR,
      }),
    ],
  },
  {
    title: 'source ranges that name a network',
    objects: [restricted(OUTSIDE), ...slices(BOTH)],
    statements: [
      says('let its hosts in', 'client', LB, masqueraded(BOTH)),
      says('let each of them in', 'client', LB, masqueraded(BOTH), { source: NEIGHBOUR }),
      says('let the node in, which is one', 'node', LB, masqueraded(BOTH)),
      says('give a pod no answer', 'local-pod', LB, DROPPED),
    ],
  },
  {
    title: 'source ranges that name pods',
    objects: [restricted(PODS), ...slices(BOTH)],
    statements: [
      says('let them in', 'local-pod', LB, masqueraded(BOTH)),
      says('give a pod of another node no answer', 'remote-pod', LB, DROPPED),
      says('give a client outside no answer', 'client', LB, DROPPED),
    ],
  },
  {
    title: 'several source ranges',
    objects: [restricted([...NOBODY, ...CLIENT_ONLY, ...PODS]), ...slices(BOTH)],
    statements: [
      says('let in who is in the one', 'client', LB, masqueraded(BOTH)),
      says('let in who is in the other', 'local-pod', LB, masqueraded(BOTH)),
      says('give nobody else an answer', 'remote-pod', LB, DROPPED),
    ],
  },
  {
    title: 'source ranges within each other',
    objects: [restricted([...OUTSIDE, ...CLIENT_ONLY, '192.168.50.0/25', 'fd00:50::/80']), ...slices(BOTH)],
    statements: [
      says('are as wide as the widest', 'client', LB, masqueraded(BOTH), { source: NEIGHBOUR_163 }),
      says('and no wider', 'local-pod', LB, DROPPED),
    ],
  },
  {
    title: 'source ranges that are not of whole bytes',
    objects: [restricted(['192.168.50.96/29', 'fd00:50::1:60/125']), ...slices(BOTH)],
    statements: [
      says('let in the last address within', 'client', LB, masqueraded(BOTH), { source: NEIGHBOUR_103 }),
      says('give the next one no answer', 'client', LB, DROPPED, { source: NEIGHBOUR_104 }),
    ],
  },
  {
    title: 'source ranges of a Service that is reached in every way',
    objects: [
      restricted(NOBODY, { ports: [{ nodePort: NODE_PORT }], externalIps: [EXTERNAL_IP] }),
      ...slices(BOTH),
    ],
    statements: [
      says('close the load balancer IP', 'client', LB, DROPPED),
      says('not the external IP', 'client', at(EXTERNAL_IP), masqueraded(BOTH)),
      says('not the node port', 'client', nodePort(), masqueraded(BOTH)),
      says('not the cluster IP', 'local-pod', WEB, reaches(BOTH)),
    ],
  },
  {
    title: 'source ranges and two load balancer IPs',
    objects: [restricted(CLIENT_ONLY, { loadBalancerIps: [LB_IP, SECOND_LB_IP] }), ...slices(BOTH)],
    statements: [
      says('hold for the first', 'local-pod', LB, DROPPED),
      says('hold for the second', 'local-pod', at(SECOND_LB_IP), DROPPED),
      says('let in at the first', 'client', LB, masqueraded(BOTH)),
      says('let in at the second', 'client', at(SECOND_LB_IP), masqueraded(BOTH)),
    ],
  },
  {
    title: 'source ranges of a Service of two ports',
    objects: [
      restricted(CLIENT_ONLY, { ports: [{ name: 'http' }, { name: 'admin', port: 9000 }] }),
      ...slices(BOTH, { ports: [{ name: 'http' }, { name: 'admin', port: 8081 }] }),
    ],
    statements: [
      says('hold for the first', 'local-pod', LB, DROPPED),
      says('hold for the second', 'local-pod', at(LB_IP, 9000), DROPPED),
      says('let in at the second', 'client', at(LB_IP, 9000), masqueraded(['local-1:8081', 'remote-1:8081'])),
      says('say nothing about other ports', 'local-pod', at(LB_IP, 81), PASSES, refusedInIpvsMode()),
    ],
  },
  {
    title: 'source ranges of one of two Services',
    objects: [
      restricted(NOBODY, { name: 'a', clusterIp: clusterIp(1) }),
      ...slices(['local-1'], { of: 'a' }),
      service({ name: 'b', clusterIp: clusterIp(2), loadBalancerIps: [LB_IP], ports: [{ port: 81 }] }),
      ...slices(['remote-1'], { of: 'b' }),
    ],
    statements: [
      says('hold for its port', 'client', LB, DROPPED),
      says(
        'not for the port of the other at the same address',
        'client',
        at(LB_IP, 81),
        masqueraded(['remote-1']),
      ),
    ],
  },
  {
    title: 'source ranges and no endpoints',
    objects: [restricted(CLIENT_ONLY)],
    statements: [
      says('refuse who is within', 'client', LB, REFUSED),
      says('give others no answer', 'local-pod', LB, DROPPED),
      says('give the node no answer', 'node', LB, DROPPED),
      says('leave the cluster IP refusing', 'local-pod', WEB, REFUSED),
    ],
  },
  {
    title: 'source ranges and no ready endpoints',
    objects: [restricted(CLIENT_ONLY), ...slices([unready('local-1')])],
    statements: [
      says('refuse who is within', 'client', LB, REFUSED),
      says('give others no answer', 'local-pod', LB, DROPPED),
    ],
  },
  {
    title: 'source ranges and externalTrafficPolicy Local',
    objects: [restricted(CLIENT_ONLY, { externalLocal: true }), ...slices(BOTH)],
    statements: [
      says('lead who is within to local endpoints', 'client', LB, reaches(['local-1'])),
      says('give its neighbour no answer', 'client', LB, DROPPED, { source: NEIGHBOUR }),
      says('give a pod no answer, for all that it is inside', 'local-pod', LB, DROPPED),
      says('give the node no answer, for all that it is inside', 'node', LB, DROPPED),
    ],
  },
  {
    title: 'source ranges of pods and externalTrafficPolicy Local',
    objects: [restricted([...PODS, ...NODE_ONLY], { externalLocal: true }), ...slices(BOTH)],
    statements: [
      says('lead a pod to all', 'local-pod', LB, reaches(BOTH)),
      says('lead the node to all', 'node', LB, masqueraded(BOTH)),
      says('give a client no answer', 'client', LB, DROPPED),
    ],
  },
  {
    title: 'source ranges and externalTrafficPolicy Local, nobody local',
    objects: [restricted(OUTSIDE, { externalLocal: true }), ...slices([terminating('remote-1')])],
    statements: [
      says('drop who is within as ever', 'client', LB, DROPPED),
      says('let the node in', 'node', LB, masqueraded(['remote-1'])),
      says('give a pod no answer', 'local-pod', LB, DROPPED),
    ],
  },
  {
    title: 'source ranges that are everything',
    objects: [restricted([...CLIENT_ONLY, '0.0.0.0/0', '::/0']), ...slices(BOTH)],
    statements: [
      says('let a pod in', 'local-pod', LB, masqueraded(BOTH)),
      says('let a client in', 'client', LB, masqueraded(BOTH)),
      says('let the node in', 'node', LB, masqueraded(BOTH)),
    ],
  },
  {
    title: 'source ranges of IPv4 only',
    objects: [restricted(NOBODY.slice(0, 1)), ...slices(BOTH)],
    statements: [
      says('hold for IPv4', 'client', LB, DROPPED, { families: [4] }),
      says('leave IPv6 open', 'client', LB, masqueraded(BOTH), { families: [6] }),
    ],
  },
  {
    title: 'source ranges of IPv6 only',
    objects: [restricted(NOBODY.slice(1)), ...slices(BOTH)],
    statements: [
      says('hold for IPv6', 'client', LB, DROPPED, { families: [6] }),
      says('leave IPv4 open', 'client', LB, masqueraded(BOTH), { families: [4] }),
    ],
  },
  {
    title: 'source ranges with spaces around them',
    objects: [restricted(CLIENT_ONLY.map((range) => ` ${range} `)), ...slices(BOTH)],
    statements: [
      says('let in who is within', 'client', LB, masqueraded(BOTH)),
      says('give others no answer', 'local-pod', LB, DROPPED),
    ],
  },
  {
    title: 'source ranges and a load balancer that makes its IP an address of the node',
    objects: [restricted(NODE_ONLY), ...slices(BOTH)],
    statements: [
      says('the node dials it from there and gets in, being within', 'node', LB, masqueraded(BOTH), {
        source: LB_IP,
      }),
      says('a client gets no answer', 'client', LB, DROPPED),
    ],
  },
  {
    title: 'source ranges without the node and a load balancer that makes its IP an address of the node',
    objects: [restricted(CLIENT_ONLY), ...slices(BOTH)],
    statements: [says('the node dials it from there in vain', 'node', LB, DROPPED, { source: LB_IP })],
  },
  {
    title: 'source ranges and an address that is external IP and ingress IP at once',
    objects: [restricted(CLIENT_ONLY, { externalIps: [LB_IP] }), ...slices(BOTH)],
    statements: [
      says('hold for it', 'local-pod', LB, DROPPED),
      says('let in who is within', 'client', LB, masqueraded(BOTH)),
    ],
  },
  {
    title: 'source ranges and a load balancer that stands before the nodes',
    objects: [restricted(NOBODY, { ipMode: 'Proxy', ports: [{ nodePort: NODE_PORT }] }), ...slices(BOTH)],
    statements: [
      says('are for it to keep', 'local-pod', LB, PASSES),
      says('do not close the node port', 'client', nodePort(), masqueraded(BOTH)),
    ],
  },
  {
    title: 'source ranges and session affinity',
    objects: [restricted(CROWD_CIDRS, { affinitySeconds: 10_800 }), ...slices(BOTH)],
    statements: [
      says('who is within sticks', 'client', LB, sticks(BOTH, 'node')),
      says('others get no answer', 'local-pod', LB, DROPPED),
    ],
  },
  {
    title: 'source ranges that change',
    objects: [restricted(CLIENT_ONLY), ...slices(BOTH)],
    statements: [
      says('let in who is within', 'client', LB, masqueraded(BOTH)),
      says('give others no answer', 'local-pod', LB, DROPPED),
    ],
    sequels: [
      {
        when: 'to another',
        objects: [restricted(PODS), ...slices(BOTH)],
        statements: [
          says('let in who is within now', 'local-pod', LB, masqueraded(BOTH)),
          says('give who was within no answer', 'client', LB, DROPPED),
        ],
      },
      {
        when: 'to a wider one',
        objects: [restricted(['10.0.0.0/8', 'fd00::/16']), ...slices(BOTH)],
        statements: [says('let in who is within now', 'remote-pod', LB, masqueraded(BOTH))],
      },
      {
        when: 'to a narrower one',
        objects: [restricted(PODS), ...slices(BOTH)],
        statements: [
          says('let in who is still within', 'local-pod', LB, masqueraded(BOTH)),
          says('give who was within no answer', 'remote-pod', LB, DROPPED),
        ],
      },
      {
        when: 'to none',
        objects: [restricted([]), ...slices(BOTH)],
        statements: [says('let everybody in', 'client', LB, masqueraded(BOTH))],
      },
    ],
  },
];
