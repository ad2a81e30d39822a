// One UDP port that clients are sent to. Each client has a socket of its own towards an endpoint, which is connected: so only that
// endpoint is heard there, and what it refuses (ICMP) is known to be the client's.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { KernelError } from '../../errors.ts';
import { endpointText } from '../../mode/iptables/names.ts';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import { UdpClients, type UdpTimeouts } from '../../mode/userspace/udp-clients.ts';
import { familyOf } from '../../model/ip.ts';
import type { Backend } from '../../vip/frontend.ts';
import type { Clock } from '../sync-loop.ts';
import type { Descriptors } from './descriptors.ts';
import { listenError } from './listen-error.ts';
import { descriptorOfUdp, duplicateDescriptor, markUdp } from './node-sockets.ts';
import type { Route } from './route.ts';
import type { EndpointTraffic } from './traffic.ts';
import type { Troubles } from './troubles.ts';

export interface UdpPortalOptions {
  /** A socket that is bound there already. */
  readonly fd?: number | undefined;
  readonly route: Route;
  readonly timeouts: UdpTimeouts;
  /** Of more clients, the one that has been silent for longest loses its socket. */
  readonly maxClients: number;
  readonly descriptors: Descriptors;
  readonly clock: Clock;
  /** Of what is sent to endpoints; 0 for none. */
  readonly mark: number;
  readonly troubles: Troubles;
}

/** How often clients are looked at that may have gone. */
const SWEEP_MS = 1000;

/** Datagrams of a client that wait for its socket to be connected, which takes one turn of the event loop. */
const MAX_WAITING = 64;

/** Nothing but addresses is ever looked up. */
const lookup = (
  host: string,
  _options: unknown,
  callback: (error: NodeJS.ErrnoException | null, address: string, family: number) => void,
): void => callback(null, host, host.includes(':') ? 6 : 4);

interface Flow {
  readonly socket: Socket;
  readonly backend: Backend;
  readonly traffic: EndpointTraffic;
  /** What came before the socket was connected; undefined since then. */
  waiting: Buffer[] | undefined;
  isClosed: boolean;
}

const NOBODY: ReadonlySet<string> = new Set();

export class UdpPortal {
  readonly address: SocketAddress;
  readonly #socket: Socket;
  readonly #options: UdpPortalOptions;
  readonly #clients: UdpClients<Flow>;
  #cancelSweep: (() => void) | undefined;

