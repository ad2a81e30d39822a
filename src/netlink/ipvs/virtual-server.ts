// IPVS as plain values: virtual servers and their real servers (include/uapi/linux/ip_vs.h).

import type { Ip, IpFamily } from '../../model/ip.ts';
import type { Protocol } from '../../model/types.ts';

/** How a packet goes on to its real server: IP_VS_CONN_F_MASQ, _LOCALNODE, _TUNNEL, _DROUTE, _BYPASS. */
export type Forwarding = 'masquerade' | 'local' | 'tunnel' | 'route' | 'bypass';

/** What the kernel finds a virtual server by, for the packets of one family. */
export interface VirtualServerKey {
  readonly family: IpFamily;
  readonly protocol: Protocol;
  readonly address: Ip;
  /** 1 to 65535; 0 for a persistent service of every port. */
  readonly port: number;
}

/** A virtual server of somebody else, found by a packet's mark. Never ours; listed so that it is not lost. */
export interface MarkedServerKey {
  readonly family: IpFamily;
  /** 1 to 2^32 - 1. */
  readonly firewallMark: number;
}

export interface VirtualServerSettings {
  /** The kernel's name: `rr`, `wlc`, `mh` and so on. */
  readonly scheduler: string;
  /** IP_VS_SVC_F_SCHED1 to 3 (0x8, 0x10, 0x20) and IP_VS_SVC_F_ONEPACKET (0x4); persistence and hashing are not here. */
  readonly flags: number;
  /** Seconds for which a client keeps its real server after its last connection; undefined without IP_VS_SVC_F_PERSISTENT. */
  readonly persistenceSeconds: number | undefined;
  /** Bits of a client's address that persistence looks at: 32 or 128 for a client by itself. */
  readonly persistencePrefix: number;
}

export interface VirtualServer extends VirtualServerKey, VirtualServerSettings {}

/** What makes a real server unique within its virtual server. */
export interface RealServerKey {
  readonly family: IpFamily;
  readonly address: Ip;
  /** 1 to 65535. */
  readonly port: number;
}

export interface RealServer extends RealServerKey {
  /** 0 takes no new connections, but keeps those it has. */
  readonly weight: number;
  readonly forwarding: Forwarding;
}

/** What the kernel counts for a real server. */
export interface RealServerConnections {
  readonly active: number;
  readonly inactive: number;
  /** Persistence templates. */
  readonly persistent: number;
}
