import { expect, test } from 'vitest';
import { planCleanup } from '../../../src/mode/ipvs/cleanup.ts';
import { type Ip, parseCidr } from '../../../src/model/ip.ts';
import type { TableEntry } from '../../../src/netlink/ipvs/table.ts';

const STATS = { connections: 0, packetsIn: 0, packetsOut: 0, bytesIn: 0, bytesOut: 0 };
const entry = (address: string, port: number, ...realServers: string[]): TableEntry => ({
  server: {
    family: 4,
    protocol: 'TCP',
    address: address as Ip,
    port,
    scheduler: 'rr',
    flags: 0,
    persistenceSeconds: undefined,
    persistencePrefix: 32,
    stats: STATS,
  },
  realServers: realServers.map((one) => ({
    family: 4,
    address: one as Ip,
    port: 8080,
    weight: 1,
    forwarding: 'masquerade',
    active: 0,
    inactive: 0,
    persistent: 0,
    stats: STATS,
  })),
});
const BY_MARK: TableEntry = {
  server: {
    family: 4,
    firewallMark: 7,
    scheduler: 'rr',
    flags: 0,
    persistenceSeconds: undefined,
    persistencePrefix: 32,
    stats: STATS,
  },
  realServers: [],
};
const TABLE = [
  BY_MARK,
  entry('10.96.0.1', 80, '10.1.0.11', '10.1.0.12'),
  entry('192.168.50.10', 30080, '10.1.0.12', '10.1.0.11'),
  entry('192.168.50.10', 30443, '10.9.0.9'),
  entry('192.168.50.10', 443, '10.1.0.11', '10.1.0.12'),
  entry('203.0.113.9', 80, '10.1.0.11'),
];
const BOUND = new Set(['10.96.0.1' as Ip]);

function removed(ledger: string[] | undefined, includesKubeProxy = false): string[] {
  const { requests } = planCleanup(TABLE, {
    boundAddresses: BOUND,
    ledger: ledger && new Set(ledger),
    excludedCidrs: [],
    includesKubeProxy,
  });
  return requests.map(({ kind, virtualServer }) => `${kind} ${virtualServer.address}:${virtualServer.port}`);
}

test("ours are those on the device and those that the gate knows; nobody else's go", () => {
  expect(removed(['192.168.50.10:30443/TCP'])).toEqual([
    'delete virtual server 10.96.0.1:80',
    'delete virtual server 192.168.50.10:30443',
  ]);
});

test("without a gate all of it is a kube-proxy's", () => {
  expect(removed(undefined)).toEqual([]);
  // Its node ports are told by leading where a cluster IP does.
  expect(removed(undefined, true)).toEqual([
    'delete virtual server 10.96.0.1:80',
    'delete virtual server 192.168.50.10:30080',
  ]);
});

test('the device goes with what was ours', () => {
  const plan = (ledger: Set<string> | undefined, includesKubeProxy: boolean) =>
    planCleanup([], { boundAddresses: new Set(), ledger, excludedCidrs: [], includesKubeProxy }).takesDevice;
  expect([plan(undefined, false), plan(undefined, true), plan(new Set(), false)]).toEqual([
    false,
    true,
    true,
  ]);
});

test('what is on the device and in an excluded network stays, unless the gate knows it', () => {
  const plan = (ledger: string[]) =>
    planCleanup(TABLE, {
      boundAddresses: new Set(['10.96.0.1', '203.0.113.9'] as Ip[]),
      ledger: new Set(ledger),
      excludedCidrs: [parseCidr('203.0.113.0/24')!],
      includesKubeProxy: false,
    });
  const addresses = (ledger: string[]) => plan(ledger).requests.map((one) => one.virtualServer.address);
  expect(addresses([])).toEqual(['10.96.0.1']);
  expect(plan([]).keptAddresses).toEqual(['203.0.113.9']);
  expect(addresses(['203.0.113.9:80/TCP'])).toEqual(['10.96.0.1', '203.0.113.9']);
  expect(plan(['203.0.113.9:80/TCP']).keptAddresses).toEqual([]);
});
