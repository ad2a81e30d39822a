// The table of commands.ts's LISTED as our values. The kernel lists virtual servers by a hash that differs with every boot.

import type { Ip } from '../../../src/model/ip.ts';
import type {
  ListedMarkedServer,
  ListedRealServer,
  ListedVirtualServer,
  TableEntry,
} from '../../../src/netlink/ipvs/table.ts';

const stats = { connections: 0, packetsIn: 0, packetsOut: 0, bytesIn: 0, bytesOut: 0 };

const virtualServer = (
  address: string,
  rest: Pick<ListedVirtualServer, 'port' | 'protocol' | 'scheduler'> & Partial<ListedVirtualServer>,
): ListedVirtualServer => ({
  family: 4,
  address: address as Ip,
  flags: 0,
  persistenceSeconds: undefined,
  persistencePrefix: 32,
  stats,
  ...rest,
});

const marked = (firewallMark: number, rest: Partial<ListedMarkedServer>): ListedMarkedServer => ({
  family: 4,
  firewallMark,
  scheduler: 'rr',
  flags: 0,
  persistenceSeconds: undefined,
  persistencePrefix: 32,
  stats,
  ...rest,
});

const realServer = (address: string, rest: Partial<ListedRealServer>): ListedRealServer => ({
  family: 4,
  address: address as Ip,
  port: 53,
  weight: 1,
  forwarding: 'masquerade',
  active: 0,
  inactive: 0,
  persistent: 0,
  stats,
  ...rest,
});

const tunnel = { forwarding: 'tunnel' } as const;

export const TABLE: readonly TableEntry[] = [
  {
    server: virtualServer('10.96.0.12', { protocol: 'UDP', port: 53, scheduler: 'rr', flags: 0x4 }),
    realServers: [],
  },
  {
    server: virtualServer('10.96.0.10', { protocol: 'TCP', port: 53, scheduler: 'rr' }),
    realServers: [
      realServer('fd00:10:1::9', { family: 6, ...tunnel }),
      realServer('10.1.0.11', { ...tunnel, tunnel: { type: 'gre', port: 0, flags: 1 } }),
      realServer('10.1.0.10', { ...tunnel, tunnel: { type: 'gue', port: 6080, flags: 2 } }),
      realServer('10.1.0.9', tunnel),
      realServer('10.1.0.8', { forwarding: 'route' }),
      realServer('10.1.0.7', { port: 5353, weight: 5, upperThreshold: 100, lowerThreshold: 50 }),
    ],
  },
  {
    server: virtualServer('10.96.0.11', { protocol: 'SCTP', port: 65535, scheduler: 'sh', flags: 0x18 }),
    realServers: [],
  },
  {
    server: virtualServer('fd00:10:96::a', {
      family: 6,
      protocol: 'TCP',
      port: 443,
      scheduler: 'mh',
      flags: 0x18,
      persistenceSeconds: 10_800,
      persistencePrefix: 64,
    }),
    realServers: [realServer('fd00:10:1::7', { family: 6, port: 8443, weight: 65_535 })],
  },
  {
    server: virtualServer('10.96.0.10', {
      protocol: 'UDP',
      port: 5060,
      scheduler: 'wlc',
      persistenceSeconds: 300,
      persistencePrefix: 24,
      persistenceEngine: 'sip',
    }),
    realServers: [],
  },
  { server: marked(7, {}), realServers: [realServer('10.1.0.7', { port: 80 })] },
  { server: marked(4_294_967_295, { family: 6, scheduler: 'wrr', persistencePrefix: 128 }), realServers: [] },
];
