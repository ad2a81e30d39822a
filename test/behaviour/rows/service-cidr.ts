// ServiceCIDR objects: addresses of which cluster IPs are allocated, and nobody has (kube-proxy.md §2.1, §5.4, §16 Q3).

import { service, serviceCidr, slices } from '../objects.ts';
import { at, DROPPED, masqueraded, nodePort, PASSES, REFUSED, reaches, type Scenario, says } from '../row.ts';
import { clusterIp, EXTERNAL_IP, LB_IP, NODE_PORT, PLACES, POD_GATEWAY, SECOND_ADDRESS } from '../world.ts';
import { refusedInIpvsMode } from './documented.ts';

const WEB = at(clusterIp());
const FREE = at(clusterIp(99));
const BOTH = ['local-1', 'remote-1'] as const;
const CLUSTER = [
  service({ ports: [{ nodePort: NODE_PORT }], externalIps: [EXTERNAL_IP], loadBalancerIps: [LB_IP] }),
  ...slices(BOTH),
];
const CIDRS = ['10.96.0.0/24', 'fd00:10:96::/112'];
const FIRST = serviceCidr('kubernetes', ...CIDRS);

export const SERVICE_CIDR: readonly Scenario[] = [
  {
    title: 'a ServiceCIDR',
    objects: [FIRST, ...CLUSTER],
    statements: [
      says('gives a pod no answer at an address that nobody has', 'local-pod', FREE, DROPPED),
      says('gives a pod of another node none', 'remote-pod', FREE, DROPPED),
      says('gives a client none', 'client', FREE, DROPPED),
      says('gives the node none', 'node', FREE, DROPPED),
      says('gives none at any port', 'local-pod', at(clusterIp(99), 8080), DROPPED),
      says('leads to cluster IPs', 'local-pod', WEB, reaches(BOTH)),
      says('refuses at unused ports of these', 'local-pod', at(clusterIp(), 81), REFUSED),
      says('refuses the node at unused ports of these', 'node', at(clusterIp(), 81), REFUSED),
      says(
        'leaves addresses beside it alone',
        'local-pod',
        at({ 4: '10.96.1.99', 6: 'fd00:10:96::1:99' }),
        PASSES,
      ),
      says('leaves pods alone', 'local-pod', at(PLACES['local-1'], 8080), PASSES),
      says('leaves the node port as it is', 'client', nodePort(), masqueraded(BOTH)),
    ],
    sequels: [
      {
        when: 'an address taken by a Service',
        objects: [
          FIRST,
          ...CLUSTER,
          service({ name: 'new', clusterIp: clusterIp(99) }),
          ...slices(['local-2'], { of: 'new' }),
        ],
        statements: [says('it is reached', 'local-pod', FREE, reaches(['local-2']))],
      },
      {
        when: 'the Service gone',
        objects: [FIRST, ...CLUSTER],
        statements: [says('nobody answers', 'local-pod', FREE, DROPPED)],
      },
      {
        when: 'itself gone',
        objects: CLUSTER,
        statements: [
          says('the address is left alone', 'local-pod', FREE, PASSES),
          says('cluster IPs are reached', 'local-pod', WEB, reaches(BOTH)),
        ],
      },
      {
        when: 'made anew',
        objects: [FIRST, ...CLUSTER],
        statements: [says('nobody answers', 'local-pod', FREE, DROPPED)],
      },
    ],
  },
  {
    title: 'a ServiceCIDR without any Service',
    objects: [FIRST],
    statements: [
      says('gives no answer', 'local-pod', WEB, DROPPED),
      says('gives the node none', 'node', WEB, DROPPED),
    ],
  },
  {
    title: 'a ServiceCIDR of one family',
    objects: [serviceCidr('kubernetes', CIDRS[0]!), ...CLUSTER],
    statements: [
      says('gives no answer in it', 'local-pod', FREE, DROPPED, { families: [4] }),
      says('leaves the other alone', 'local-pod', FREE, PASSES, { families: [6] }),
    ],
  },
  {
    title: 'several ServiceCIDRs',
    objects: [FIRST, serviceCidr('more', '10.97.0.0/24', 'fd00:10:97::/112'), ...CLUSTER],
    statements: [
      says('count together: the first', 'local-pod', FREE, DROPPED),
      says('count together: the second', 'node', at({ 4: '10.97.0.1', 6: 'fd00:10:97::1' }), DROPPED),
    ],
  },
  {
    title: 'two ServiceCIDRs of the same addresses',
    objects: [
      FIRST,
      serviceCidr('again', ...CIDRS),
      serviceCidr('inner', '10.96.0.64/26', 'fd00:10:96::/120'),
    ],
    statements: [says('give no answer', 'local-pod', FREE, DROPPED)],
    sequels: [
      {
        when: 'one gone',
        objects: [serviceCidr('again', ...CIDRS)],
        statements: [says('the other goes on', 'local-pod', FREE, DROPPED)],
      },
    ],
  },
  {
    title: 'a ServiceCIDR with external addresses in it',
    objects: [serviceCidr('kubernetes', '203.0.113.0/24', 'fd00:10:96::/112'), ...CLUSTER],
    statements: [
      says('leads to the external IP', 'client', at(EXTERNAL_IP), masqueraded(BOTH)),
      says('leads to the load balancer IP', 'client', at(LB_IP), masqueraded(BOTH)),
      says(
        'gives no answer at their other ports',
        'local-pod',
        at(EXTERNAL_IP, 81),
        DROPPED,
        refusedInIpvsMode(),
      ),
    ],
  },
  {
    title: 'a ServiceCIDR with an external IP without endpoints in it',
    objects: [
      serviceCidr('kubernetes', '203.0.113.0/24', 'fd00:10:96::/112'),
      service({ externalIps: [EXTERNAL_IP] }),
    ],
    statements: [
      says('refuses there', 'client', at(EXTERNAL_IP), REFUSED),
      says('refuses at the cluster IP', 'local-pod', WEB, REFUSED),
    ],
  },
  {
    title: 'a ServiceCIDR with addresses of the node in it',
    objects: [serviceCidr('kubernetes', '192.168.50.0/24', 'fd00:50::/64'), ...CLUSTER],
    statements: [
      says('leaves what runs on the node to a client', 'client', at(PLACES.node, 8080), PASSES),
      says('leaves what runs on the node to a pod', 'local-pod', at(SECOND_ADDRESS, 81), PASSES),
      says('leaves what runs on the node to itself', 'node', at(PLACES.node, 8080), PASSES),
      says('leaves the node port as it is', 'client', nodePort(), masqueraded(BOTH)),
      says('leaves other addresses of the node alone', 'local-pod', at(POD_GATEWAY, 81), PASSES),
      says('gives no answer in place of others', 'local-pod', at(PLACES.client, 8080), DROPPED),
      says('leads to cluster IPs', 'local-pod', WEB, reaches(BOTH)),
    ],
  },
];
