// Two Services that claim the same: the older one has it, and the other keeps the rest (src/vip/claims.ts).

import { service, slices } from '../objects.ts';
import { at, masqueraded, nodePort, REFUSED, reaches, type Scenario, says } from '../row.ts';
import { clusterIp, EXTERNAL_IP, LB_IP, NODE_PORT } from '../world.ts';

const OLD = '2024-01-01T00:00:00Z';
const NEW = '2024-01-02T00:00:00Z';
const A = { name: 'a', clusterIp: clusterIp(1) } as const;
const B = { name: 'b', clusterIp: clusterIp(2) } as const;
const ENDPOINTS = [...slices(['local-1'], { of: 'a' }), ...slices(['local-2'], { of: 'b' })];

export const CONFLICTS: readonly Scenario[] = [
  {
    title: 'two Services with one external IP and port',
    objects: [
      service({ ...A, externalIps: [EXTERNAL_IP], createdAt: NEW }),
      service({ ...B, externalIps: [EXTERNAL_IP], createdAt: OLD }),
      ...ENDPOINTS,
    ],
    statements: [
      says('the older has it', 'client', at(EXTERNAL_IP), masqueraded(['local-2'])),
      says('the younger keeps its cluster IP', 'local-pod', at(clusterIp(1)), reaches(['local-1'])),
      says('the older has its cluster IP', 'local-pod', at(clusterIp(2)), reaches(['local-2'])),
    ],
  },
  {
    title: 'two Services of one age with one external IP and port',
    objects: [
      service({ ...B, externalIps: [EXTERNAL_IP], createdAt: OLD }),
      service({ ...A, externalIps: [EXTERNAL_IP], createdAt: OLD }),
      ...ENDPOINTS,
    ],
    statements: [says('the first by name has it', 'client', at(EXTERNAL_IP), masqueraded(['local-1']))],
  },
  {
    title: 'a Service of unknown age',
    objects: [
      service({ ...A, externalIps: [EXTERNAL_IP] }),
      service({ ...B, externalIps: [EXTERNAL_IP], createdAt: NEW }),
      ...ENDPOINTS,
    ],
    statements: [says('is the younger', 'client', at(EXTERNAL_IP), masqueraded(['local-2']))],
  },
  {
    title: 'two Services with one node port',
    objects: [
      service({ ...A, ports: [{ nodePort: NODE_PORT }], createdAt: NEW }),
      service({ ...B, ports: [{ nodePort: NODE_PORT }], createdAt: OLD }),
      ...ENDPOINTS,
    ],
    statements: [says('the older has it', 'client', nodePort(), masqueraded(['local-2']))],
  },
  {
    title: 'an older Service without endpoints',
    objects: [
      service({ ...A, externalIps: [EXTERNAL_IP], createdAt: OLD }),
      service({ ...B, externalIps: [EXTERNAL_IP], createdAt: NEW }),
      ...slices(['local-2'], { of: 'b' }),
    ],
    statements: [says('keeps what it has', 'client', at(EXTERNAL_IP), REFUSED)],
  },
  {
    title: 'two Services with one load balancer IP and different ports',
    objects: [
      service({ ...A, loadBalancerIps: [LB_IP] }),
      service({ ...B, loadBalancerIps: [LB_IP], ports: [{ port: 81 }] }),
      ...ENDPOINTS,
    ],
    statements: [
      says('share it: the first port', 'client', at(LB_IP), masqueraded(['local-1'])),
      says('share it: the second port', 'client', at(LB_IP, 81), masqueraded(['local-2'])),
    ],
  },
  {
    title: 'two Services with one external IP and port over different protocols',
    objects: [
      service({ ...A, externalIps: [EXTERNAL_IP], ports: [{ protocols: ['TCP'] }] }),
      service({ ...B, externalIps: [EXTERNAL_IP], ports: [{ protocols: ['UDP', 'SCTP'] }] }),
      ...ENDPOINTS,
    ],
    statements: [
      says('share it: TCP', 'client', at(EXTERNAL_IP), masqueraded(['local-1']), { protocols: ['TCP'] }),
      says('share it: UDP and SCTP', 'client', at(EXTERNAL_IP), masqueraded(['local-2']), {
        protocols: ['UDP', 'SCTP'],
      }),
    ],
  },
  {
    title: "an external IP that is another Service's cluster IP",
    objects: [
      service({ ...A, createdAt: OLD }),
      service({ ...B, externalIps: [clusterIp(1)], createdAt: NEW }),
      ...ENDPOINTS,
    ],
    statements: [says('is still that of the older', 'local-pod', at(clusterIp(1)), reaches(['local-1']))],
  },
];
