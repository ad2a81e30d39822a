// Node ports at the loopback addresses, for clients of this host: they are served as everybody inside, and no rule leads there.

import { KernelError } from '../../errors.ts';
import { offeredBackends } from '../../mode/userspace/offered-backends.ts';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import type { Ip, IpFamily } from '../../model/ip.ts';
import { type Frontend, frontendKey } from '../../vip/frontend.ts';
import type { SyncFailure } from '../backend.ts';
import type { Leaving } from './proxies-bequest.ts';
import type { ProxySockets } from './proxy-sockets.ts';
import type { Route } from './route.ts';
import { routeOf, type Served } from './served.ts';
import type { TcpListener } from './tcp-listener.ts';
import { UdpPortal } from './udp-portal.ts';

const LOOPBACK: Readonly<Record<IpFamily, Ip>> = { 4: '127.0.0.1' as Ip, 6: '::1' as Ip };

export class LoopbackListeners {
  readonly #sockets: ProxySockets;
  readonly #families: readonly IpFamily[];
  readonly #onConnection: (fd: number, dialled: SocketAddress, route: Route) => void;
  /** Those that may lack a socket. */
  readonly #lacking = new Set<Served>();

  constructor(
    sockets: ProxySockets,
    families: readonly IpFamily[],
    onConnection: (fd: number, dialled: SocketAddress, route: Route) => void,
  ) {
    this.#sockets = sockets;
    this.#families = families;
    this.#onConnection = onConnection;
  }

  /** A Frontend that is new, or another now. */
  set(served: Served): void {
    if (served.local instanceof UdpPortal) served.local.endGone();
    if (!this.#isWanted(served.frontend)) this.remove(served);
    else if (served.local === undefined) this.#lacking.add(served);
  }

  remove(served: Served): void {
    this.#lacking.delete(served);
    this.#close(served);
  }

  async open(): Promise<SyncFailure[]> {
    const failures: SyncFailure[] = [];
    for (const served of this.#lacking) {
      const listener = await this.#open(served);
      if (listener instanceof KernelError) {
        failures.push({ error: listener, services: [served.service.key] });
        continue;
      }
      served.local = listener;
      this.#lacking.delete(served);
    }
    return failures;
  }

  bequeath({ frontend, local }: Served, leaving: Leaving): void {
    leaving.listener(localKey(frontend), local);
  }

  #isWanted(frontend: Frontend): boolean {
    const isNodePort = frontend.address === undefined && this.#families.includes(frontend.family);
    return isNodePort && offeredBackends(frontend, 'inside').length > 0;
  }

  async #open(served: Served): Promise<TcpListener | UdpPortal | KernelError> {
    const { frontend } = served;
    const address = { ip: LOOPBACK[frontend.family], port: frontend.port };
    const key = localKey(frontend);
    const route = (): Route => routeOf(served, 'inside', this.#sockets.clock);
    if (served.portals !== undefined) return this.#sockets.openPortal(key, address, route());
    return this.#sockets.listen(key, address, {
      isTranslated: false,
      onConnection: (fd) => this.#onConnection(fd, address, route()),
    });
  }

  /** At once, for no rule leads there; TCP connections go on. */
  #close(served: Served): void {
    if (served.local !== undefined) this.#sockets.close(served.local);
    served.local = undefined;
  }
}

function localKey(frontend: Frontend): string {
  return `${frontendKey(frontend)} local ${frontend.displayName}`;
}
