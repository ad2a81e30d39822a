// The kernel's IPVS table as it is listed: what was configured and what the kernel counted.

import type {
  MarkedServerKey,
  RealServer,
  RealServerConnections,
  VirtualServer,
  VirtualServerSettings,
} from './virtual-server.ts';

/** Since the object was made, or its counters were cleared. Exact up to 2^53, rounded above. */
export interface TrafficStats {
  readonly connections: number;
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

interface ListedServer {
  readonly stats: TrafficStats;
  /** What finds a client's persistence template in its packets, such as `sip`; by address without one. */
  readonly persistenceEngine?: string;
}

export interface ListedVirtualServer extends VirtualServer, ListedServer {}

/** A virtual server that is found by a packet's mark. */
export interface ListedMarkedServer extends MarkedServerKey, VirtualServerSettings, ListedServer {}

/** Packets to the real server travel in packets of this kind; plain IP in IP where there is none. */
export interface Tunnel {
  readonly type: 'gue' | 'gre';
  /** UDP port of GUE at the real server; 0 for GRE. */
  readonly port: number;
  /** IP_VS_TUNNEL_ENCAP_FLAG_CSUM (1) and _REMCSUM (2). */
  readonly flags: number;
}

export interface ListedRealServer extends RealServer, RealServerConnections {
  readonly stats: TrafficStats;
  /** Connections at which it gets no more until it is below `lowerThreshold` again; none without it. */
  readonly upperThreshold?: number;
  readonly lowerThreshold?: number;
  /** Only with forwarding by tunnel. */
  readonly tunnel?: Tunnel;
}

export interface TableEntry {
  readonly server: ListedVirtualServer | ListedMarkedServer;
  readonly realServers: readonly ListedRealServer[];
}

/** Seconds without a packet after which a connection is forgotten; in a request 0 leaves one as it is. */
export interface IpvsTimeouts {
  readonly tcp: number;
  /** After a FIN. */
  readonly tcpFin: number;
  readonly udp: number;
}

export interface IpvsInfo {
  /** `1.2.1` */
  readonly version: string;
  /** Buckets of the table of connections. */
  readonly connectionTableSize: number;
}

/** True for a virtual server that is found by a packet's mark: it has no address. */
export function isMarked(server: ListedVirtualServer | ListedMarkedServer): server is ListedMarkedServer {
  return 'firewallMark' in server;
}
