// External IPs and load balancer IPs with the policies at their defaults (kube-proxy.md §2.2, §3, §17).

import { FAMILIES, service, slices } from '../objects.ts';
import { at, masqueraded, nodePort, PASSES, REFUSED, reaches, type Scenario, says } from '../row.ts';
import { clusterIp, EXTERNAL_IP, LB_IP, NODE_PORT, PLACES, SECOND_LB_IP } from '../world.ts';
import { refusedInIpvsMode } from './documented.ts';

const ENDPOINTS = ['local-1', 'local-2', 'remote-1'] as const;

const KINDS = [
  { kind: 'an external IP', address: EXTERNAL_IP, spec: { externalIps: [EXTERNAL_IP] } },
  { kind: 'a load balancer IP', address: LB_IP, spec: { loadBalancerIps: [LB_IP] } },
] as const;

export const EXTERNAL: readonly Scenario[] = [
  ...KINDS.flatMap(({ kind, address, spec }): Scenario[] => [
    {
      title: kind,
      objects: [service(spec), ...slices(ENDPOINTS)],
      statements: [
        says(
          'a client outside reaches all endpoints, masqueraded',
          'client',
          at(address),
          masqueraded(ENDPOINTS),
        ),
        says('a pod is masqueraded', 'local-pod', at(address), masqueraded(ENDPOINTS)),
        says('a pod of another node is masqueraded', 'remote-pod', at(address), masqueraded(ENDPOINTS)),
        says('the node is masqueraded', 'node', at(address), masqueraded(ENDPOINTS)),
        says('another port is not ours', 'local-pod', at(address, 81), PASSES, refusedInIpvsMode()),
        says('another port is not ours from the node', 'node', at(address, 81), PASSES, refusedInIpvsMode()),
        says('the cluster IP goes on', 'local-pod', at(clusterIp()), reaches(ENDPOINTS)),
      ],
    },
    {
      title: `${kind} without endpoints`,
      objects: [service(spec)],
      statements: [
        says('refuses a client', 'client', at(address), REFUSED),
        says('refuses a pod', 'local-pod', at(address), REFUSED),
        says('refuses the node', 'node', at(address), REFUSED),
      ],
    },
    {
      title: `${kind} of several ports`,
      objects: [
        service({ ports: [{ name: 'http' }, { name: 'admin', port: 9000 }], ...spec }),
        ...slices(['local-1'], { ports: [{ name: 'http' }, { name: 'admin', port: 8081 }] }),
      ],
      statements: [
        says('serves the first', 'client', at(address), masqueraded(['local-1'])),
        says('serves the second', 'client', at(address, 9000), masqueraded(['local-1:8081'])),
      ],
    },
  ]),
  {
    title: 'a LoadBalancer Service',
    objects: [
      service({
        ports: [{ nodePort: NODE_PORT }],
        externalIps: [EXTERNAL_IP],
        loadBalancerIps: [LB_IP, SECOND_LB_IP],
      }),
      ...slices(ENDPOINTS),
    ],
    statements: [
      says('is reached at its first ingress IP', 'client', at(LB_IP), masqueraded(ENDPOINTS)),
      says('is reached at its second ingress IP', 'client', at(SECOND_LB_IP), masqueraded(ENDPOINTS)),
      says('is reached at its external IP', 'client', at(EXTERNAL_IP), masqueraded(ENDPOINTS)),
      says('is reached at its node port', 'client', nodePort(), masqueraded(ENDPOINTS)),
      says('is reached at its cluster IP', 'local-pod', at(clusterIp()), reaches(ENDPOINTS)),
    ],
  },
  {
    title: 'a LoadBalancer Service without node ports',
    objects: [
      service({ loadBalancerIps: [LB_IP], spec: { allocateLoadBalancerNodePorts: false } }),
      ...slices(['local-1']),
    ],
    statements: [
      says('is reached at its ingress IP', 'client', at(LB_IP), masqueraded(['local-1'])),
      says('has no node port', 'client', nodePort(), PASSES),
    ],
  },
  {
    title: 'a load balancer that stands before the nodes (ipMode Proxy)',
    objects: [
      service({ ports: [{ nodePort: NODE_PORT }], loadBalancerIps: [LB_IP], ipMode: 'Proxy' }),
      ...slices(['local-1']),
    ],
    statements: [
      says('is not stepped over by a pod', 'local-pod', at(LB_IP), PASSES),
      says('is not stepped over by the node', 'node', at(LB_IP), PASSES),
      says('comes in by the node port', 'client', nodePort(), masqueraded(['local-1'])),
    ],
  },
  {
    title: 'a load balancer with one IP of its own and one of the nodes',
    objects: [
      {
        ...service({ type: 'LoadBalancer' }),
        status: {
          loadBalancer: {
            ingress: FAMILIES.flatMap((family) => [
              { ip: LB_IP[family], ipMode: 'Proxy' },
              { ip: SECOND_LB_IP[family], ipMode: 'VIP' },
            ]),
          },
        },
      },
      ...slices(['local-1']),
    ],
    statements: [
      says('its own is not ours', 'local-pod', at(LB_IP), PASSES),
      says('that of the nodes is', 'client', at(SECOND_LB_IP), masqueraded(['local-1'])),
    ],
  },
  {
    title: 'a load balancer known by host name and by IP',
    objects: [
      service({ loadBalancerIps: [LB_IP], loadBalancerHosts: ['lb.example.com'] }),
      ...slices(['local-1']),
    ],
    statements: [says('is reached at the IP', 'client', at(LB_IP), masqueraded(['local-1']))],
  },
  {
    title: 'a load balancer IP that changes',
    objects: [service({ loadBalancerIps: [LB_IP] }), ...slices(['local-1'])],
    statements: [says('is reached', 'client', at(LB_IP), masqueraded(['local-1']))],
    sequels: [
      {
        when: 'afterwards',
        objects: [service({ loadBalancerIps: [SECOND_LB_IP] }), ...slices(['local-1'])],
        statements: [
          says('the new one is reached', 'client', at(SECOND_LB_IP), masqueraded(['local-1'])),
          says('the old one is left alone', 'local-pod', at(LB_IP), PASSES),
        ],
      },
    ],
  },
  {
    title: 'a load balancer IP with ipMode VIP',
    objects: [service({ loadBalancerIps: [LB_IP], ipMode: 'VIP' }), ...slices(['local-1'])],
    statements: [says('is ours', 'client', at(LB_IP), masqueraded(['local-1']))],
  },
  {
    title: 'a Service with a loadBalancerClass',
    objects: [
      service({ loadBalancerIps: [LB_IP], spec: { loadBalancerClass: 'example.com/lb' } }),
      ...slices(['local-1']),
    ],
    statements: [
      says('is served as any other', 'client', at(LB_IP), masqueraded(['local-1'])),
      says('its cluster IP, too', 'local-pod', at(clusterIp()), reaches(['local-1'])),
    ],
  },
  {
    title: 'a load balancer known by host name only',
    objects: [service({ loadBalancerHosts: ['lb.example.com'] }), ...slices(['local-1'])],
    statements: [says('leaves the cluster IP as it is', 'local-pod', at(clusterIp()), reaches(['local-1']))],
  },
  {
    title: 'an address that is external IP and ingress IP at once',
    objects: [service({ externalIps: [LB_IP], loadBalancerIps: [LB_IP] }), ...slices(ENDPOINTS)],
    statements: [says('is served once', 'client', at(LB_IP), masqueraded(ENDPOINTS))],
  },
  {
    title: "an external IP that is the node's own",
    objects: [service({ externalIps: [PLACES.node] }), ...slices(ENDPOINTS)],
    statements: [
      says('is served on the node', 'client', at(PLACES.node), masqueraded(ENDPOINTS)),
      says('is served for the node', 'node', at(PLACES.node), masqueraded(ENDPOINTS)),
      says('leaves other ports to the node', 'client', at(PLACES.node, 81), PASSES),
    ],
  },
];
