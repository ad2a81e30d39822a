// When a client's address gives way to the node's (kube-proxy.md §3, §4.5, §5.4, §17).

import { service, slices } from '../objects.ts';
import { at, CLUSTER_CIDR_FLAG, masqueraded, nodePort, reaches, type Scenario, says } from '../row.ts';
import { CLUSTER_CIDRS, clusterIp, EXTERNAL_IP, NODE_PORT } from '../world.ts';
import { masqueradedInIpvsMode } from './documented.ts';

const WEB = at(clusterIp());
const BOTH = ['local-1', 'remote-1'] as const;
const SERVICE = service({ ports: [{ nodePort: NODE_PORT }], externalIps: [EXTERNAL_IP] });
const CLUSTER = [SERVICE, ...slices(BOTH)];

export const MASQUERADE: readonly Scenario[] = [
  {
    title: 'without a cluster CIDR',
    flags: [],
    objects: CLUSTER,
    statements: [
      says('a client keeps its address at a cluster IP', 'client', WEB, reaches(BOTH)),
      says(
        'the node keeps its address at a cluster IP',
        'node',
        WEB,
        reaches(BOTH),
        masqueradedInIpvsMode(masqueraded(BOTH)),
      ),
      says('a pod keeps its address at a cluster IP', 'local-pod', WEB, reaches(BOTH)),
      says('a node port masquerades', 'client', nodePort(), masqueraded(BOTH)),
      says('an external IP masquerades', 'client', at(EXTERNAL_IP), masqueraded(BOTH)),
      says('an external IP masquerades a pod', 'local-pod', at(EXTERNAL_IP), masqueraded(BOTH)),
    ],
  },
  {
    title: '--masquerade-all',
    flags: [CLUSTER_CIDR_FLAG, '--masquerade-all=true'],
    objects: CLUSTER,
    statements: [
      says('a pod is masqueraded at a cluster IP', 'local-pod', WEB, masqueraded(BOTH)),
      says('a pod of another node is, too', 'remote-pod', WEB, masqueraded(BOTH)),
      says('a client is, too', 'client', WEB, masqueraded(BOTH)),
      says('the node is, too', 'node', WEB, masqueraded(BOTH)),
      says('a node port masquerades as ever', 'client', nodePort(), masqueraded(BOTH)),
    ],
  },
  {
    title: '--masquerade-all without a cluster CIDR',
    flags: ['--masquerade-all=true'],
    objects: CLUSTER,
    statements: [says('a pod is masqueraded at a cluster IP', 'local-pod', WEB, masqueraded(BOTH))],
  },
  {
    title: '--masquerade-all and internalTrafficPolicy Local',
    flags: [CLUSTER_CIDR_FLAG, '--masquerade-all=true'],
    objects: [service({ internalLocal: true }), ...slices(BOTH)],
    statements: [says('a pod is masqueraded', 'local-pod', WEB, masqueraded(['local-1']))],
  },
  {
    title: 'a cluster CIDR of one family',
    flags: [`--cluster-cidr=${CLUSTER_CIDRS[4]}`],
    objects: CLUSTER,
    statements: [
      says('tells clients apart in that family', 'client', WEB, masqueraded(BOTH), { families: [4] }),
      says('tells nobody apart in the other', 'client', WEB, reaches(BOTH), { families: [6] }),
      says('leaves pods their address', 'local-pod', WEB, reaches(BOTH)),
    ],
  },
  {
    title: 'a cluster CIDR that is not of whole bytes',
    flags: ['--cluster-cidr=10.1.0.16/28,fd00:10:1::/65'],
    objects: CLUSTER,
    statements: [
      says('a pod within keeps its address', 'local-pod', WEB, reaches(BOTH)),
      says('a pod outside of it is masqueraded', 'remote-pod', WEB, masqueraded(BOTH)),
      says('an IPv4 endpoint outside of it, too', 'local-2', WEB, masqueraded(BOTH), { families: [4] }),
    ],
  },
  {
    title: '--iptables-masquerade-bit',
    flags: [CLUSTER_CIDR_FLAG, '--iptables-masquerade-bit=31'],
    objects: CLUSTER,
    statements: [
      says('may be the highest bit', 'client', nodePort(), masqueraded(BOTH)),
      says('changes nothing else', 'local-pod', WEB, reaches(BOTH)),
    ],
  },
  {
    title: 'a Service of the pod that dials it',
    objects: [SERVICE, ...slices(['local-1', 'local-2', 'remote-1'])],
    statements: [
      says(
        'the pod is masqueraded only where it gets back to itself',
        'local-1',
        WEB,
        reaches({ 'local-1': 'node', 'local-2': 'own', 'remote-1': 'own' }),
      ),
      says(
        'another endpoint likewise',
        'local-2',
        WEB,
        reaches({ 'local-1': 'own', 'local-2': 'node', 'remote-1': 'own' }),
      ),
      says('at the node port always', 'local-1', nodePort(), masqueraded(['local-1', 'local-2', 'remote-1'])),
    ],
  },
  {
    title: 'a Service whose only endpoint dials it',
    objects: [SERVICE, ...slices(['local-1'])],
    statements: [
      says('the pod reaches itself by the node', 'local-1', WEB, masqueraded(['local-1'])),
      says('the pod reaches itself by the external IP', 'local-1', at(EXTERNAL_IP), masqueraded(['local-1'])),
    ],
  },
  {
    title: 'a Service whose endpoint is on an unnamed node',
    objects: [SERVICE, ...slices([{ at: 'local-1', nodeName: null }])],
    statements: [
      says('a pod here that turns out to be it reaches itself', 'local-1', WEB, masqueraded(['local-1'])),
      says('any other pod keeps its address', 'local-pod', WEB, reaches(['local-1'])),
    ],
  },
  {
    title: 'a Service of the pod that dials it, without a cluster CIDR',
    flags: [],
    objects: [SERVICE, ...slices(['local-1', 'local-2'])],
    statements: [
      says('masquerades it all the same', 'local-1', WEB, reaches({ 'local-1': 'node', 'local-2': 'own' })),
    ],
  },
  {
    title: 'internalTrafficPolicy Local of the pod that dials it',
    objects: [service({ internalLocal: true }), ...slices(['local-1', 'remote-1'])],
    statements: [says('masquerades it', 'local-1', WEB, masqueraded(['local-1']))],
  },
];
