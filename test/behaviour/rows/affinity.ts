// sessionAffinity ClientIP: a client goes on with the endpoint that it has, per Service port and node
// (kube-proxy.md §2.2, §4.8, §5.4).

import { type ServiceSpec, service, slices, terminating, unready } from '../objects.ts';
import {
  at,
  type EndpointName,
  masqueraded,
  nodePort,
  REFUSED,
  reaches,
  type Scenario,
  type Source,
  says,
  sticks,
  sticksAnew,
  type Target,
} from '../row.ts';
import { clusterIp, EXTERNAL_IP, LB_IP, NODE_PORT } from '../world.ts';
import { byAddressBeyondIptablesMode } from './documented.ts';

const WEB = at(clusterIp());
const HOURS = { affinitySeconds: 10_800 } as const;
const THREE = ['local-1', 'local-2', 'remote-1'] as const satisfies EndpointName[];
const TWO = ['local-1', 'remote-1'] as const satisfies EndpointName[];

const WAYS: readonly {
  readonly way: string;
  readonly to: Target;
  readonly spec: ServiceSpec;
  readonly podSeenAs: Source;
}[] = [
  { way: 'cluster IP', to: WEB, spec: {}, podSeenAs: 'own' },
  { way: 'node port', to: nodePort(), spec: { ports: [{ nodePort: NODE_PORT }] }, podSeenAs: 'node' },
  { way: 'external IP', to: at(EXTERNAL_IP), spec: { externalIps: [EXTERNAL_IP] }, podSeenAs: 'node' },
  { way: 'load balancer IP', to: at(LB_IP), spec: { loadBalancerIps: [LB_IP] }, podSeenAs: 'node' },
];

