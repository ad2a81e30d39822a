// A client's connection and the one to an endpoint that answers it: dials, then moves bytes both ways until both are closed.
//
// Bytes are read into one buffer that all connections share, and written to the other side at once. Only what the kernel does
// not take is copied, and nothing more is read from that side until it is written: so a connection holds at most one buffer's
// worth each way, and none while it is idle.

import type { Socket } from 'node:net';
import { type Attempt, DialSchedule } from '../../mode/userspace/dial-schedule.ts';
import { proxyHeader, type SocketAddress } from '../../mode/userspace/proxy-header.ts';
import type { Ip } from '../../model/ip.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';
import type { Clock } from '../sync-loop.ts';
import {
  adoptConnection,
  dialMarked,
  duplicateDescriptor,
  isBroken,
  type OnRead,
  queuedBytes,
  rereadInto,
  sendNow,
} from './node-sockets.ts';
import type { Route } from './route.ts';
import type { EndpointTraffic } from './traffic.ts';

const BUFFER_BYTES = 128 * 1024;
const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);

/** As Go's, and so kube-proxy's. */
const KEEP_ALIVE_MS = 15_000;

/** Why a client got no endpoint: none answered; this process may have no more descriptors; the client has gone. */
export type Refusal = 'no-endpoint' | 'no-descriptor' | 'client-gone';

export interface TcpConnectionOptions {
  /** Accepted, and not read from. */
  readonly client: Socket;
  /** What the client dialled. */
  readonly dialled: SocketAddress;
  readonly route: Route;
  readonly clock: Clock;
  /** Of what is sent to the endpoint; 0 for none. */
  readonly mark: number;
  /** Called once, when both sockets are closed; with a reason when there was never an endpoint. */
  onEnd(refusal: Refusal | undefined): void;
}

/** A connection without its sockets: descriptors that stay open, and what was read from one side and not sent to the other yet. */
export interface LeftConnection {
  readonly client: number;
  /** Undefined while no endpoint has answered. */
  readonly endpoint: number | undefined;
  readonly unsentToEndpoint: Uint8Array;
  readonly unsentToClient: Uint8Array;
  /** The endpoint that answered. */
  readonly backend: Backend | undefined;
}

export type ResumedConnection = Pick<LeftConnection, 'unsentToEndpoint' | 'unsentToClient'> & {
  readonly backend: Backend;
};

const NOTHING = new Uint8Array(0);

export class TcpConnection {
  readonly #options: TcpConnectionOptions;
  readonly #schedule = new DialSchedule();
  #client: Socket;
  #endpoint: Socket | undefined;
  #backend: Backend | undefined;
  #traffic: EndpointTraffic | undefined;
  /** What was last given to each side's queue. */
  readonly #queued = new WeakMap<Socket, Uint8Array>();
  #cancelTimeout: (() => void) | undefined;
  /** Sockets that are still open once both are connected. */
  #open = 0;
  #isOver = false;

