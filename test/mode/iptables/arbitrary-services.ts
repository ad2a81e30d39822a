// Random Services that never claim the same address and port, as iptables mode gets them.

import fc from 'fast-check';
import { type Cidr, parseCidr } from '../../../src/model/ip.ts';
import type { Endpoint, Service, ServiceKey } from '../../../src/model/types.ts';
import { buildFrontends } from '../../../src/vip/build-frontends.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import type { LocalPods } from '../../../src/vip/local-pods.ts';
import type { Surroundings } from '../../../src/vip/surroundings.ts';
import { endpoint, HERE, ip, service, slice } from '../../vip/objects.ts';

const cidr = (text: string): Cidr => parseCidr(text)!;

const PODS: readonly (LocalPods | undefined)[] = [
  { kind: 'source', cidr: cidr('10.244.0.0/16') },
  { kind: 'interface', name: 'cni', isPrefix: true },
  undefined,
];

export const surroundings: fc.Arbitrary<Surroundings> = fc.record({
  nodePortCidrs: fc.constantFrom(
    [],
    [cidr('192.168.50.10/32')],
    [cidr('0.0.0.0/0')],
    [cidr('192.168.0.0/16'), cidr('126.0.0.0/7')],
  ),
  serviceCidrs: fc.constantFrom([], [cidr('10.96.0.0/12')], [cidr('10.96.0.0/16'), cidr('fd00::/112')]),
  localPods: fc.constantFrom(...PODS).map((pods) => new Map(pods === undefined ? [] : [[4 as const, pods]])),
});

export interface SomeService {
  readonly key: ServiceKey;
  readonly frontends: readonly Frontend[];
}

/** `index` gives a Service its addresses and ports; without endpoints, policies, types and ports it is still many. */
export const someService = (index: number): fc.Arbitrary<SomeService> =>
  fc
    .record({
      ports: fc.constantFrom(['http'], ['http', 'dns'], ['']),
      local: fc.nat({ max: 3 }),
      elsewhere: fc.oneof(
        { weight: 120, arbitrary: fc.nat({ max: 3 }) },
        { weight: 1, arbitrary: fc.constant(600) },
      ),
      isInternalLocal: fc.boolean(),
      isExternalLocal: fc.boolean(),
      hasNodePort: fc.boolean(),
      hasExternalIp: fc.boolean(),
      hasLoadBalancer: fc.boolean(),
      ranges: fc.constantFrom(undefined, [], [cidr('192.168.50.0/24')], [cidr('10.0.0.0/8'), cidr('::/1')]),
      affinityTimeoutSeconds: fc.constantFrom(undefined, undefined, 10_800),
      heavy: fc.integer({ min: 1, max: 5 }),
    })
    .map((spec) => {
      const key = `n${index % 3}/s${index}` as ServiceKey;
      const ports = spec.ports.map((name, i) => ({
        name,
        protocol: name === 'dns' ? ('UDP' as const) : ('TCP' as const),
        port: 80 + i,
        nodePort: spec.hasNodePort ? 30_000 + 7 * index + i : 0,
      }));
      const one: Service = service({
        key,
        ports,
        clusterIps: [ip(`10.96.${index >> 4}.${(index & 15) * 3 + 1}`)],
        // One address for all, and ports of one's own.
        externalIps: spec.hasExternalIp ? [ip(`203.0.113.${index & 1}`)] : [],
        loadBalancerIps: spec.hasLoadBalancer ? [ip(`198.51.${index & 3}.${index}`)] : [],
        isInternalLocal: spec.isInternalLocal,
        isExternalLocal: spec.isExternalLocal,
        healthCheckNodePort: spec.isExternalLocal && spec.hasLoadBalancer ? 31_000 + index : 0,
        affinityTimeoutSeconds: spec.affinityTimeoutSeconds,
        sourceRanges: { 4: spec.ranges?.filter(({ family }) => family === 4), 6: undefined },
      });
      const pod = (n: number, nodeName: string): Endpoint =>
        endpoint(`10.${nodeName === HERE ? 244 : 245}.${n >> 8}.${n & 255}`, 'ready', { nodeName });
      const endpoints = [
        ...Array.from({ length: spec.local }, (_, n) => pod(n, HERE)),
        ...Array.from({ length: spec.elsewhere }, (_, n) => pod(n, 'elsewhere')),
      ];
      const slices = ports.map(({ name, protocol }) =>
        slice(endpoints, { serviceKey: key, ports: [{ name, protocol, port: 8080 }] }),
      );
      const facts = { zone: undefined, addresses: [], localPods: new Map([[4 as const, PODS[0]!]]) };
      const frontends = buildFrontends(one, slices, { nodeName: HERE, masqueradeAll: false }, facts);
      return {
        key,
        frontends: frontends.map((frontend) => ({
          ...frontend,
          // Ports of an address that Services have in common.
          port: frontend.kind === 'ExternalIP' ? frontend.port + 2 * index : frontend.port,
          backends: frontend.backends.map((backend, i) => ({ ...backend, weight: i === 0 ? spec.heavy : 1 })),
        })),
      };
    });
