// Whatever happens in whatever order, with passes and syncs that fail: after a clean pass there is no stale flow, and no
// flow was deleted that was not stale.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { unpackIp } from '../../src/model/ip.ts';
import type { Flow } from '../../src/netlink/conntrack/flow.ts';
import { Cluster, flow } from './cluster.ts';

const PODS = ['10.1.0.11', '10.1.0.12', '10.1.0.13'];
const SHARED = '203.0.113.7';
const own = (n: number): string => `10.96.0.${n}`;

/** One Service: its endpoints, and whether it also claims the shared external IP. undefined: there is none. */
type Spec = { readonly pods: readonly string[]; readonly isShared: boolean } | undefined;

const step = fc.record({
  service: fc.constantFrom(1, 2, 3),
  spec: fc.option(fc.record({ pods: fc.subarray(PODS), isShared: fc.boolean() }), { nil: undefined }),
  /** What becomes of the sync, and of the pass after it. */
  outcome: fc.constantFrom('clean', 'clean', 'sync-fails', 'pass-fails'),
});

test('random histories', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (history) => {
      const cluster = new Cluster();
      const specs = new Map<number, Spec>();
      /** `vip pod` of every flow there is; the flows of one frontend to one pod are alike. */
      let flows = new Set<string>();

      /** Who answers at an address; Services are of one age, so the smaller name has the shared one. */
      const endpointsOf = (vip: string): readonly string[] | undefined => {
        const claimants = [1, 2, 3].filter(
          (n) => own(n) === vip || (vip === SHARED && specs.get(n)?.isShared),
        );
        return claimants.map((n) => specs.get(n)).find((spec) => spec !== undefined)?.pods;
      };
      const vips = [own(1), own(2), own(3), SHARED];

      for (const { service, spec, outcome } of history) {
        specs.set(service, spec);
        const name = `s${service}`;
        if (spec === undefined) {
          cluster.apply(cluster.remove('Service', name), cluster.remove('EndpointSlice', name));
        } else {
          const externalIps = spec.isShared ? [SHARED] : [];
          cluster.apply(
            cluster.service({ name, clusterIps: [own(service)], externalIps }),
            cluster.slice(name, spec.pods),
          );
        }
        if (outcome === 'sync-fails') continue;
        // The rules are in force: clients start flows, the old ones live on.
        for (const vip of vips) for (const pod of endpointsOf(vip) ?? []) flows.add(`${vip} ${pod}`);
        if (outcome === 'pass-fails') continue;
        const stale = new Set(cluster.pass(...[...flows].map(asFlow)).map(asText));
        flows = new Set([...flows].filter((one) => !stale.has(one)));
        const wanted = vips.flatMap((vip) => (endpointsOf(vip) ?? []).map((pod) => `${vip} ${pod}`));
        expect([...flows].sort()).toEqual(wanted.sort());
      }
    }),
    { numRuns: 400 },
  );
});

const asFlow = (text: string): Flow => {
  const [vip, pod] = text.split(' ');
  return flow(`${vip} 53`, `${pod} 5353`);
};

const asText = ({ original, reply }: Flow): string =>
  `${unpackIp(original.destination)} ${unpackIp(reply.source)}`;