  private constructor(socket: Socket, address: SocketAddress, options: UdpPortalOptions) {
    this.address = address;
    this.#socket = socket;
    this.#options = options;
    this.#clients = new UdpClients(options.timeouts);
    socket.on('message', (message, client) => this.#forward(message, client));
    // What the system says of a datagram that could not be sent concerns one client, who will ask again.
    socket.on('error', () => undefined);
  }

  /** Port 0 lets the kernel choose. Settles when it listens, or with what the system says instead. */
  static open(address: SocketAddress, options: UdpPortalOptions): Promise<UdpPortal | KernelError> {
    const socket = createSocket({ type: typeOf(address), lookup });
    return new Promise((resolve) => {
      socket.once('error', (error: NodeJS.ErrnoException) => {
        socket.close();
        resolve(listenError(address, error.code ?? 'UNKNOWN', -(error.errno ?? 0), error));
      });
      const { fd } = options;
      const where = fd === undefined ? { address: address.ip, port: address.port } : { fd };
      socket.bind({ ...where, exclusive: true }, () => {
        socket.removeAllListeners('error');
        // The daemon's life does not hang on its clients.
        socket.unref();
        resolve(new UdpPortal(socket, { ip: address.ip, port: socket.address().port }, options));
      });
    });
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Clients that have asked since their last answer. */
  get unanswered(): number {
    return this.#clients.unanswered;
  }

  /** Who has an endpoint that is not offered any more gets another with the next datagram. */
  endGone(): void {
    const { route } = this.#options;
    for (const flow of this.#clients.takeIf(({ backend }) => !route.leadsTo(endpointText(backend))))
      this.#end(flow);
  }

  endAll(): void {
    for (const flow of this.#clients.takeIf(() => true)) this.#end(flow);
  }

  /** Another descriptor of the socket, where clients are still heard when this is closed. Throws KernelError. */
  duplicate(): number {
    return duplicateDescriptor(descriptorOfUdp(this.#socket));
  }

  close(): void {
    this.#cancelSweep?.();
    this.endAll();
    this.#socket.close();
  }

  #forward(message: Buffer, client: RemoteInfo): void {
    const { clock } = this.#options;
    const key = `${client.address} ${client.port}`;
    const flow = this.#clients.use(key, clock.nowMs()) ?? this.#start(key, client);
    if (flow === undefined) return;
    flow.traffic.bytesToEndpoint += message.length;
    if (flow.waiting === undefined) this.#send(message, key, client, flow);
    else if (flow.waiting.length < MAX_WAITING) flow.waiting.push(message);
  }

  #start(key: string, client: RemoteInfo): Flow | undefined {
    const { route, descriptors, troubles, clock, maxClients, mark } = this.#options;
    const addressOf = () => client.address.replace(/%.*$/, '');
    const backend = route.pick(addressOf, NOBODY);
    if (backend === undefined) {
      route.port.traffic.refused++;
      return undefined;
    }
    while (this.#clients.size >= maxClients) {
      this.#end(this.#clients.takeOldest()!);
    }
    if (!descriptors.take(1)) {
      const oldest = this.#clients.takeOldest();
      descriptors.refuse(troubles);
      if (oldest !== undefined) this.#end(oldest);
      if (!descriptors.take(1)) {
        route.port.traffic.refused++;
        return undefined;
      }
    }
    const socket = createSocket({ type: typeOf(this.address), lookup });
    const traffic = route.port.traffic.of(backend);
    const flow: Flow = { socket, backend, traffic, waiting: [], isClosed: false };
    traffic.open++;
    traffic.connections++;
    this.#clients.add(key, flow, clock.nowMs());
    socket.on('error', () => this.#failed(key, client, flow));
    socket.on('message', (message) => {
      this.#clients.reply(key, clock.nowMs());
      traffic.bytesToClient += message.length;
      this.#socket.send(message, client.port, client.address, ignore);
    });
    socket.once('connect', () => {
      const { waiting = [] } = flow;
      flow.waiting = undefined;
      for (const message of waiting) this.#send(message, key, client, flow);
    });
    if (markUdp(socket, familyOf(backend.ip), mark) !== undefined) {
      this.#failed(key, client, flow);
      return undefined;
    }
    socket.connect(backend.port, backend.ip);
    socket.unref();
    this.#cancelSweep ??= clock.after(SWEEP_MS, this.#sweep);
    return flow;
  }

  #send(message: Buffer, key: string, client: RemoteInfo, flow: Flow): void {
    if (flow.isClosed) return;
    flow.socket.send(message, (error) => {
      if (error != null) this.#failed(key, client, flow);
    });
  }

  /** An endpoint refused a datagram, or it could not be sent: the client's next one goes to whose turn it is. */
  #failed(key: string, client: RemoteInfo, flow: Flow): void {
    if (flow.isClosed) return;
    this.#options.route.failed(() => client.address.replace(/%.*$/, ''), flow.backend);
    this.#clients.delete(key);
    this.#end(flow);
  }

  readonly #sweep = (): void => {
    for (const flow of this.#clients.takeExpired(this.#options.clock.nowMs())) this.#end(flow);
    this.#cancelSweep = this.#clients.size > 0 ? this.#options.clock.after(SWEEP_MS, this.#sweep) : undefined;
  };

  #end(flow: Flow): void {
    if (flow.isClosed) return;
    flow.isClosed = true;
    flow.traffic.open--;
    flow.socket.close();
    this.#options.descriptors.give(1);
  }
}

function typeOf({ ip }: SocketAddress): 'udp4' | 'udp6' {
  return familyOf(ip) === 4 ? 'udp4' : 'udp6';
}

function ignore(): void {}
