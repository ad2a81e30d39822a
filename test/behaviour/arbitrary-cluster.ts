// Random clusters and packets to them: few names, addresses and pods, so that everything meets everything.

import fc from 'fast-check';
import { type EndpointSpec, node, type ServiceSpec, service, serviceCidr, slices } from './objects.ts';
import { at, CLUSTER_CIDR_FLAG, type Packet, type Scenario, type Target } from './row.ts';
import {
  BRIDGE,
  clusterIp,
  EXTERNAL_IP,
  LB_IP,
  LOCAL_POD_CIDRS,
  NODE_NAME,
  NODE_PORT,
  PLACES,
  type Place,
  POD_LINK_PREFIX,
  REMOTE_NODE_NAME,
  SECOND_ADDRESS,
  sourceOf,
  ZONE,
} from './world.ts';

const NAMES = ['a', 'b', 'c'] as const;
const BACKENDS = ['local-1', 'local-2', 'local-3', 'remote-1', 'remote-2', 'node'] as const satisfies Place[];
const SENDERS = ['client', 'node', 'local-pod', 'local-1', 'remote-pod'] as const satisfies Place[];

const condition = fc.constantFrom<Pick<EndpointSpec, 'ready' | 'serving' | 'terminating'>>(
  {},
  {},
  { ready: true },
  { ready: false, serving: false, terminating: false },
  { ready: false, serving: true, terminating: true },
  { ready: false, serving: false, terminating: true },
);
const hints = fc.constantFrom<Pick<EndpointSpec, 'zoneHints' | 'nodeHints'>>(
  {},
  { zoneHints: [ZONE] },
  { zoneHints: ['zone-b'] },
  { zoneHints: [ZONE], nodeHints: [NODE_NAME] },
  { zoneHints: ['zone-b'], nodeHints: [REMOTE_NODE_NAME] },
);
const endpoints = fc.boolean().chain((areHinted) =>
  fc.uniqueArray(
    fc
      .tuple(fc.constantFrom(...BACKENDS), condition, areHinted ? hints : fc.constant({}), fc.nat(9))
      .map(([place, state, hint, n]) => ({
        at: place,
        ...state,
        ...hint,
        ...(n === 0 && { nodeName: null }),
      })),
    { maxLength: 5, selector: (one) => one.at },
  ),
);
/**
 * How connections are shared out. Affinity goes with chance alone here: what a node remembers of the cluster before
 * would decide about any other, and the tracer knows nothing of that.
 */
const sharing = fc.constantFrom<Pick<ServiceSpec, 'annotations' | 'affinitySeconds'>>(
  {},
  {},
  { affinitySeconds: 10_800 },
  ...['rr', 'sh', 'mh'].map((scheduler) => ({ annotations: { 'kproxy-ts.io/scheduler': scheduler } })),
  { annotations: { 'kproxy-ts.io/weights': `${PLACES['local-1'][4]}=3,node/${REMOTE_NODE_NAME}=0` } },
  {
    annotations: {
      'kproxy-ts.io/scheduler': 'rr',
      'kproxy-ts.io/weights': `${PLACES['local-1'][4]}=2,${PLACES['local-1'][6]}=0`,
    },
  },
);
const sourceRanges = fc.constantFrom<readonly string[]>(
  [],
  [],
  ['192.168.50.0/24', 'fd00:50::/64'],
  [`${PLACES.client[4]}/32`, `${PLACES.client[6]}/128`],
  ['10.1.0.16/28', 'fd00:10:1::10/124'],
  [`${PLACES.node[4]}/32`, '::/0'],
  ['2001:db8::/32'],
);

const someService = (name: (typeof NAMES)[number]): fc.Arbitrary<object[]> =>
  fc
    .record({
      hasNodePort: fc.boolean(),
      externalIps: fc.constantFrom([], [EXTERNAL_IP]),
      loadBalancerIps: fc.constantFrom([], [LB_IP]),
      internalLocal: fc.boolean(),
      externalLocal: fc.boolean(),
      families: fc.constantFrom<(4 | 6)[]>([4, 6], [4, 6], [4], [6]),
      createdAt: fc.constantFrom('2024-01-01T00:00:00Z', '2024-01-02T00:00:00Z'),
      sharing,
      sourceRanges,
      first: endpoints,
      second: endpoints,
    })
    .map(({ hasNodePort, first, second, sharing, ...spec }) => [
      service({
        ...spec,
        ...sharing,
        name,
        clusterIp: clusterIp(NAMES.indexOf(name) + 1),
        ports: [hasNodePort ? { nodePort: NODE_PORT } : {}],
      }),
      ...slices(first, { of: name, name: 'first' }),
      ...slices(second, { of: name, name: 'second', ports: [{ port: 8081 }] }),
    ]);

/** A scenario without statements. */
export const arbitraryScenario: fc.Arbitrary<Scenario> = fc
  .record({
    services: fc.tuple(...NAMES.map(someService)),
    zone: fc.constantFrom(ZONE, ZONE, null),
    flags: fc.constantFrom(
      [CLUSTER_CIDR_FLAG],
      [CLUSTER_CIDR_FLAG],
      [],
      [CLUSTER_CIDR_FLAG, '--masquerade-all=true'],
      ['--detect-local-mode=NodeCIDR'],
      ['--detect-local-mode=BridgeInterface', `--pod-bridge-interface=${BRIDGE}`],
      ['--detect-local-mode=InterfaceNamePrefix', `--pod-interface-name-prefix=${POD_LINK_PREFIX}`],
    ),
    podCidrs: fc.constantFrom([LOCAL_POD_CIDRS[4], LOCAL_POD_CIDRS[6]], [LOCAL_POD_CIDRS[6]]),
    serviceCidrs: fc.constantFrom([], [serviceCidr('kubernetes', '10.96.0.0/24', 'fd00:10:96::/120')]),
  })
  .map(({ services, zone, flags, podCidrs, serviceCidrs }) => ({
    title: 'a random cluster',
    objects: [node({ zone, podCidrs }), ...services.flat(), ...serviceCidrs],
    flags,
    statements: [],
  }));

const target: fc.Arbitrary<Target> = fc.constantFrom(
  ...NAMES.map((_, i) => at(clusterIp(i + 1))),
  ...NAMES.map((_, i) => at(clusterIp(i + 1))),
  at(clusterIp(1), 81),
  at(clusterIp(99)),
  at(EXTERNAL_IP),
  at(LB_IP),
  at(PLACES.node, NODE_PORT),
  at(PLACES.node, NODE_PORT),
  at(SECOND_ADDRESS, NODE_PORT),
);

export const arbitraryPacket: fc.Arbitrary<Packet> = fc
  .record({
    from: fc.constantFrom(...SENDERS),
    to: target,
    family: fc.constantFrom(4 as const, 6 as const),
    protocol: fc.constantFrom('TCP' as const, 'UDP' as const),
  })
  .map(({ from, to, family, protocol }) => {
    const destination = to.addresses[family];
    return {
      from,
      source: sourceOf(from, destination, family),
      destination,
      port: to.port,
      family,
      protocol,
    };
  });
