// The table follows the Node's zone by itself, and gives every Service what building it afresh would.

import { expect, test } from 'vitest';
import type { EndpointSlice, Node, Service, ServiceKey } from '../../src/model/types.ts';
import type { Frontend } from '../../src/vip/frontend.ts';
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
  readonly table = new VipTable({ nodeName: HERE, detectLocal: { kind: 'NodeCIDR' }, masqueradeAll: false });
  readonly #services = new Map<ServiceKey, readonly [Service, readonly EndpointSlice[]]>([
    [key, [service(), [hinted]]],
    [plainKey, [plain, []]],
  ]);

  serviceKeys = (): Iterable<ServiceKey> => this.#services.keys();
  service = (of: ServiceKey): Service | undefined => this.#services.get(of)?.[0];
  slices = (of: ServiceKey): readonly EndpointSlice[] => this.#services.get(of)?.[1] ?? [];

  /** The Node appears, or is written with this zone. */
  putNode(zone: string | undefined): void {
    this.node = { name: HERE, zone, addresses: [], podCidrs: [] };
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
  cluster.node = { ...cluster.node!, addresses: [ip('192.168.50.10')] };
  expect(cluster.refresh()).toEqual({});
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
