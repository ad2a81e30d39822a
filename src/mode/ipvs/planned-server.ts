// A Frontend in this mode's terms: a virtual server with its real servers.

import type { Ip } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type {
  Forwarding,
  RealServer,
  RealServerKey,
  VirtualServer,
  VirtualServerKey,
  VirtualServerSettings,
} from '../../netlink/ipvs/virtual-server.ts';
import { type Backend, type Frontend, frontendKey } from '../../vip/frontend.ts';
import { schedulingOf } from './scheduler.ts';

/** One virtual server; for a node port, one for each address that serves it. */
export interface PlannedServer {
  readonly service: ServiceKey;
  readonly displayName: string;
  readonly family: Frontend['family'];
  readonly protocol: Frontend['protocol'];
  /** undefined for a node port. */
  readonly address: Ip | undefined;
  readonly port: number;
  readonly settings: VirtualServerSettings;
  readonly forwarding: Forwarding;
  readonly backends: readonly Backend[];
}

/** `10.96.0.10:53/UDP`: what a virtual server is called, here and in messages. */
export function serverId(key: Pick<VirtualServerKey, 'family' | 'address' | 'port' | 'protocol'>): string {
  return frontendKey(key);
}

/** `*v4:31906/TCP` */
export function nodePortId({ family, port, protocol }: Omit<VirtualServerKey, 'address'>): string {
  return frontendKey({ address: undefined, family, port, protocol });
}

export function realId({ address, port }: Pick<RealServerKey, 'address' | 'port'>): string {
  return `${address} ${port}`;
}

/** The virtual server of a Frontend, which is `routed`. */
export function planServer(frontend: Frontend, defaultScheduler: string): PlannedServer {
  const { service, displayName, family, protocol, address, port, backends, isDirect = false } = frontend;
  return {
    service,
    displayName,
    family,
    protocol,
    address,
    port,
    settings: settingsOf(frontend, defaultScheduler),
    forwarding: isDirect ? 'tunnel' : 'masquerade',
    backends,
  };
}

export function settingsOf(
  frontend: Pick<Frontend, 'family' | 'scheduler' | 'schedulerFlags' | 'backends' | 'affinityTimeoutSeconds'>,
  defaultScheduler: string,
): VirtualServerSettings {
  return {
    ...schedulingOf(frontend, defaultScheduler),
    persistenceSeconds: frontend.affinityTimeoutSeconds,
    persistencePrefix: frontend.family === 4 ? 32 : 128,
  };
}

/** With an address of its own. */
export function virtualServerAt(
  { family, protocol, port, settings }: PlannedServer,
  address: Ip,
): VirtualServer {
  return { family, protocol, address, port, ...settings };
}

export function realServersOf({ backends, family, forwarding }: PlannedServer): RealServer[] {
  return backends.map(({ ip, port, weight }) => ({ family, address: ip, port, weight, forwarding }));
}
