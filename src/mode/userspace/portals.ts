// A Frontend as the portals see it: the table of nftables mode, which lets in, keeps out and refuses as it does there, but whose
// only backend is a proxy on this host. Which endpoint a connection gets is the proxy's business, and it dials it by this node's
// address: there is nothing to masquerade.

import { type Ip, packIp } from '../../model/ip.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';
import { packPort, packProtocol } from '../nftables/names.ts';
import { type PlannedFrontend, type Previous, planFrontend } from '../nftables/planned-frontend.ts';
import { type Side, servedSides } from './offered-backends.ts';

/** Their table, once per family. */
export const PORTAL_TABLE = 'kproxy-ts-userspace';

/** Where a proxy listens. */
export interface Portal {
  readonly ip: Ip;
  /** 1 to 65535; 0 where a plan is only shown, for one that is yet to be chosen. */
  readonly port: number;
}

/** Where the rules have to send the clients of a Frontend; undefined while it cannot be served. */
export type PortalOf = (frontend: Frontend, side: Side) => Portal | undefined;

/** Proxies have no sockets of SCTP: the rules balance it, as in nftables mode. */
export function isProxied({ protocol }: Pick<Frontend, 'protocol'>): boolean {
  return protocol !== 'SCTP';
}

export interface PortalFrontend {
  readonly frontend: Frontend;
  /** That it leads to. */
  readonly portals: readonly Portal[];
}

/**
 * The same Frontend with proxies for backends. One that is not served on some side, for want of a proxy, is refused as if it had
 * no endpoints: whom it keeps out it still keeps out.
 */
export function portalFrontend(frontend: Frontend, portalOf: PortalOf): PortalFrontend {
  const { schedulerFlags: _, isDirect: __, insideBackends, ...rest } = frontend;
  const portals = servedSides(frontend).map((side) => ({ side, portal: portalOf(frontend, side) }));
  const found = portals.flatMap(({ portal }) => portal ?? []);
  const isServed = found.length === portals.length;
  const behind = (side: Side): readonly Backend[] =>
    portals.flatMap((one) => (one.side === side && one.portal !== undefined ? [proxy(one.portal)] : []));
  return {
    frontend: {
      ...rest,
      masquerade: 'never',
      scheduler: 'random',
      affinityTimeoutSeconds: undefined,
      backends: isServed ? behind('outside') : [],
      insideBackends: insideBackends === undefined || !isServed ? undefined : behind('inside'),
      whenEmpty: isServed ? rest.whenEmpty : 'refuse',
    },
    portals: isServed ? found : [],
  };
}

/** What the table has for a Frontend. */
export function planPortal(frontend: Frontend, previous: Previous, portalOf: PortalOf): PlannedFrontend {
  if (!isProxied(frontend)) return planFrontend(frontend, previous);
  const { frontend: led, portals } = portalFrontend(frontend, portalOf);
  const protocol = packProtocol(frontend.protocol);
  return {
    ...planFrontend(led, previous),
    portals: [...new Set(portals.map(({ ip, port }) => packIp(ip) + protocol + packPort(port)))],
  };
}

/** A proxy is no endpoint that may dial itself through a virtual address. */
function proxy({ ip, port }: Portal): Backend {
  return { ip, port, isMaybeLocal: false, weight: 1 };
}