export const AFFINITY: readonly Scenario[] = [
  ...WAYS.map(
    ({ way, to, spec, podSeenAs }): Scenario => ({
      title: `session affinity at the ${way}`,
      isTracedOnly: way === 'external IP',
      objects: [service({ ...spec, ...HOURS }), ...slices(THREE)],
      statements: [
        says(
          'a client outside sticks to one endpoint, clients together use all',
          'client',
          to,
          sticks(THREE, 'node'),
        ),
        says('a pod sticks to one', 'local-pod', to, sticks(THREE, podSeenAs)),
        says('a pod of another node does, too', 'remote-pod', to, sticks(THREE, podSeenAs)),
        says('the node does, too', 'node', to, sticks(THREE, 'node')),
      ],
      sequels: [
        {
          when: 'an endpoint removed',
          objects: [service({ ...spec, ...HOURS }), ...slices(['local-2', 'remote-1'])],
          statements: [
            says(
              'its clients are balanced anew, the others stay',
              'client',
              to,
              sticks(['local-2', 'remote-1'], 'node'),
            ),
            says('so it is for a pod', 'local-pod', to, sticks(['local-2', 'remote-1'], podSeenAs)),
          ],
        },
        {
          when: 'an endpoint removed and back',
          objects: [service({ ...spec, ...HOURS }), ...slices(THREE)],
          statements: [
            says('every client stays where it is by now', 'client', to, sticks(THREE, 'node')),
            says('so does a pod', 'local-pod', to, sticks(THREE, podSeenAs)),
          ],
        },
      ],
    }),
  ),
  {
    title: 'session affinity and endpoints that come and go',
    objects: [service(HOURS), ...slices(TWO)],
    statements: [says('a client sticks', 'client', WEB, sticks(TWO, 'node'))],
    sequels: [
      {
        when: 'with one more',
        objects: [service(HOURS), ...slices(THREE)],
        statements: [
          says('everybody stays', 'client', WEB, sticks(THREE, 'node')),
          says('who is new may get any', 'local-pod', WEB, sticks(THREE)),
        ],
      },
      {
        when: 'one not ready',
        objects: [service(HOURS), ...slices(['local-1', unready('remote-1'), 'local-2'])],
        statements: [
          says('its clients are balanced anew', 'client', WEB, sticks(['local-1', 'local-2'], 'node')),
          says('so is a pod', 'local-pod', WEB, sticks(['local-1', 'local-2'])),
        ],
      },
      {
        when: 'one that ends',
        objects: [service(HOURS), ...slices([terminating('local-1'), 'remote-1', 'local-2'])],
        statements: [
          says('its clients are balanced anew', 'client', WEB, sticks(['remote-1', 'local-2'], 'node')),
        ],
      },
      {
        when: 'others by one move',
        objects: [service(HOURS), ...slices(['local-3', 'remote-2'])],
        statements: [says('all are balanced anew', 'client', WEB, sticks(['local-3', 'remote-2'], 'node'))],
      },
      {
        when: 'none left',
        objects: [service(HOURS), ...slices([])],
        statements: [
          says('clients are refused', 'client', WEB, REFUSED),
          says('a pod is refused', 'local-pod', WEB, REFUSED),
        ],
      },
      {
        when: 'two after none',
        objects: [service(HOURS), ...slices(TWO)],
        statements: [says('clients stick to these', 'client', WEB, sticks(TWO, 'node'))],
      },
    ],
  },
  {
    title: 'session affinity of two Service ports',
    objects: [
      service({ ports: [{ name: 'http' }, { name: 'admin', port: 9000 }], ...HOURS }),
      ...slices(TWO, { ports: [{ name: 'http' }, { name: 'admin' }] }),
    ],
    statements: [
      says('a client sticks at the first', 'client', WEB, sticks(TWO, 'node')),
      says(
        'and whatever it has there, it may get any at the second',
        'client',
        at(clusterIp(), 9000),
        sticks(TWO, 'node'),
      ),
    ],
  },
  {
    title: 'session affinity of two Services of the same pods',
    objects: [
      service({ name: 'a', clusterIp: clusterIp(1), ...HOURS }),
      ...slices(TWO, { of: 'a' }),
      service({ name: 'b', clusterIp: clusterIp(2), ...HOURS }),
      ...slices(TWO, { of: 'b' }),
    ],
    statements: [
      says('a client sticks at the first', 'client', at(clusterIp(1)), sticks(TWO, 'node')),
      says(
        'and whatever it has there, it may get any at the second',
        'client',
        at(clusterIp(2)),
        sticks(TWO, 'node'),
      ),
    ],
  },
  {
    title: 'a sticky Service beside one that is not',
    objects: [
      service({ name: 'a', clusterIp: clusterIp(1), ...HOURS }),
      ...slices(TWO, { of: 'a' }),
      service({ name: 'b', clusterIp: clusterIp(2) }),
      ...slices(TWO, { of: 'b' }),
    ],
    statements: [
      says('a pod sticks at the first', 'local-pod', at(clusterIp(1)), sticks(TWO)),
      says('not at the second', 'local-pod', at(clusterIp(2)), reaches(TWO)),
    ],
  },
  {
    title: 'session affinity of an endpoint that dials its own Service',
    objects: [service(HOURS), ...slices(TWO)],
    statements: [
      says(
        'it sticks, masqueraded where it got back to itself',
        'local-1',
        WEB,
        sticks({ 'local-1': 'node', 'remote-1': 'own' }),
      ),
    ],
  },
  {
    title: 'session affinity to an endpoint on the network of the node',
    objects: [service({ ...HOURS, ports: [{ nodePort: NODE_PORT }] }), ...slices(['node', 'local-1'])],
    statements: [
      says('a pod sticks', 'local-pod', WEB, sticks(['node', 'local-1'])),
      says(
        'a client sticks at the node port',
        'client',
        nodePort(),
        sticks({ node: 'own', 'local-1': 'node' }),
      ),
      says('the node sticks', 'node', WEB, sticks(['node', 'local-1'], 'node')),
    ],
  },
  {
    title: 'session affinity and internalTrafficPolicy Local',
    objects: [service({ ...HOURS, internalLocal: true }), ...slices(THREE)],
    statements: [
      says('a pod sticks to one of this node', 'local-pod', WEB, sticks(['local-1', 'local-2'])),
      says('clients stick to those of this node', 'client', WEB, sticks(['local-1', 'local-2'], 'node')),
    ],
  },
  ...WAYS.slice(1).map(
    ({ way, to, spec }): Scenario => ({
      title: `session affinity and externalTrafficPolicy Local at the ${way}`,
      isTracedOnly: way === 'external IP',
      objects: [service({ ...spec, ...HOURS, externalLocal: true }), ...slices(THREE)],
      statements: [
        says('a client sticks to one of this node', 'client', to, sticks(['local-1', 'local-2'])),
        says('a pod sticks to one of all', 'local-pod', to, sticks(THREE)),
        says('the node sticks to one of all', 'node', to, sticks(THREE, 'node')),
      ],
      sequels: [
        {
          when: 'one of this node removed',
          objects: [service({ ...spec, ...HOURS, externalLocal: true }), ...slices(['local-2', 'remote-1'])],
          statements: [
            says('clients stick to what is left here', 'client', to, sticks(['local-2'])),
            says('a pod sticks to what is left anywhere', 'local-pod', to, sticks(['local-2', 'remote-1'])),
            says(
              'the node sticks to what is left anywhere',
              'node',
              to,
              sticks(['local-2', 'remote-1'], 'node'),
            ),
          ],
        },
      ],
    }),
  ),
  {
    title: 'a timeout of session affinity',
    objects: [service({ affinitySeconds: 5 }), ...slices(TWO)],
    statements: [says('a client sticks', 'client', WEB, sticks(TWO, 'node'))],
    sequels: [
      {
        when: 'most of it over',
        waitSeconds: 3,
        statements: [says('it sticks', 'client', WEB, sticks(TWO, 'node'))],
      },
      {
        when: 'more than it since the first connection',
        waitSeconds: 3,
        statements: [says('it sticks, for the last one counts', 'client', WEB, sticks(TWO, 'node'))],
      },
      {
        when: 'more than it since the last connection',
        waitSeconds: 5.5,
        statements: [says('it is balanced anew', 'client', WEB, sticksAnew(TWO, 'node'))],
      },
    ],
  },
  {
    title: 'a timeout of session affinity that becomes shorter',
    objects: [service(HOURS), ...slices(TWO)],
    statements: [says('a client sticks', 'client', WEB, sticks(TWO, 'node'))],
    sequels: [
      {
        when: 'now',
        objects: [service({ affinitySeconds: 2 }), ...slices(TWO)],
        statements: [says('it sticks', 'client', WEB, sticks(TWO, 'node'))],
      },
      {
        when: 'after the new one',
        waitSeconds: 3,
        statements: [says('it is balanced anew', 'client', WEB, sticksAnew(TWO, 'node'))],
      },
    ],
  },
  {
    title: 'a timeout of session affinity that becomes longer',
    isTracedOnly: true,
    objects: [service({ affinitySeconds: 2 }), ...slices(TWO)],
    statements: [says('a client sticks', 'client', WEB, sticks(TWO, 'node'))],
    sequels: [
      {
        when: 'now',
        objects: [service(HOURS), ...slices(TWO)],
        statements: [says('who is new sticks', 'local-pod', WEB, sticks(TWO))],
      },
      {
        when: 'after the old one',
        waitSeconds: 3,
        statements: [says('who was new then still sticks', 'local-pod', WEB, sticks(TWO))],
      },
    ],
  },
  {
    title: 'session affinity taken away',
    objects: [service({ ...HOURS, ports: [{ nodePort: NODE_PORT }] }), ...slices(TWO)],
    statements: [
      says('a pod sticks', 'local-pod', WEB, sticks(TWO)),
      says('a client sticks at the node port', 'client', nodePort(), sticks(TWO, 'node')),
    ],
    sequels: [
      {
        when: 'from then on',
        objects: [service({ ports: [{ nodePort: NODE_PORT }] }), ...slices(TWO)],
        statements: [
          says('a pod is balanced each time', 'local-pod', WEB, reaches(TWO)),
          says('a client is balanced each time', 'client', nodePort(), masqueraded(TWO)),
        ],
      },
    ],
  },
  {
    title: 'session affinity given',
    objects: [service(), ...slices(TWO)],
    statements: [says('a pod is balanced each time', 'local-pod', WEB, reaches(TWO))],
    sequels: [
      {
        when: 'from then on',
        objects: [service(HOURS), ...slices(TWO)],
        statements: [says('a pod sticks', 'local-pod', WEB, sticks(TWO))],
      },
    ],
  },
  {
    title: 'session affinity at several addresses of one Service port',
    objects: [
      service({
        ...HOURS,
        ports: [{ nodePort: NODE_PORT }],
        externalIps: [EXTERNAL_IP],
        loadBalancerIps: [LB_IP],
      }),
      ...slices(THREE),
    ],
    statements: [says('a client sticks at the cluster IP', 'client', WEB, sticks(THREE, 'node'))],
    sequels: [
      {
        when: 'afterwards',
        statements: [
          says(
            'it has the same endpoint at the external IP',
            'client',
            at(EXTERNAL_IP),
            sticks(THREE, 'node', { like: WEB }),
            byAddressBeyondIptablesMode(sticks(THREE, 'node')),
          ),
          says(
            'it has the same endpoint at the load balancer IP',
            'client',
            at(LB_IP),
            sticks(THREE, 'node', { like: WEB }),
            byAddressBeyondIptablesMode(sticks(THREE, 'node')),
          ),
          says(
            'it has the same endpoint at the node port',
            'client',
            nodePort(),
            sticks(THREE, 'node', { like: WEB }),
            byAddressBeyondIptablesMode(sticks(THREE, 'node')),
          ),
        ],
      },
    ],
  },
  {
    title: 'sessionAffinity None with a configuration left over',
    objects: [
      service({
        spec: { sessionAffinity: 'None', sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } },
      }),
      ...slices(TWO),
    ],
    statements: [says('nobody sticks', 'local-pod', WEB, reaches(TWO))],
  },
  {
    title: 'session affinity without a timeout',
    objects: [service({ spec: { sessionAffinity: 'ClientIP' } }), ...slices(TWO)],
    statements: [says('has the usual one: a client sticks', 'client', WEB, sticks(TWO, 'node'))],
  },
];
