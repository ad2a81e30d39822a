// The table follows the Node's zone by itself, and gives every Service what building it afresh would.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseCidr } from '../../src/model/ip.ts';
import type { EndpointSlice, Node, Service, ServiceKey } from '../../src/model/types.ts';
import type { Frontend } from '../../src/vip/frontend.ts';
import type { DetectLocal } from '../../src/vip/local-pods.ts';
import { VipTable } from '../../src/vip/vip-table.ts';
import { endpoint, HERE, ip, key, service, slice } from './objects.ts';

const hinted = slice(
  ['zone-a', 'zone-b'].map((zone, i) => endpoint(`10.1.0.${i + 1}`, 'ready', { zoneHints: [zone] })),
);
const plainKey = 'default/plain' as ServiceKey;
const plain = service({ key: plainKey, name: 'plain', clusterIps: [ip('10.96.0.2')] });

/** A cluster of a Service with hints and one without, where only the Node changes. */
class Cluster {
  node: Node | undefined;
  readonly table: VipTable;
  readonly #services = new Map<ServiceKey, readonly [Service, readonly EndpointSlice[]]>([
    [key, [service(), [hinted]]],
    [plainKey, [plain, []]],
  ]);

  constructor(detectLocal: DetectLocal = { kind: 'NodeCIDR' }) {
    this.table = new VipTable({ nodeName: HERE, detectLocal, masqueradeAll: false });
  }

  serviceKeys = (): Iterable<ServiceKey> => this.#services.keys();
  service = (of: ServiceKey): Service | undefined => this.#services.get(of)?.[0];
  slices = (of: ServiceKey): readonly EndpointSlice[] => this.#services.get(of)?.[1] ?? [];

  /** The Node appears, or is written with this zone. */
  putNode(zone: string | undefined): void {
    this.node = { name: HERE, zone, addresses: [], podCidrs: [], isEligible: true };
  }

  refresh(...services: ServiceKey[]): Record<string, string[]> {
    return ips(this.table.refresh(this, services));
  }
}

const ips = (frontends: Map<ServiceKey, readonly Frontend[]>): Record<string, string[]> =>
  Object.fromEntries(
    [...frontends].map(([of, list]) => [of, list.flatMap((one) => one.backends.map((b) => b.ip))]),
  );

const inZone = (...addresses: string[]) => ({ [key]: addresses, [plainKey]: [] });

test('a changed zone refreshes all Services, whoever was asked for; anything else only those', () => {
  const cluster = new Cluster();
  expect(cluster.refresh(key, plainKey)).toEqual(inZone('10.1.0.1', '10.1.0.2'));
  cluster.putNode('zone-a');
  expect(cluster.refresh()).toEqual(inZone('10.1.0.1'));
  expect(cluster.refresh()).toEqual({});
  expect(cluster.refresh(plainKey)).toEqual({ [plainKey]: [] });
  cluster.putNode('zone-b');
  expect(cluster.refresh(plainKey)).toEqual(inZone('10.1.0.2'));
  cluster.node = { ...cluster.node! };
  expect(cluster.refresh()).toEqual({});
});

test('changed addresses and pod networks of the Node refresh all Services too; podCIDRs only where they count', () => {
  const cluster = new Cluster();
  cluster.putNode('zone-a');
  cluster.refresh();
  cluster.node = { ...cluster.node!, addresses: [ip('192.168.50.10')] };
  expect(cluster.refresh()).toEqual(inZone('10.1.0.1'));
  cluster.node = { ...cluster.node!, podCidrs: [parseCidr('10.1.0.0/24')!] };
  expect(cluster.refresh()).toEqual(inZone('10.1.0.1'));
  expect(cluster.refresh()).toEqual({});
  const fixed = new Cluster({ kind: 'ClusterCIDR', cidrs: [] });
  fixed.putNode('zone-a');
  fixed.refresh();
  fixed.node = { ...fixed.node!, podCidrs: [parseCidr('10.1.0.0/24')!] };
  expect(fixed.refresh()).toEqual({});
});

test('a Node without podCIDRs is a problem while local pods are told by them', () => {
  const cluster = new Cluster();
  cluster.putNode(undefined);
  cluster.refresh();
  expect(cluster.table.problems()).toEqual([
    { subject: `Node ${HERE}`, code: 'NO_POD_CIDR', reason: expect.stringContaining('spec.podCIDRs') },
  ]);
  cluster.node = { ...cluster.node!, podCidrs: [parseCidr('10.1.0.0/24')!] };
  cluster.refresh();
  expect(cluster.table.problems()).toEqual([]);
  const fixed = new Cluster({ kind: 'ClusterCIDR', cidrs: [] });
  fixed.putNode(undefined);
  fixed.refresh();
  expect(fixed.table.problems()).toEqual([]);
});

