// The listening sockets of TCP: one per family and side for all Services.

import { KernelError } from '../../errors.ts';
import { SIDES, type Side, servedSides } from '../../mode/userspace/offered-backends.ts';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import { familyOf, type Ip, type IpFamily } from '../../model/ip.ts';
import type { Frontend } from '../../vip/frontend.ts';
import type { Leaving } from './proxies-bequest.ts';
import type { ProxySockets } from './proxy-sockets.ts';
import type { TcpListener } from './tcp-listener.ts';

/** A family and side that cannot be listened for. */
export interface Unlistened {
  readonly error: KernelError;
  readonly family: IpFamily;
  readonly side: Side;
}

export class SideListeners {
  readonly #sockets: ProxySockets;
  readonly #onConnection: (fd: number, dialled: SocketAddress | undefined, side: Side) => void;
  /** By `listenerKey`: how many Frontends need it, and those that are there. */
  readonly #uses = new Map<string, number>();
  readonly #listeners = new Map<string, readonly TcpListener[]>();

  /** `dialled` is undefined where the kernel does not say, or says that it was the socket itself. */
  constructor(
    sockets: ProxySockets,
    onConnection: (fd: number, dialled: SocketAddress | undefined, side: Side) => void,
  ) {
    this.#sockets = sockets;
    this.#onConnection = onConnection;
  }

  /** One more of these Frontends, or one less. */
  countUses(frontend: Frontend, by: 1 | -1): void {
    if (frontend.protocol !== 'TCP') return;
    for (const side of servedSides(frontend)) {
      const key = listenerKey(frontend.family, side);
      this.#uses.set(key, (this.#uses.get(key) ?? 0) + by);
    }
  }

  /** Opens what is needed at these addresses and is not there. */
  open(addresses: ReadonlyMap<IpFamily, Ip>): Unlistened[] {
    const failures: Unlistened[] = [];
    for (const [family, ip] of addresses) {
      for (const side of SIDES) {
        const key = listenerKey(family, side);
        if (!this.#isNeeded(key) || this.at(family, side, ip) !== undefined) continue;
        const listener = this.#open(key, ip, side);
        if (listener instanceof KernelError) failures.push({ error: listener, family, side });
        else this.#listeners.set(key, [...this.#of(key), listener]);
      }
    }
    return failures;
  }

  /** Where clients of a side are accepted at an address of ours. */
  at(family: IpFamily, side: Side, ip: Ip | undefined): SocketAddress | undefined {
    return this.#of(listenerKey(family, side)).find(({ address }) => address.ip === ip)?.address;
  }

  /** Closes what nobody needs at these addresses. */
  release(addresses: ReadonlyMap<IpFamily, Ip>): void {
    for (const [key, listeners] of this.#listeners) {
      const isKept = ({ address: { ip } }: TcpListener): boolean =>
        this.#isNeeded(key) && addresses.get(familyOf(ip)) === ip;
      for (const listener of listeners) if (!isKept(listener)) this.#sockets.close(listener);
      this.#listeners.set(key, listeners.filter(isKept));
    }
  }

  bequeath(leaving: Leaving): void {
    for (const [key, listeners] of this.#listeners)
      for (const listener of listeners) leaving.listener(key, listener);
  }

  #of(key: string): readonly TcpListener[] {
    return this.#listeners.get(key) ?? [];
  }

  #isNeeded(key: string): boolean {
    return (this.#uses.get(key) ?? 0) > 0;
  }

  #open(key: string, ip: Ip, side: Side): TcpListener | KernelError {
    const isOwn = ({ ip, port }: SocketAddress): boolean =>
      this.#of(key).some(({ address }) => address.port === port && address.ip === ip);
    return this.#sockets.listen(
      key,
      { ip, port: 0 },
      {
        isTranslated: true,
        onConnection: (fd, dialled) =>
          this.#onConnection(fd, dialled !== undefined && isOwn(dialled) ? undefined : dialled, side),
      },
    );
  }
}

function listenerKey(family: IpFamily, side: Side): string {
  return `${family} ${side}`;
}
