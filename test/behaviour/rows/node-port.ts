// Node ports: on which addresses of the node they are served (kube-proxy.md §1.2 --nodeport-addresses, §2.4, §5.4, §17).

import { node, service, slices } from '../objects.ts';
import {
  at,
  CLUSTER_CIDR_FLAG,
  masqueraded,
  nodePort,
  PASSES,
  REFUSED,
  reaches,
  type Scenario,
  says,
} from '../row.ts';
import {
  clusterIp,
  LOOPBACK,
  NODE_PORT,
  PLACES,
  POD_GATEWAY,
  SECOND_ADDRESS,
  TO_REMOTE_NODE,
} from '../world.ts';
import { servedOnLoopbackInIptablesMode, servedUnlessToldOtherwise } from './documented.ts';

const ENDPOINTS = ['local-1', 'local-2', 'remote-1'] as const;
const WEB = service({ ports: [{ nodePort: NODE_PORT }] });

export const NODE_PORTS: readonly Scenario[] = [
  {
    title: 'a node port',
    objects: [WEB, ...slices(ENDPOINTS)],
    statements: [
      says(
        'a client outside reaches all endpoints, masqueraded',
        'client',
        nodePort(),
        masqueraded(ENDPOINTS),
      ),
      says('a pod is masqueraded', 'local-pod', nodePort(), masqueraded(ENDPOINTS)),
      says('a pod of another node is masqueraded', 'remote-pod', nodePort(), masqueraded(ENDPOINTS)),
      says('the node is masqueraded', 'node', nodePort(), masqueraded(ENDPOINTS)),
      says(
        "is not served on the node's second address",
        'client',
        nodePort(SECOND_ADDRESS),
        PASSES,
        servedUnlessToldOtherwise(masqueraded(ENDPOINTS)),
      ),
      says(
        "is not served on the pods' gateway",
        'local-pod',
        nodePort(POD_GATEWAY),
        PASSES,
        servedUnlessToldOtherwise(masqueraded(ENDPOINTS)),
      ),
      says(
        'is not served on another link',
        'remote-pod',
        nodePort(TO_REMOTE_NODE),
        PASSES,
        servedUnlessToldOtherwise(masqueraded(ENDPOINTS)),
      ),
      says(
        'is not served on loopback',
        'node',
        nodePort(LOOPBACK),
        PASSES,
        servedOnLoopbackInIptablesMode(masqueraded(ENDPOINTS)),
      ),
      says(
        'is not served on any loopback address',
        'node',
        nodePort({ 4: '127.5.6.7', 6: '::1' }),
        PASSES,
        servedOnLoopbackInIptablesMode(masqueraded(ENDPOINTS)),
      ),
      says('is none of ours at an address outside', 'local-pod', nodePort(PLACES.client), PASSES),
      says('is none of ours at an address outside, from the node', 'node', nodePort(PLACES.client), PASSES),
      says('is none of ours at a pod', 'local-pod', nodePort(PLACES['local-1']), PASSES),
      says('is no port of the cluster IP', 'local-pod', at(clusterIp(), NODE_PORT), REFUSED),
      says('the Service port is no port of the node', 'client', at(PLACES.node), PASSES),
      says('the cluster IP goes on', 'local-pod', at(clusterIp()), reaches(ENDPOINTS)),
    ],
  },
  {
    title: 'a node port without endpoints',
    objects: [WEB],
    statements: [
      says('refuses a client', 'client', nodePort(), REFUSED),
      says('refuses a pod', 'local-pod', nodePort(), REFUSED),
      says('refuses the node', 'node', nodePort(), REFUSED),
      says(
        'swallows nothing on another address',
        'client',
        nodePort(SECOND_ADDRESS),
        PASSES,
        servedUnlessToldOtherwise(REFUSED),
      ),
      says(
        'swallows nothing on loopback',
        'node',
        nodePort(LOOPBACK),
        PASSES,
        servedOnLoopbackInIptablesMode(REFUSED),
      ),
    ],
  },
  ...[
    { endpoints: ENDPOINTS, rest: '', served: masqueraded(ENDPOINTS) },
    { endpoints: [], rest: ' whose Service has no endpoints', served: REFUSED },
  ].map(
    ({ endpoints, rest, served }): Scenario => ({
      title: `what listens on the node beside a node port${rest}`,
      objects: [WEB, ...slices(endpoints)],
      statements: [
        says('answers a client at another port', 'client', at(PLACES.node, 8080), PASSES),
        says('answers a pod at another port', 'local-pod', at(PLACES.node, 8080), PASSES),
        says('answers the node at another port', 'node', at(PLACES.node, 8080), PASSES),
        says(
          'answers a client at that port of an address without node ports',
          'client',
          nodePort(SECOND_ADDRESS),
          PASSES,
          servedUnlessToldOtherwise(served),
        ),
        says(
          'answers a pod at that port of an address without node ports',
          'local-pod',
          nodePort(POD_GATEWAY),
          PASSES,
          servedUnlessToldOtherwise(served),
        ),
        says(
          'answers the node at that port of loopback',
          'node',
          nodePort(LOOPBACK),
          PASSES,
          servedOnLoopbackInIptablesMode(served),
        ),
        says('answers the node at any port of loopback', 'node', at(LOOPBACK, 8080), PASSES),
      ],
    }),
  ),
  {
    title: 'a node port that changes its number',
    objects: [WEB, ...slices(['local-1'])],
    statements: [says('is reached', 'client', nodePort(), masqueraded(['local-1']))],
    sequels: [
      {
        when: 'afterwards',
        objects: [service({ ports: [{ nodePort: NODE_PORT + 7 }] }), ...slices(['local-1'])],
        statements: [
          says('the new one is reached', 'client', at(PLACES.node, NODE_PORT + 7), masqueraded(['local-1'])),
          says('the old one is left to the node', 'client', nodePort(), PASSES),
        ],
      },
    ],
  },
  {
    title: 'the primary address of a Node that changes',
    objects: [node(), WEB, ...slices(['local-1'])],
    statements: [says('serves node ports', 'client', nodePort(), masqueraded(['local-1']))],
    sequels: [
      {
        when: 'afterwards',
        objects: [node({ addresses: [SECOND_ADDRESS, PLACES.node] }), WEB, ...slices(['local-1'])],
        statements: [
          says('the new one serves node ports', 'client', nodePort(SECOND_ADDRESS), masqueraded(['local-1'])),
          says(
            'the old one does not',
            'client',
            nodePort(),
            PASSES,
            servedUnlessToldOtherwise(masqueraded(['local-1'])),
          ),
        ],
      },
    ],
  },
  {
    title: 'node ports of several Service ports',
    objects: [
      service({
        ports: [
          { name: 'http', nodePort: NODE_PORT },
          { name: 'admin', port: 9000, nodePort: NODE_PORT + 1 },
        ],
      }),
      ...slices(['local-1'], { ports: [{ name: 'http' }, { name: 'admin', port: 8081 }] }),
    ],
    statements: [
      says('the first leads to its target port', 'client', nodePort(), masqueraded(['local-1'])),
      says('the second to its own', 'client', at(PLACES.node, NODE_PORT + 1), masqueraded(['local-1:8081'])),
      says('a number between Services is free', 'client', at(PLACES.node, NODE_PORT + 2), PASSES),
    ],
  },
  {
    title: 'one node port number for two Services, by protocol',
    objects: [
      service({ name: 'a', clusterIp: clusterIp(1), ports: [{ nodePort: NODE_PORT, protocols: ['TCP'] }] }),
      ...slices(['local-1'], { of: 'a' }),
      service({
        name: 'b',
        clusterIp: clusterIp(2),
        ports: [{ nodePort: NODE_PORT, protocols: ['UDP', 'SCTP'] }],
      }),
      ...slices(['local-2'], { of: 'b' }),
    ],
    statements: [
      says('TCP is the first one', 'client', nodePort(), masqueraded(['local-1']), { protocols: ['TCP'] }),
      says('the others the second', 'client', nodePort(), masqueraded(['local-2']), {
        protocols: ['UDP', 'SCTP'],
      }),
    ],
  },
  {
    title: '--nodeport-addresses=primary',
    flags: [CLUSTER_CIDR_FLAG, '--nodeport-addresses=primary'],
    objects: [WEB, ...slices(ENDPOINTS)],
    statements: [
      says('serves the primary address', 'client', nodePort(), masqueraded(ENDPOINTS)),
      says('serves it for the node', 'node', nodePort(), masqueraded(ENDPOINTS)),
      says('does not serve the second address', 'client', nodePort(SECOND_ADDRESS), PASSES),
      says("does not serve the pods' gateway", 'local-pod', nodePort(POD_GATEWAY), PASSES),
      says('does not serve loopback', 'node', nodePort(LOOPBACK), PASSES),
    ],
    sequels: [
      {
        when: 'another one being primary',
        objects: [node({ addresses: [SECOND_ADDRESS, PLACES.node] }), WEB, ...slices(ENDPOINTS)],
        statements: [
          says('serves that one', 'client', nodePort(SECOND_ADDRESS), masqueraded(ENDPOINTS)),
          says('does not serve the other any more', 'client', nodePort(), PASSES),
        ],
      },
      {
        when: 'no endpoints being left',
        objects: [node({ addresses: [SECOND_ADDRESS, PLACES.node] }), WEB],
        statements: [
          says('refuses there', 'client', nodePort(SECOND_ADDRESS), REFUSED),
          says('swallows nothing elsewhere', 'client', nodePort(), PASSES),
          says('swallows nothing on loopback', 'node', nodePort(LOOPBACK), PASSES),
        ],
      },
    ],
  },
  {
    title: '--iptables-localhost-nodeports=false',
    flags: [CLUSTER_CIDR_FLAG, '--nodeport-addresses=0.0.0.0/0,::/0', '--iptables-localhost-nodeports=false'],
    objects: [WEB, ...slices(ENDPOINTS)],
    statements: [
      says('leaves loopback alone', 'node', nodePort(LOOPBACK), PASSES),
      says('leaves any loopback address alone', 'node', nodePort({ 4: '127.5.6.7', 6: '::1' }), PASSES),
      says('changes nothing elsewhere', 'client', nodePort(SECOND_ADDRESS), masqueraded(ENDPOINTS)),
    ],
  },
  {
    title: '--nodeport-addresses with a network of the node',
    flags: [CLUSTER_CIDR_FLAG, '--nodeport-addresses=192.168.50.0/24,fd00:50::/64'],
    objects: [WEB, ...slices(ENDPOINTS)],
    statements: [
      says('serves its primary address', 'client', nodePort(), masqueraded(ENDPOINTS)),
      says('serves its other address there', 'client', nodePort(SECOND_ADDRESS), masqueraded(ENDPOINTS)),
      says('serves no address elsewhere', 'local-pod', nodePort(POD_GATEWAY), PASSES),
      says('leaves other hosts of the network alone', 'local-pod', nodePort(PLACES.client), PASSES),
    ],
  },
  {
    title: '--nodeport-addresses with everything',
    flags: [CLUSTER_CIDR_FLAG, '--nodeport-addresses=0.0.0.0/0,::/0'],
    objects: [WEB, ...slices(ENDPOINTS)],
    statements: [
      says('serves the primary address', 'client', nodePort(), masqueraded(ENDPOINTS)),
      says('serves the second address', 'client', nodePort(SECOND_ADDRESS), masqueraded(ENDPOINTS)),
      says("serves the pods' gateway", 'local-pod', nodePort(POD_GATEWAY), masqueraded(ENDPOINTS)),
      says(
        'does not serve loopback',
        'node',
        nodePort(LOOPBACK),
        PASSES,
        servedOnLoopbackInIptablesMode(masqueraded(ENDPOINTS)),
      ),
      says('leaves addresses of others alone', 'local-pod', nodePort(PLACES.client), PASSES),
      says('leaves pods alone', 'client', nodePort(PLACES['local-1']), PASSES),
      says('a cluster IP is no address of the node', 'local-pod', at(clusterIp(), NODE_PORT), REFUSED),
    ],
  },
  {
    title: '--nodeport-addresses with loopback',
    flags: [CLUSTER_CIDR_FLAG, '--nodeport-addresses=127.0.0.0/8,::1/128'],
    objects: [WEB, ...slices(ENDPOINTS)],
    statements: [
      says(
        'does not serve loopback all the same',
        'node',
        nodePort(LOOPBACK),
        PASSES,
        servedOnLoopbackInIptablesMode(masqueraded(ENDPOINTS)),
      ),
      says('serves no other address', 'client', nodePort(), PASSES),
    ],
  },
  {
    title: '--nodeport-addresses of one family',
    flags: [CLUSTER_CIDR_FLAG, '--nodeport-addresses=192.168.50.0/24'],
    objects: [WEB, ...slices(ENDPOINTS)],
    statements: [
      says('serves that family', 'client', nodePort(), masqueraded(ENDPOINTS), { families: [4] }),
      says('serves nothing of the other', 'client', nodePort(), PASSES, { families: [6] }),
    ],
  },
  {
    title: 'the primary addresses of a Node',
    objects: [node({ addresses: [SECOND_ADDRESS, PLACES.node] }), WEB, ...slices(ENDPOINTS)],
    statements: [
      says('are the first of each family', 'client', nodePort(SECOND_ADDRESS), masqueraded(ENDPOINTS)),
      says('and no others', 'client', nodePort(), PASSES, servedUnlessToldOtherwise(masqueraded(ENDPOINTS))),
    ],
  },
  {
    title: 'an endpoint on the network of the node',
    objects: [WEB, ...slices(['node'])],
    statements: [
      says(
        'keeps the address of a client outside: it is not sent on',
        'client',
        nodePort(),
        reaches(['node']),
      ),
      says('keeps the address of a pod at the cluster IP', 'local-pod', at(clusterIp()), reaches(['node'])),
      says('keeps the address of a pod at the node port', 'local-pod', nodePort(), reaches(['node'])),
      says('is reached by the node itself', 'node', at(clusterIp()), masqueraded(['node'])),
      says('is reached by the node itself at the node port', 'node', nodePort(), masqueraded(['node'])),
    ],
  },
];
