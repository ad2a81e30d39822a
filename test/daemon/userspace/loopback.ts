// Proxied TCP connections of this process's own, on loopback: a listener whose connections all lead to one Frontend.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type Clock, systemClock } from '../../../src/daemon/sync-loop.ts';
import { Descriptors } from '../../../src/daemon/userspace/descriptors.ts';
import type { LeftTcp } from '../../../src/daemon/userspace/proxies-bequest.ts';
import { Route } from '../../../src/daemon/userspace/route.ts';
import { RoutedService } from '../../../src/daemon/userspace/routed-service.ts';
import { TcpConnections } from '../../../src/daemon/userspace/tcp-connections.ts';
import { TcpListener } from '../../../src/daemon/userspace/tcp-listener.ts';
import { type Trouble, Troubles } from '../../../src/daemon/userspace/troubles.ts';
import type { Ip } from '../../../src/model/ip.ts';
import { type FrontendSpec, frontend } from '../../support/frontends.ts';

export const LOCALHOST = '127.0.0.1' as Ip;

/** What clients are said to have dialled. */
const DIALLED = { ip: '10.96.0.1' as Ip, port: 80 };

export class Loopback {
  readonly service = new RoutedService(frontend('web', { address: '10.96.0.1', backends: [] }).service);
  readonly descriptors: Descriptors;
  readonly troubles: (Trouble & { readonly times: number })[] = [];
  readonly clock: Clock;
  readonly #connections: TcpConnections;
  readonly #sockets = new Set<Socket>();
  readonly #servers = new Set<Server>();
  #route: Route | undefined;
  #listener: TcpListener | undefined;

  constructor(options: { readonly descriptors?: Descriptors; readonly clock?: Clock } = {}) {
    this.descriptors = options.descriptors ?? new Descriptors({ limit: 10_000, countOpen: () => undefined });
    this.clock = options.clock ?? systemClock;
    this.#connections = new TcpConnections({
      descriptors: this.descriptors,
      troubles: new Troubles((trouble) => this.troubles.push(trouble), this.clock),
      clock: this.clock,
      mark: 0,
      onLastOf: () => undefined,
    });
  }

  get route(): Route {
    return this.#route!;
  }

  /** Where clients are accepted. */
  get port(): number {
    return this.#listener!.address.port;
  }

  /** What connections lead to from now on. */
  async serve(spec: Partial<FrontendSpec> & { readonly backends: readonly string[] }): Promise<void> {
    const served = frontend('web', { address: '10.96.0.1', ...spec });
    this.service.set([served]);
    this.#route ??= new Route(this.service, served, 'outside', this.clock);
    this.#route.replace(served);
    this.#listener ??= TcpListener.open(
      { ip: LOCALHOST, port: 0 },
      {
        isTranslated: false,
        clock: this.clock,
        onConnection: (client) => this.#connections.lead(client, DIALLED, this.route),
        onError: (error) =>
          this.troubles.push({ code: 'ACCEPT', service: undefined, reason: error.message, times: 1 }),
      },
    ) as TcpListener;
  }

  /** Gives all connections away, as to another process. */
  leave(): LeftTcp[] {
    return [...this.#connections.leave()];
  }

  /** Goes on with connections that were left with an endpoint. */
  resume(left: readonly LeftTcp[]): void {
    for (const { client, endpoint, backend, unsentToEndpoint, unsentToClient } of left) {
      this.#connections.resume(client, endpoint!, DIALLED, this.route, {
        backend: backend!,
        unsentToEndpoint: Buffer.from(unsentToEndpoint, 'base64'),
        unsentToClient: Buffer.from(unsentToClient, 'base64'),
      });
    }
  }

  /** How many were reset. */
  resetIf(isUnwanted: Parameters<TcpConnections['resetIf']>[0]): number {
    return this.#connections.resetIf(isUnwanted);
  }

  /** A client's connection; nothing is read until it is told to. */
  dial(options: { readonly localAddress?: string } = {}): Socket {
    return this.#kept(connect({ host: LOCALHOST, port: this.port, allowHalfOpen: true, ...options }));
  }

  /** An endpoint that answers; returns its `ip:port`. */
  async endpoint(onConnection: (socket: Socket) => void, host = '127.0.0.1'): Promise<string> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
      onConnection(this.#kept(socket)),
    );
    server.listen(0, host);
    this.#servers.add(server);
    await once(server, 'listening');
    return `${host}:${(server.address() as AddressInfo).port}`;
  }

  /** Resets all connections. */
  async stop(): Promise<void> {
    this.#listener?.close();
    await this.#connections.close();
  }

  async close(): Promise<void> {
    await this.stop();
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers) server.close();
  }

  #kept(socket: Socket): Socket {
    this.#sockets.add(socket);
    // What ends a socket is looked at where it matters.
    socket.on('error', () => undefined);
    return socket;
  }
}

/** All that a socket is sent until the other side says that this is all. */
export async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** How a socket ended: `end` when the other side closed it, else the error's code. */
export function ending(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code ?? 'UNKNOWN'));
    socket.once('end', () => resolve('end'));
    socket.resume();
  });
}
