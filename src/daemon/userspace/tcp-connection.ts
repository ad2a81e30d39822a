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
import { dialMarked, isBroken, type OnRead, rereadInto, sendNow } from './node-sockets.ts';
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

export class TcpConnection {
  readonly #options: TcpConnectionOptions;
  readonly #schedule = new DialSchedule();
  #client: Socket;
  #endpoint: Socket | undefined;
  #backend: Backend | undefined;
  #traffic: EndpointTraffic | undefined;
  #cancelTimeout: (() => void) | undefined;
  /** Sockets that are still open once both are connected. */
  #open = 0;
  #isOver = false;

  constructor(options: TcpConnectionOptions) {
    this.#options = options;
    this.#client = options.client;
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

  #attempt({ backend, timeoutMs }: Attempt): void {
    const { clock } = this.#options;
    const endpoint = dialMarked(backend, this.#options.mark, {
      noDelay: true,
      onread: this.#reader(
        () => this.#endpoint!,
        () => this.#client,
        (count) => {
          this.#traffic!.bytesToClient += count;
        },
      ),
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
    const traffic = route.port.traffic.of(backend);
    this.#backend = backend;
    this.#traffic = traffic;
    traffic.connections++;
    traffic.open++;
    const header =
      route.frontend.proxyProtocol === 'v2' ? proxyHeader(this.#clientEnd(), dialled) : undefined;
    const client = rereadInto(
      this.#client,
      this.#reader(
        () => this.#client,
        () => endpoint,
        (count) => {
          traffic.bytesToEndpoint += count;
        },
      ),
    );
    this.#client = client;
    this.#open = 2;
    endpoint.removeAllListeners('error');
    this.#join(client, endpoint);
    this.#join(endpoint, client);
    if (header !== undefined) endpoint.write(header);
    client.resume();
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
        target.write(Buffer.from(buffer.subarray(sent, size)), (error) => {
          if (error == null) from().resume();
        });
        return false;
      },
    };
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
  if (!socket.destroyed) socket.resetAndDestroy();
}
