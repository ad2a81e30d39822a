// Opens and closes the sockets of proxies that wait for clients: each takes one of the descriptors that there may be, and is one that
// another process has left where it has left one.

import { KernelError } from '../../errors.ts';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import type { UdpTimeouts } from '../../mode/userspace/udp-clients.ts';
import type { Clock } from '../sync-loop.ts';
import type { Descriptors } from './descriptors.ts';
import { listenError } from './listen-error.ts';
import type { Inheritance } from './proxies-bequest.ts';
import type { Route } from './route.ts';
import { TcpListener, type TcpListenerOptions } from './tcp-listener.ts';
import type { Troubles } from './troubles.ts';
import { UdpPortal } from './udp-portal.ts';

export interface ProxySocketsOptions {
  readonly descriptors: Descriptors;
  readonly troubles: Troubles;
  readonly clock: Clock;
  /** Of what is sent to endpoints; 0 for none. */
  readonly mark: number;
  readonly udpTimeouts: UdpTimeouts;
  readonly maxUdpClients: number;
  /** What another process has left and nobody has claimed. */
  readonly inheritance: Inheritance | undefined;
}

export class ProxySockets {
  readonly #options: ProxySocketsOptions;

  constructor(options: ProxySocketsOptions) {
    this.#options = options;
  }

  get clock(): Clock {
    return this.#options.clock;
  }

  /** `key`, here and below, is what an earlier process has left a socket there under. */
  listen(
    key: string,
    address: SocketAddress,
    options: Pick<TcpListenerOptions, 'isTranslated' | 'onConnection'>,
  ): TcpListener | KernelError {
    const { descriptors, clock, inheritance } = this.#options;
    if (!descriptors.take(1)) return exhausted(address);
    const listener = TcpListener.open(address, {
      ...options,
      fd: inheritance?.claim(key, address.ip)?.fd,
      clock,
      onError: this.#noteRefusal,
    });
    return this.#counted(listener);
  }

  async openPortal(key: string, address: SocketAddress, route: Route): Promise<UdpPortal | KernelError> {
    const { descriptors, troubles, clock, mark, udpTimeouts, maxUdpClients, inheritance } = this.#options;
    if (!descriptors.take(1)) return exhausted(address);
    const portal = await UdpPortal.open(address, {
      ...{ mark, route, descriptors, troubles, clock },
      fd: inheritance?.claim(key, address.ip)?.fd,
      timeouts: udpTimeouts,
      maxClients: maxUdpClients,
    });
    return this.#counted(portal);
  }

  close(socket: TcpListener | UdpPortal): void {
    socket.close();
    this.#options.descriptors.give(1);
  }

  #counted<T>(opened: T | KernelError): T | KernelError {
    if (opened instanceof KernelError) this.#options.descriptors.give(1);
    return opened;
  }

  readonly #noteRefusal = ({ code }: KernelError): void => {
    const reason = `a connection could not be accepted: ${code}`;
    this.#options.troubles.note({ code: 'ACCEPT', service: undefined, reason });
  };
}

function exhausted(address: SocketAddress): KernelError {
  return listenError(address, 'EMFILE', 24);
}
