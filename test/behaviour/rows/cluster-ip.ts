// Cluster IPs: what is behind them, and what is refused (kube-proxy.md §2.2, §2.3, §3, §17).

import { service, slices } from '../objects.ts';
import { at, masqueraded, nodePort, PASSES, REFUSED, reaches, type Scenario, says } from '../row.ts';
import { clusterIp, EXTERNAL_IP, NODE_PORT, PLACES } from '../world.ts';

const WEB = at(clusterIp());
const THREE = ['local-1', 'local-2', 'remote-1'] as const;

export const CLUSTER_IP: readonly Scenario[] = [
  {
    title: 'a Service with endpoints here and elsewhere',
    objects: [service(), ...slices(THREE)],
    statements: [
      says('a pod reaches all of them and keeps its address', 'local-pod', WEB, reaches(THREE)),
      says('a pod of another node does, too', 'remote-pod', WEB, reaches(THREE)),
      says('a client outside of the cluster is masqueraded', 'client', WEB, masqueraded(THREE)),
      says('the node itself is masqueraded', 'node', WEB, masqueraded(THREE)),
      says('a pod is refused at an unused port', 'local-pod', at(clusterIp(), 81), REFUSED),
      says('a client outside is refused at an unused port', 'client', at(clusterIp(), 81), REFUSED),
      says('the node is refused at an unused port', 'node', at(clusterIp(), 81), REFUSED),
      says('the number of the target port is nothing to dial', 'local-pod', at(clusterIp(), 8080), REFUSED),
      says('an address beside it is left alone', 'local-pod', at(clusterIp(99)), PASSES),
      says('an address beside it is left alone by the node', 'node', at(clusterIp(99)), PASSES),
      says('a pod that is dialled directly is left alone', 'local-pod', at(PLACES['local-1'], 8080), PASSES),
    ],
  },
  {
    title: 'a Service without EndpointSlices',
    objects: [service()],
    statements: [
      says('refuses a pod', 'local-pod', WEB, REFUSED),
      says('refuses a pod of another node', 'remote-pod', WEB, REFUSED),
      says('refuses a client outside', 'client', WEB, REFUSED),
      says('refuses the node', 'node', WEB, REFUSED),
      says('refuses at an unused port', 'local-pod', at(clusterIp(), 81), REFUSED),
    ],
  },
  {
    title: 'a Service whose EndpointSlices are empty',
    objects: [service(), ...slices([])],
    statements: [
      says('refuses a pod', 'local-pod', WEB, REFUSED),
      says('refuses the node', 'node', WEB, REFUSED),
    ],
  },
  {
    title: 'a Service of several ports',
    objects: [
      service({ ports: [{ name: 'http' }, { name: 'admin', port: 9000 }] }),
      ...slices(['local-1', 'local-2'], {
        ports: [{ name: 'http' }, { name: 'admin', port: 8081 }],
      }),
    ],
    statements: [
      says('the first port reaches its own target port', 'local-pod', WEB, reaches(['local-1', 'local-2'])),
      says(
        'the second port reaches its own target port',
        'local-pod',
        at(clusterIp(), 9000),
        reaches(['local-1:8081', 'local-2:8081']),
      ),
      says('any other port is refused', 'local-pod', at(clusterIp(), 81), REFUSED),
    ],
  },
  {
    title: 'a Service of which only one port has endpoints',
    objects: [
      service({ ports: [{ name: 'http' }, { name: 'admin', port: 9000 }] }),
      ...slices(['local-1'], { ports: [{ name: 'http' }] }),
    ],
    statements: [
      says('that port reaches them', 'local-pod', WEB, reaches(['local-1'])),
      says('the other port is refused', 'local-pod', at(clusterIp(), 9000), REFUSED),
    ],
  },
  {
    title: 'a port name that stands for different numbers',
    objects: [
      service(),
      ...slices(['local-1'], { name: 'a' }),
      ...slices(['local-2', 'remote-1'], { name: 'b', ports: [{ port: 8081 }] }),
    ],
    statements: [
      says(
        'each endpoint is reached at the number of its slice',
        'local-pod',
        WEB,
        reaches(['local-1', 'local-2:8081', 'remote-1:8081']),
      ),
    ],
  },
  {
    title: 'endpoints in several EndpointSlices',
    objects: [
      service(),
      ...slices(['local-1', 'local-2'], { name: 'a' }),
      ...slices(['local-2', 'remote-1'], { name: 'b' }),
      ...slices([], { name: 'c' }),
    ],
    statements: [
      says('are one set, each in it once', 'local-pod', WEB, reaches(THREE)),
      says('so they are for a client outside', 'client', WEB, masqueraded(THREE)),
    ],
  },
  {
    title: 'one endpoint address with two numbers',
    objects: [
      service(),
      ...slices(['local-1'], { name: 'a' }),
      ...slices(['local-1'], { name: 'b', ports: [{ port: 8081 }] }),
    ],
    statements: [says('is two endpoints', 'local-pod', WEB, reaches(['local-1', 'local-1:8081']))],
  },
  {
    title: 'a Service offered over one protocol only',
    objects: [service({ ports: [{ protocols: ['TCP'] }] }), ...slices(['local-1'])],
    statements: [
      says('is reached over it', 'local-pod', WEB, reaches(['local-1']), { protocols: ['TCP'] }),
      says('refuses the same port over another protocol', 'local-pod', WEB, REFUSED, {
        protocols: ['UDP', 'SCTP'],
      }),
    ],
  },
  {
    title: 'a port number that is two Service ports, by protocol',
    objects: [
      service({
        ports: [
          { name: 'a', protocols: ['TCP'] },
          { name: 'b', protocols: ['UDP', 'SCTP'] },
        ],
      }),
      ...slices(['local-1'], { name: 'a', ports: [{ name: 'a' }] }),
      ...slices(['local-2'], { name: 'b', ports: [{ name: 'b', port: 8081 }] }),
    ],
    statements: [
      says('one protocol reaches the endpoints of its port', 'local-pod', WEB, reaches(['local-1']), {
        protocols: ['TCP'],
      }),
      says('the others those of theirs', 'local-pod', WEB, reaches(['local-2:8081']), {
        protocols: ['UDP', 'SCTP'],
      }),
    ],
  },
  {
    title: 'a Service without selector that points out of the cluster',
    objects: [service(), ...slices([{ at: 'client', nodeName: null }])],
    statements: [
      says('leads a pod there', 'local-pod', WEB, reaches(['client'])),
      says('leads the node there', 'node', WEB, masqueraded(['client'])),
    ],
  },
  {
    title: 'two Services',
    objects: [
      service({ name: 'a', clusterIp: clusterIp(1) }),
      ...slices(['local-1'], { of: 'a' }),
      service({ name: 'b', clusterIp: clusterIp(2) }),
      ...slices(['remote-1'], { of: 'b' }),
    ],
    statements: [
      says('the first has its own endpoints', 'local-pod', at(clusterIp(1)), reaches(['local-1'])),
      says('the second has its own endpoints', 'local-pod', at(clusterIp(2)), reaches(['remote-1'])),
    ],
  },
  {
    title: 'one pod behind two Services',
    objects: [
      service({ name: 'a', clusterIp: clusterIp(1) }),
      ...slices(['local-1'], { of: 'a' }),
      service({ name: 'b', clusterIp: clusterIp(2) }),
      ...slices(['local-1', 'local-2'], { of: 'b', ports: [{ port: 8081 }] }),
    ],
    statements: [
      says('is reached by the first', 'local-pod', at(clusterIp(1)), reaches(['local-1'])),
      says(
        'is reached by the second',
        'local-pod',
        at(clusterIp(2)),
        reaches(['local-1:8081', 'local-2:8081']),
      ),
    ],
  },
  {
    title: 'EndpointSlices that are not for the Service port',
    objects: [service(), ...slices(['local-1'], { ports: [{ name: 'other' }] })],
    statements: [says('count for nothing', 'local-pod', WEB, REFUSED)],
  },
  {
    title: 'EndpointSlices marked headless',
    objects: [service(), ...slices(['local-1'], { labels: { 'service.kubernetes.io/headless': '' } })],
    statements: [says('count for nothing', 'local-pod', WEB, REFUSED)],
  },
  {
    title: 'EndpointSlices that name no Service',
    objects: [service(), ...slices(['local-1'], { labels: { 'kubernetes.io/service-name': '' } })],
    statements: [says('count for nothing', 'local-pod', WEB, REFUSED)],
  },
  {
    title: 'EndpointSlices without a Service',
    objects: slices(['local-1']),
    statements: [says('make nothing reachable', 'local-pod', WEB, PASSES)],
  },
  ...[
    { title: 'a headless Service', spec: { clusterIp: 'None' } as const },
    {
      title: 'a Service of another proxy',
      spec: { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } },
    },
    {
      title: 'a Service whose proxy name is empty',
      spec: { labels: { 'service.kubernetes.io/service-proxy-name': '' } },
    },
    { title: 'an ExternalName Service that kept its addresses', spec: { type: 'ExternalName' } as const },
  ].map(
    ({ title, spec }): Scenario => ({
      title,
      objects: [
        service({ type: 'NodePort', ports: [{ nodePort: NODE_PORT }], externalIps: [EXTERNAL_IP], ...spec }),
        ...slices(['local-1']),
      ],
      statements: [
        says('has no cluster IP of ours', 'local-pod', WEB, PASSES),
        says('has no node port of ours', 'client', nodePort(), PASSES),
        says('has no external IP of ours', 'local-pod', at(EXTERNAL_IP), PASSES),
      ],
    }),
  ),
];
