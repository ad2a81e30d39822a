// --detect-local-mode: how pods of this node are told from other clients (kube-proxy.md §3, §2.4).

import { node, service, slices } from '../objects.ts';
import {
  at,
  CLUSTER_CIDR_FLAG,
  DROPPED,
  masqueraded,
  nodePort,
  reaches,
  type Scenario,
  says,
} from '../row.ts';
import {
  BRIDGE,
  clusterIp,
  LOCAL_POD_CIDRS,
  NODE_PORT,
  POD_LINK_PREFIX,
  REMOTE_POD_CIDRS,
} from '../world.ts';

const WEB = at(clusterIp());
const BOTH = ['local-2', 'remote-1'] as const;
const LOCAL = service({ ports: [{ nodePort: NODE_PORT }], externalLocal: true });
const CLUSTER = [LOCAL, ...slices(BOTH)];
const REMOTE_ONLY = [LOCAL, ...slices(['remote-1'])];
const nodeOf = (...podCidrs: string[]): object => node({ podCidrs });

const NODE_CIDR = ['--detect-local-mode=NodeCIDR'];
const BRIDGE_INTERFACE = ['--detect-local-mode=BridgeInterface', `--pod-bridge-interface=${BRIDGE}`];
const PREFIX = ['--detect-local-mode=InterfaceNamePrefix', `--pod-interface-name-prefix=${POD_LINK_PREFIX}`];

/** What holds for one who counts as a pod of this node, and for one who does not. */
const isPod = (from: 'local-pod' | 'local-1' | 'remote-pod'): Scenario['statements'] => [
  says('it keeps its address at the cluster IP', from, WEB, reaches(BOTH)),
  says('it is led to all from outside', from, nodePort(), reaches(BOTH)),
];
const isStranger = (from: 'local-pod' | 'local-1' | 'remote-pod' | 'client'): Scenario['statements'] => [
  says('it is masqueraded at the cluster IP', from, WEB, masqueraded(BOTH)),
  says('it stays on the node from outside', from, nodePort(), reaches(['local-2'])),
];
const about = (who: string, statements: Scenario['statements']): Scenario['statements'] =>
  statements.map((one) => ({ ...one, says: `${who}: ${one.says}` }));

