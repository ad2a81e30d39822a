// The UDP sockets of Frontends: one for each, and for each side.
//
// INVARIANTS: a socket that no Frontend needs any more stays until `release`, for rules may still lead there.

import { KernelError } from '../../errors.ts';
import { SIDES, type Side, servedSides } from '../../mode/userspace/offered-backends.ts';
import type { Ip, IpFamily } from '../../model/ip.ts';
import { type Frontend, frontendKey } from '../../vip/frontend.ts';
import type { SyncFailure } from '../backend.ts';
import type { Leaving } from './proxies-bequest.ts';
import type { ProxySockets } from './proxy-sockets.ts';
import { routeOf, type Served } from './served.ts';
import type { UdpPortal } from './udp-portal.ts';

/** What is asked about Frontends of TCP changes nothing. */
export class UdpPortals {
  readonly #sockets: ProxySockets;
  /** Those that may lack a socket. */
  readonly #lacking: Readonly<Record<IpFamily, Set<Served>>> = { 4: new Set(), 6: new Set() };
  #unused: UdpPortal[] = [];

  constructor(sockets: ProxySockets) {
    this.#sockets = sockets;
  }

  add(served: Served): void {
    if (served.portals !== undefined) this.#lacking[served.frontend.family].add(served);
  }

  /** Its Frontend is another now. */
  replaced(served: Served): void {
    if (served.portals === undefined) return;
    const sides = servedSides(served.frontend);
    for (const side of SIDES) {
      if (sides.includes(side)) served.portals[side]?.endGone();
      else this.#abandon(served, side);
    }
    this.add(served);
  }

  /** It has to be at another address. */
  move(served: Served): void {
    for (const side of SIDES) this.#abandon(served, side);
    this.add(served);
  }

  remove(served: Served): void {
    this.#lacking[served.frontend.family].delete(served);
    for (const side of SIDES) this.#abandon(served, side);
  }

  async open(addresses: ReadonlyMap<IpFamily, Ip>): Promise<SyncFailure[]> {
    const failures: SyncFailure[] = [];
    for (const [family, ip] of addresses) {
      for (const served of this.#lacking[family]) {
        const error = await this.#open(served, ip);
        if (error === undefined) this.#lacking[family].delete(served);
        else failures.push({ error, services: [served.service.key] });
      }
    }
    return failures;
  }

  /** Closes what no Frontend needs any more. */
  release(): void {
    for (const portal of this.#unused) this.#sockets.close(portal);
    this.#unused = [];
  }

  /** Clients of these that have asked since their last answer. */
  unansweredOf({ portals }: Served): number {
    return SIDES.reduce((sum, side) => sum + (portals?.[side]?.unanswered ?? 0), 0);
  }

  bequeath({ frontend, portals }: Served, leaving: Leaving): void {
    for (const side of SIDES) leaving.listener(portalKey(frontend, side), portals?.[side]);
  }

  /** Nobody is served there any more. */
  #abandon({ portals }: Served, side: Side): void {
    const portal = portals?.[side];
    if (portal === undefined) return;
    portal.endAll();
    this.#unused.push(portal);
    delete portals![side];
  }

  async #open(served: Served, ip: Ip): Promise<KernelError | undefined> {
    for (const side of servedSides(served.frontend)) {
      if (served.portals![side] !== undefined) continue;
      const route = routeOf(served, side, this.#sockets.clock);
      const key = portalKey(served.frontend, side);
      const portal = await this.#sockets.openPortal(key, { ip, port: 0 }, route);
      if (portal instanceof KernelError) return portal;
      served.portals![side] = portal;
    }
    return undefined;
  }
}

/** Of a UDP Frontend's socket, which is another one where its display name is another. */
function portalKey(frontend: Frontend, side: Side): string {
  return `${frontendKey(frontend)} ${side} ${frontend.displayName}`;
}
