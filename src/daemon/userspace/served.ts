// A Frontend that may be dialled, and what serves it.

import type { Side } from '../../mode/userspace/offered-backends.ts';
import type { Frontend } from '../../vip/frontend.ts';
import type { Clock } from '../sync-loop.ts';
import { Route } from './route.ts';
import type { RoutedService } from './routed-service.ts';
import type { TcpListener } from './tcp-listener.ts';
import type { UdpPortal } from './udp-portal.ts';

export interface Served {
  frontend: Frontend;
  readonly service: RoutedService;
  /** Made when they are needed. */
  readonly routes: { [S in Side]?: Route };
  /** Of UDP. */
  readonly portals: { [S in Side]?: UdpPortal } | undefined;
  /** At the loopback address. */
  local: TcpListener | UdpPortal | undefined;
}

/** Where its clients of a side are led. */
export function routeOf(served: Served, side: Side, clock: Clock): Route {
  served.routes[side] ??= new Route(served.service, served.frontend, side, clock);
  return served.routes[side];
}