export const DETECT_LOCAL: readonly Scenario[] = [
  {
    title: '--detect-local-mode=NodeCIDR',
    flags: NODE_CIDR,
    objects: [nodeOf(LOCAL_POD_CIDRS[4], LOCAL_POD_CIDRS[6]), ...CLUSTER],
    statements: [
      ...about('a pod within', isPod('local-pod')),
      ...about('a pod of another node', isStranger('remote-pod')),
      ...about('a client outside', isStranger('client')),
      says('the node: it is masqueraded at the cluster IP', 'node', WEB, masqueraded(BOTH)),
      says('the node: it is led to all from outside', 'node', nodePort(), masqueraded(BOTH)),
    ],
    sequels: [
      {
        when: 'the node given other pod CIDRs',
        objects: [nodeOf(REMOTE_POD_CIDRS[4], REMOTE_POD_CIDRS[6]), ...CLUSTER],
        statements: [
          ...about('who is within now', isPod('remote-pod')),
          ...about('who was within', isStranger('local-pod')),
        ],
      },
      {
        when: 'an endpoint gone after that',
        objects: [nodeOf(REMOTE_POD_CIDRS[4], REMOTE_POD_CIDRS[6]), ...REMOTE_ONLY],
        statements: [
          says('who is within is led elsewhere', 'remote-pod', nodePort(), reaches(['remote-1'])),
          says('who was within is dropped', 'local-pod', nodePort(), DROPPED),
        ],
      },
    ],
  },
  {
    title: '--detect-local-mode=NodeCIDR does not ask for a cluster CIDR',
    flags: [...NODE_CIDR, '--cluster-cidr=192.168.0.0/16'],
    objects: [nodeOf(LOCAL_POD_CIDRS[4], LOCAL_POD_CIDRS[6]), ...CLUSTER],
    statements: [
      ...about('a pod within the pod CIDR', isPod('local-pod')),
      ...about('a client within the cluster CIDR', isStranger('client')),
    ],
  },
  {
    title: '--detect-local-mode=NodeCIDR with a pod CIDR of one family',
    flags: NODE_CIDR,
    objects: [nodeOf(LOCAL_POD_CIDRS[4]), ...CLUSTER],
    statements: [
      says('tells clients apart in that family', 'client', WEB, masqueraded(BOTH), { families: [4] }),
      says('tells nobody apart in the other', 'client', WEB, reaches(BOTH), { families: [6] }),
      says('a pod keeps its address', 'local-pod', WEB, reaches(BOTH)),
    ],
  },
  {
    title: '--detect-local-mode=NodeCIDR and a node without pod CIDRs',
    flags: NODE_CIDR,
    objects: CLUSTER,
    statements: [
      says('nobody is masqueraded at the cluster IP', 'client', WEB, reaches(BOTH)),
      says('nobody is led past the policy', 'local-pod', nodePort(), reaches(['local-2'])),
      says('but the node', 'node', nodePort(), masqueraded(BOTH)),
    ],
    sequels: [
      {
        when: 'given one later',
        objects: [nodeOf(LOCAL_POD_CIDRS[4], LOCAL_POD_CIDRS[6]), ...CLUSTER],
        statements: [
          ...about('a pod within', isPod('local-pod')),
          ...about('a client outside', isStranger('client')),
        ],
      },
    ],
  },
  {
    title: '--detect-local-mode=BridgeInterface',
    flags: BRIDGE_INTERFACE,
    objects: CLUSTER,
    statements: [
      ...about('a pod on the bridge', isPod('local-pod')),
      ...about('a pod of this node on a link of its own', isStranger('local-1')),
      ...about('a pod of another node', isStranger('remote-pod')),
      ...about('a client outside', isStranger('client')),
      says('the node: it is masqueraded at the cluster IP', 'node', WEB, masqueraded(BOTH)),
      says('the node: it is led to all from outside', 'node', nodePort(), masqueraded(BOTH)),
    ],
  },
  {
    title: '--detect-local-mode=BridgeInterface with the beginning of a name',
    flags: ['--detect-local-mode=BridgeInterface', `--pod-bridge-interface=${BRIDGE.slice(0, -1)}`],
    objects: CLUSTER,
    statements: about('a pod on the bridge', isStranger('local-pod')),
  },
  {
    title: '--detect-local-mode=InterfaceNamePrefix',
    flags: PREFIX,
    objects: CLUSTER,
    statements: [
      ...about('a pod on a link of that name', isPod('local-1')),
      ...about('a pod on the bridge', isStranger('local-pod')),
      ...about('a pod of another node', isStranger('remote-pod')),
      ...about('a client outside', isStranger('client')),
      says('the node: it is masqueraded at the cluster IP', 'node', WEB, masqueraded(BOTH)),
      says('the node: it is led to all from outside', 'node', nodePort(), masqueraded(BOTH)),
    ],
  },
  {
    title: '--detect-local-mode=InterfaceNamePrefix with a whole name',
    flags: ['--detect-local-mode=InterfaceNamePrefix', `--pod-interface-name-prefix=${BRIDGE}`],
    objects: CLUSTER,
    statements: [
      ...about('a pod on the bridge', isPod('local-pod')),
      ...about('a pod on another link', isStranger('local-1')),
    ],
  },
  {
    title: '--detect-local-mode=BridgeInterface and --masquerade-all',
    flags: [...BRIDGE_INTERFACE, '--masquerade-all=true'],
    objects: CLUSTER,
    statements: [
      says('a pod is masqueraded at the cluster IP', 'local-pod', WEB, masqueraded(BOTH)),
      says('a pod keeps its address from outside', 'local-pod', nodePort(), reaches(BOTH)),
    ],
  },
  {
    title: '--detect-local-mode=BridgeInterface and an endpoint that dials its own Service',
    flags: BRIDGE_INTERFACE,
    objects: [service(), ...slices(['local-3', 'remote-1'])],
    statements: [
      says(
        'it is masqueraded only where it gets back to itself',
        'local-3',
        WEB,
        reaches({ 'local-3': 'node', 'remote-1': 'own' }),
      ),
    ],
  },
  {
    title: '--detect-local-mode=ClusterCIDR',
    flags: ['--detect-local-mode=ClusterCIDR', CLUSTER_CIDR_FLAG],
    objects: [nodeOf(REMOTE_POD_CIDRS[4], REMOTE_POD_CIDRS[6]), ...CLUSTER],
    statements: [
      ...about('a pod', isPod('local-pod')),
      ...about('a pod of another node', isPod('remote-pod')),
      ...about('a client outside', isStranger('client')),
    ],
  },
];
