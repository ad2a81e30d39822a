// All TCP connections that are led to an endpoint, and the limits to them.

import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import { familyOf } from '../../model/ip.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';
import type { Clock } from '../sync-loop.ts';
import type { Descriptors } from './descriptors.ts';
import type { LeftTcp } from './proxies-bequest.ts';
import type { Route } from './route.ts';
import { type Refusal, type ResumedConnection, TcpConnection } from './tcp-connection.ts';
import { resetConnection } from './tcp-socket.ts';
import type { Troubles } from './troubles.ts';

export interface TcpConnectionsOptions {
  readonly descriptors: Descriptors;
  readonly troubles: Troubles;
  readonly clock: Clock;
  /** Of what is sent to endpoints; 0 for none. */
  readonly mark: number;
  /** A connection to a Service that is gone has ended. */
  onLastOf(route: Route): void;
}

/**
 * Connections are looked at so often, and those that were not there the last time are kept alive from then on: most end before,
 * and eight system calls for each are spared.
 */
const LOOK_MS = 10_000;

/** The client's and the endpoint's. */
const DESCRIPTORS_EACH = 2;

export class TcpConnections {
  readonly #options: TcpConnectionsOptions;
  readonly #connections = new Set<TcpConnection>();
  /** Of those who wait until there are none. */
  readonly #waiting: (() => void)[] = [];
  /** Since the last look. */
  readonly #young = new Set<TcpConnection>();
  #cancelLook: (() => void) | undefined;

  constructor(options: TcpConnectionsOptions) {
    this.#options = options;
  }

  /** Leads a client that was accepted, and not read from, to an endpoint; or resets it. Owns the descriptor. */
  lead(client: number, dialled: SocketAddress, route: Route): void {
    const { descriptors, troubles } = this.#options;
    const { service, port } = route;
    const { maxConnections } = route.frontend;
    if (maxConnections !== undefined && service.open >= maxConnections) {
      const reason = `it has ${maxConnections} connections, the most that it asked for; others are refused`;
      troubles.note({ code: 'CONNECTION_LIMIT', service: service.key, reason });
      port.traffic.refused++;
      resetConnection(client);
      return;
    }
    if (!descriptors.take(DESCRIPTORS_EACH)) {
      descriptors.refuse(troubles);
      port.traffic.refused++;
      resetConnection(client);
      return;
    }
    this.#start(client, dialled, route).dial();
  }

  /** Goes on with a connection that was left, whose descriptors it owns; resets it where there are too many. */
  resume(
    client: number,
    endpoint: number,
    dialled: SocketAddress,
    route: Route,
    left: ResumedConnection,
  ): void {
    const { descriptors, troubles } = this.#options;
    if (!descriptors.take(DESCRIPTORS_EACH)) {
      descriptors.refuse(troubles);
      for (const fd of [client, endpoint]) resetConnection(fd);
      return;
    }
    this.#start(client, dialled, route).resume(endpoint, left);
  }

  #start(client: number, dialled: SocketAddress, route: Route): TcpConnection {
    const { clock, mark } = this.#options;
    route.service.open++;
    const connection = new TcpConnection({
      ...{ client, dialled, route, clock, mark },
      onEnd: (refusal) => this.#ended(connection, route, refusal),
    });
    this.#connections.add(connection);
    this.#young.add(connection);
    this.#cancelLook ??= clock.after(LOOK_MS, this.#look);
    return connection;
  }

  /** All of them, for others to go on with. */
  *leave(): Generator<LeftTcp> {
    for (const connection of [...this.#connections]) {
      const { dialled, route } = connection;
      const left = connection.leave();
      if (left === undefined) continue;
      yield {
        ...left,
        dialled,
        side: route.side,
        family: familyOf(dialled.ip),
        service: route.service.key,
        displayName: route.port.displayName,
        unsentToEndpoint: Buffer.from(left.unsentToEndpoint).toString('base64'),
        unsentToClient: Buffer.from(left.unsentToClient).toString('base64'),
      };
    }
  }

  /** Resets those that are asked about, by what was dialled and the endpoint that answered. Returns how many. */
  resetIf(isUnwanted: (frontend: Frontend, backend: Backend) => boolean): number {
    const unwanted = [...this.#connections].filter(
      ({ frontend, backend }) => backend !== undefined && isUnwanted(frontend, backend),
    );
    for (const connection of unwanted) connection.abort();
    return unwanted.length;
  }

  readonly #look = (): void => {
    for (const connection of this.#young) {
      if (connection.backend === undefined) continue;
      connection.keepAlive();
      this.#young.delete(connection);
    }
    this.#cancelLook = this.#young.size > 0 ? this.#options.clock.after(LOOK_MS, this.#look) : undefined;
  };

  /** Resets all of them. Settles when they are closed. */
  async close(): Promise<void> {
    this.#cancelLook?.();
    for (const connection of this.#connections) connection.abort();
    await this.drained();
  }

  /** Settles when there are none. */
  async drained(): Promise<void> {
    if (this.#connections.size > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #ended(connection: TcpConnection, route: Route, refusal: Refusal | undefined): void {
    const { descriptors, troubles, onLastOf } = this.#options;
    const { service, port } = route;
    this.#connections.delete(connection);
    this.#young.delete(connection);
    descriptors.give(DESCRIPTORS_EACH);
    service.open--;
    if (refusal === 'no-endpoint') {
      const reason = `no endpoint of ${port.displayName} answered`;
      troubles.note({ code: 'NO_ENDPOINT', service: service.key, reason });
    }
    if (refusal === 'no-descriptor') descriptors.refuse(troubles);
    if (refusal !== undefined && refusal !== 'client-gone') port.traffic.refused++;
    if (service.frontends.length === 0) onLastOf(route);
    if (this.#connections.size === 0) for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