  constructor(options: TcpConnectionOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  get dialled(): SocketAddress {
    return this.#options.dialled;
  }

  get route(): Route {
    return this.#options.route;
  }

  /** Dials one endpoint after the other until one answers. */
  dial(): void {
    if (this.#isOver) return;
    const { route } = this.#options;
    const attempt = this.#schedule.next((excluded) => route.pick(this.#clientAddress, excluded));
    if (attempt === undefined) this.#refuse('no-endpoint');
    else this.#attempt(attempt);
  }

  /** The endpoint that answered; undefined before one has. */
  get backend(): Backend | undefined {
    return this.#backend;
  }

  get frontend(): Frontend {
    return this.#options.route.frontend;
  }

  /** Finds out, after a while, when one side has gone without a word. */
  keepAlive(): void {
    for (const socket of [this.#client, this.#endpoint!]) socket.setKeepAlive(true, KEEP_ALIVE_MS);
  }

  /** Resets both connections. */
  abort(): void {
    if (this.#isOver) return;
    if (this.#backend === undefined) {
      this.#refuse('client-gone');
      return;
    }
    reset(this.#client);
    reset(this.#endpoint!);
  }

  /**
   * Lets go of it without a word to either side. Undefined when it is over, or almost: then it ends here. Throws KernelError when
   * descriptors cannot be had; then it goes on.
   */
  leave(): LeftConnection | undefined {
    const endpoint = this.#traffic === undefined ? undefined : this.#endpoint!;
    if (this.#isOver || this.#client.destroyed || endpoint?.destroyed === true) return undefined;
    this.#client.pause();
    endpoint?.pause();
    const client = duplicateDescriptor(this.#client);
    const left = {
      client,
      endpoint: endpoint && duplicateDescriptor(endpoint),
      unsentToEndpoint: endpoint === undefined ? NOTHING : this.#unsentTo(endpoint),
      unsentToClient: this.#unsentTo(this.#client),
      backend: this.#backend,
    };
    this.#isOver = true;
    this.#cancelTimeout?.();
    for (const socket of [this.#client, this.#endpoint]) {
      socket?.removeAllListeners().on('error', () => undefined);
      socket?.destroy();
    }
    if (this.#traffic !== undefined) this.#traffic.open--;
    this.#options.onEnd(undefined);
    return left;
  }

  /** Goes on with a connection that was left with an endpoint; its client is `options.client`, not read from. */
  resume(endpoint: number, { backend, unsentToEndpoint, unsentToClient }: ResumedConnection): void {
    this.#client = rereadInto(this.#client, this.#clientReader());
    this.#endpoint = adoptConnection(endpoint, this.#endpointReader());
    this.#begin(this.#endpoint, backend);
    this.#readAfter(this.#client, this.#endpoint, unsentToEndpoint);
    this.#readAfter(this.#endpoint, this.#client, unsentToClient);
  }

  #readAfter(from: Socket, to: Socket, unsent: Uint8Array): void {
    if (unsent.length > 0) this.#write(from, to, unsent);
    else from.resume();
  }

  #attempt({ backend, timeoutMs }: Attempt): void {
    const { clock } = this.#options;
    const endpoint = dialMarked(backend, this.#options.mark, {
      noDelay: true,
      onread: this.#endpointReader(),
    });
    this.#endpoint = endpoint;
    endpoint.once('error', (error: NodeJS.ErrnoException) => {
      if (endpoint !== this.#endpoint) return;
      if (error.code === 'EMFILE' || error.code === 'ENFILE') {
        this.#refuse('no-descriptor');
        return;
      }
      this.#schedule.refused(backend);
      this.#failed(backend);
    });
    endpoint.once('connect', () => this.#connected(endpoint, backend));
    this.#cancelTimeout = clock.after(timeoutMs, () => this.#failed(backend));
  }

  #failed(backend: Backend): void {
    this.#dropAttempt();
    this.#options.route.failed(this.#clientAddress, backend);
    // Nothing is read from a client before it has an endpoint, so it must be asked. One that closed only its own direction may
    // have sent all that it has to say.
    if (isBroken(this.#client)) this.#refuse('client-gone');
    else this.dial();
  }

  #dropAttempt(): void {
    this.#cancelTimeout?.();
    this.#endpoint?.destroy();
    this.#endpoint = undefined;
  }

  #refuse(refusal: Refusal): void {
    this.#isOver = true;
    this.#dropAttempt();
    reset(this.#client);
    this.#options.onEnd(refusal);
  }

  #connected(endpoint: Socket, backend: Backend): void {
    const { route, dialled } = this.#options;
    this.#cancelTimeout?.();
    const header =
      route.frontend.proxyProtocol === 'v2' ? proxyHeader(this.#clientEnd(), dialled) : undefined;
    endpoint.removeAllListeners('error');
    this.#client = rereadInto(this.#client, this.#clientReader());
    this.#begin(endpoint, backend);
    this.#traffic!.connections++;
    if (header === undefined) this.#client.resume();
    else this.#write(this.#client, endpoint, header);
  }

  #begin(endpoint: Socket, backend: Backend): void {
    this.#backend = backend;
    this.#traffic = this.#options.route.port.traffic.of(backend);
    this.#traffic.open++;
    this.#open = 2;
    this.#join(this.#client, endpoint);
    this.#join(endpoint, this.#client);
  }

  /** What ends one side ends the other in the same way: its direction, or by a reset both. */
  #join(from: Socket, to: Socket): void {
    from.once('end', () => to.end());
    from.once('error', () => reset(to));
    from.once('close', () => {
      if (!from.readableEnded || !from.writableFinished) reset(to);
      this.#open--;
      if (this.#open > 0) return;
      this.#isOver = true;
      this.#traffic!.open--;
      this.#options.onEnd(undefined);
    });
  }

  #reader(from: () => Socket, to: () => Socket, count: (bytes: number) => void): OnRead {
    return {
      buffer,
      callback: (size) => {
        const target = to();
        if (target.destroyed) return false;
        count(size);
        const sent = target.writableLength === 0 ? sendNow(target, buffer, size) : 0;
        if (sent === size) return true;
        this.#write(from(), target, Buffer.from(buffer.subarray(sent, size)));
        return false;
      },
    };
  }

  #clientReader(): OnRead {
    return this.#reader(
      () => this.#client,
      () => this.#endpoint!,
      (count) => {
        this.#traffic!.bytesToEndpoint += count;
      },
    );
  }

  #endpointReader(): OnRead {
    return this.#reader(
      () => this.#endpoint!,
      () => this.#client,
      (count) => {
        this.#traffic!.bytesToClient += count;
      },
    );
  }

  /** Queues bytes, which become the connection's own, and reads on from their side once they are sent. */
  #write(from: Socket, to: Socket, bytes: Uint8Array): void {
    this.#queued.set(to, bytes);
    to.write(bytes, (error) => {
      this.#queued.delete(to);
      if (error == null) from.resume();
    });
  }

  #unsentTo(socket: Socket): Uint8Array {
    const bytes = this.#queued.get(socket) ?? NOTHING;
    return bytes.subarray(bytes.length - queuedBytes(socket));
  }

  readonly #clientAddress = (): string => this.#clientEnd().ip;

  #clientEnd(): SocketAddress {
    const { remoteAddress, remotePort } = this.#client;
    // Of a connection that was reset Node tells neither, and nobody reads what is said of it. A zone is no part of the address.
    const ip = remoteAddress?.replace(/%.*$/, '') ?? this.#options.dialled.ip;
    return { ip: ip as Ip, port: remotePort ?? 0 };
  }
}

function reset(socket: Socket): void {
  if (socket.destroyed) return;
  // libuv refuses to reset a socket that is about to send its end, which would never be closed then (uv_tcp_close_reset).
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}