test('external IPs that are not allowed are problems of their Service, until it has none of them', () => {
  const table = new VipTable({
    nodeName: HERE,
    detectLocal: { kind: 'ClusterCIDR', cidrs: [] },
    masqueradeAll: false,
    allowedExternalIps: [parseCidr('192.0.2.0/24')!],
  });
  let externalIps = [ip('192.0.2.1'), ip('198.51.100.1'), ip('2001:db8::1')];
  const objects = {
    node: undefined,
    serviceKeys: () => [key],
    service: () => service({ externalIps }),
    slices: () => [],
  };
  expect(
    table
      .refresh(objects, [key])
      .get(key)!
      .map(({ address }) => address),
  ).toEqual(['10.96.0.1', '192.0.2.1']);
  expect(table.problems()).toEqual([
    {
      subject: `Service ${key}`,
      code: 'EXTERNAL_IP_NOT_ALLOWED',
      reason:
        'spec.externalIPs: not served, as --allow-external-ips does not allow: 198.51.100.1, 2001:db8::1',
    },
  ]);
  externalIps = [ip('192.0.2.1')];
  table.refresh(objects, [key]);
  expect(table.problems()).toEqual([]);
});

test('a zone label that goes takes its preference along', () => {
  const cluster = new Cluster();
  cluster.putNode('zone-a');
  cluster.refresh(key);
  cluster.putNode(undefined);
  expect(cluster.refresh()).toEqual(inZone('10.1.0.1', '10.1.0.2'));
});

test('the zone outlives the Node object', () => {
  const cluster = new Cluster();
  cluster.putNode('zone-a');
  cluster.refresh(key);
  cluster.node = undefined;
  expect(cluster.refresh(key)).toEqual({ [key]: ['10.1.0.1'] });
  cluster.putNode('zone-a');
  expect(cluster.refresh()).toEqual({});
});

test('a Service that is gone has no Frontends, even when the zone changes with it', () => {
  const cluster = new Cluster();
  cluster.putNode('zone-a');
  cluster.refresh();
  cluster.putNode('zone-b');
  const gone = 'default/gone' as ServiceKey;
  expect(cluster.refresh(gone)).toEqual({ ...inZone('10.1.0.2'), [gone]: [] });
});

test('what changes between the steps of a refresh is as it shall be after the next, and nobody is blamed for it', () => {
  const keys = ['a', 'b', 'c', 'd'].map((name) => `default/${name}` as ServiceKey);
  const addresses = ['10.96.0.1', '10.96.0.2', '10.96.0.3'].map(ip);
  const change = fc.record({
    afterSteps: fc.nat(4),
    key: fc.constantFrom(...keys),
    addresses: fc.subarray(addresses),
    createdAtMs: fc.nat(3),
  });
  fc.assert(
    fc.property(
      fc.array(fc.array(change, { minLength: 4, maxLength: 8 }), { minLength: 2, maxLength: 4 }),
      (refreshes) => {
        const services = new Map<ServiceKey, Service>();
        const cluster = {
          node: undefined,
          serviceKeys: () => services.keys(),
          service: (of: ServiceKey) => services.get(of),
          slices: () => [],
        };
        const newTable = () =>
          new VipTable({ nodeName: HERE, detectLocal: { kind: 'NodeCIDR' }, masqueradeAll: false });
        const table = newTable();
        const known = new Map<ServiceKey, readonly Frontend[]>();
        let dirty = new Set<ServiceKey>();
        for (const changes of [...refreshes, []]) {
          const asked = dirty;
          dirty = new Set();
          const steps = table.refreshInSteps(cluster, asked);
          for (let step = 0; ; step++) {
            for (const { afterSteps, key, addresses: clusterIps, createdAtMs } of changes) {
              if (afterSteps !== step) continue;
              dirty.add(key);
              if (clusterIps.length === 0) services.delete(key);
              else services.set(key, service({ key, name: key.split('/')[1]!, clusterIps, createdAtMs }));
            }
            const { done, value } = steps.next();
            if (!done) continue;
            for (const [of, frontends] of value) known.set(of, frontends);
            break;
          }
          for (const { reason } of table.problems()) expect(reason).not.toContain('undefined');
        }
        for (const [of, frontends] of table.refresh(cluster, dirty)) known.set(of, frontends);
        const scratch = newTable().refresh(cluster, services.keys());
        for (const [of, frontends] of known) expect(frontends).toEqual(scratch.get(of) ?? []);
      },
    ),
    { numRuns: 3000 },
  );
});
