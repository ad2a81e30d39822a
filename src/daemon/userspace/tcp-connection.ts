// A client's connection and the one to an endpoint that answers it: dials, then moves bytes both ways until both are closed.
//
// Bytes are read into one buffer that all connections share, and written to the other side at once (ByteFlow). Endings are passed
// on as they are: of a direction, or by a reset of both.

import { constants } from 'node:os';
import { ByteFlow } from '../../mode/userspace/byte-flow.ts';
import { type Attempt, DialSchedule } from '../../mode/userspace/dial-schedule.ts';
import { proxyHeader, type SocketAddress } from '../../mode/userspace/proxy-header.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';
import type { Clock } from '../sync-loop.ts';
import type { Route } from './route.ts';
import { connectTo, TcpSocket } from './tcp-socket.ts';
import type { EndpointTraffic } from './traffic.ts';

const { EMFILE, ENFILE } = constants.errno;

const buffer = new Uint8Array(128 * 1024);

/** Why a client got no endpoint: none answered; this process may have no more descriptors; the client has gone. */
export type Refusal = 'no-endpoint' | 'no-descriptor' | 'client-gone';

export interface TcpConnectionOptions {
  /** The descriptor of who was accepted, and not read from; owned. */
  readonly client: number;
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

/** A client that has an endpoint. */
interface Pair {
  readonly backend: Backend;
  readonly endpoint: TcpSocket;
  readonly traffic: EndpointTraffic;
  readonly up: ByteFlow;
  readonly down: ByteFlow;
  /** Both directions wait for their next turn. */
  isDue: boolean;
}

export class TcpConnection {
  readonly #options: TcpConnectionOptions;
  readonly #client: TcpSocket;
  /** Until an endpoint answers. */
  #schedule: DialSchedule | undefined = new DialSchedule();
  /** An endpoint that has not answered yet. */
  #dialling: { readonly backend: Backend; readonly endpoint: TcpSocket } | undefined;
  #cancelTimeout: (() => void) | undefined;
  #pair: Pair | undefined;
  #clientEnd: SocketAddress | undefined;
  #isOver = false;

  constructor(options: TcpConnectionOptions) {
    this.#options = options;
    this.#client = new TcpSocket(options.client, true, this.#ready);
  }

  get dialled(): SocketAddress {
    return this.#options.dialled;
  }

  get route(): Route {
    return this.#options.route;
  }

  get frontend(): Frontend {
    return this.#options.route.frontend;
  }

  /** The endpoint that answered; undefined before one has. */
  get backend(): Backend | undefined {
    return this.#pair?.backend;
  }

  /** Dials one endpoint after the other until one answers. */
  dial(): void {
    if (this.#isOver) return;
    const { route } = this.#options;
    const attempt = this.#schedule!.next((excluded) => route.pick(this.#clientAddress, excluded));
    if (attempt === undefined) this.#refuse('no-endpoint');
    else this.#attempt(attempt);
  }

  /** Finds out, after a while, when one side has gone without a word. */
  keepAlive(): void {
    this.#client.keepAlive();
    this.#pair?.endpoint.keepAlive();
  }

  /** Resets both connections. */
  abort(): void {
    if (this.#isOver) return;
    if (this.#pair === undefined) this.#refuse('client-gone');
    else this.#end(this.#pair, { isReset: true });
  }

  /** Lets go of it without a word to either side; who gets the descriptors owns them. Undefined when it is over. */
  leave(): LeftConnection | undefined {
    if (this.#isOver) return undefined;
    this.#isOver = true;
    this.#dropAttempt();
    const pair = this.#pair;
    if (pair !== undefined) pair.traffic.open--;
    const left = {
      client: this.#client.release(),
      endpoint: pair?.endpoint.release(),
      unsentToEndpoint: pair?.up.unsent ?? NOTHING,
      unsentToClient: pair?.down.unsent ?? NOTHING,
      backend: pair?.backend,
    };
    this.#options.onEnd(undefined);
    return left;
  }

  /** Goes on with a connection that was left with an endpoint, whose descriptor is owned. */
  resume(endpoint: number, { backend, unsentToEndpoint, unsentToClient }: ResumedConnection): void {
    const socket = new TcpSocket(endpoint, false, this.#ready);
    const pair = this.#join(socket, backend);
    pair.up.begin(unsentToEndpoint);
    pair.down.begin(unsentToClient);
    if (socket.watch() !== 0 || this.#client.watch() !== 0) this.#end(pair, { isReset: true });
  }

  #attempt({ backend, timeoutMs }: Attempt): void {
    const { clock, mark } = this.#options;
    const fd = connectTo(backend, mark);
    if (fd < 0) {
      if (fd === -EMFILE || fd === -ENFILE) this.#refuse('no-descriptor');
      else this.#refused(backend);
      return;
    }
    const endpoint = new TcpSocket(fd, false, this.#ready);
    this.#dialling = { backend, endpoint };
    if (endpoint.watch() !== 0) this.#refuse('no-descriptor');
    else this.#cancelTimeout = clock.after(timeoutMs, () => this.#failed(backend));
  }

  #refused(backend: Backend): void {
    this.#schedule!.refused(backend);
    this.#failed(backend);
  }

  #failed(backend: Backend): void {
    this.#dropAttempt();
    this.#options.route.failed(this.#clientAddress, backend);
    // Nothing is read from a client before it has an endpoint, so it must be asked. One that closed only its own direction may
    // have sent all that it has to say.
    if (this.#client.takeError() !== 0) this.#refuse('client-gone');
    else this.dial();
  }

  #dropAttempt(): void {
    this.#stopTimeout();
    this.#dialling?.endpoint.close({ isReset: false });
    this.#dialling = undefined;
  }

  #stopTimeout(): void {
    this.#cancelTimeout?.();
    this.#cancelTimeout = undefined;
  }

  #refuse(refusal: Refusal): void {
    this.#isOver = true;
    this.#dropAttempt();
    this.#client.close({ isReset: true });
    this.#options.onEnd(refusal);
  }

  /** Of both sockets. */
  readonly #ready = (socket: TcpSocket): void => {
    if (this.#pair !== undefined) this.#move(this.#pair);
    else if (socket === this.#dialling?.endpoint) this.#answered(this.#dialling);
  };

  #answered({ backend, endpoint }: { readonly backend: Backend; readonly endpoint: TcpSocket }): void {
    if (endpoint.takeError() !== 0) {
      this.#refused(backend);
      return;
    }
    const { route, dialled } = this.#options;
    this.#stopTimeout();
    this.#dialling = undefined;
    const pair = this.#join(endpoint, backend);
    pair.traffic.connections++;
    if (route.frontend.proxyProtocol === 'v2') pair.up.begin(proxyHeader(this.#clientAt(), dialled));
    if (this.#client.watch() !== 0) this.#end(pair, { isReset: true });
    else this.#move(pair);
  }

  #join(endpoint: TcpSocket, backend: Backend): Pair {
    const traffic = this.#options.route.port.traffic.of(backend);
    traffic.open++;
    this.#schedule = undefined;
    this.#pair = {
      backend,
      endpoint,
      traffic,
      up: new ByteFlow(this.#client, endpoint),
      down: new ByteFlow(endpoint, this.#client),
      isDue: false,
    };
    return this.#pair;
  }

  #move(pair: Pair): void {
    if (pair.isDue) return;
    const { up, down, traffic, endpoint } = pair;
    const [upBefore, downBefore] = [up.received, down.received];
    const [upward, downward] = [up.move(buffer), down.move(buffer)];
    traffic.bytesToEndpoint += up.received - upBefore;
    traffic.bytesToClient += down.received - downBefore;
    // A side that is read from tells that it is no more, but not after its end.
    const isGone = (up.hasEnded && this.#client.isBroken) || (down.hasEnded && endpoint.isBroken);
    if (upward === 'broken' || downward === 'broken') this.#end(pair, { isReset: true });
    else if (up.hasEnded && down.hasEnded) this.#end(pair, { isReset: false });
    else if (isGone) this.#end(pair, { isReset: true });
    else if (upward === 'more' || downward === 'more') {
      pair.isDue = true;
      setImmediate(() => {
        pair.isDue = false;
        if (!this.#isOver) this.#move(pair);
      });
    }
  }

  #end({ endpoint, traffic }: Pair, how: { readonly isReset: boolean }): void {
    this.#isOver = true;
    this.#client.close(how);
    endpoint.close(how);
    traffic.open--;
    this.#options.onEnd(undefined);
  }

  readonly #clientAddress = (): string => this.#clientAt().ip;

  /** Of a connection that was reset the kernel does not tell, and nobody reads what is said of it. */
  #clientAt(): SocketAddress {
    this.#clientEnd ??= this.#client.peer() ?? { ip: this.#options.dialled.ip, port: 0 };
    return this.#clientEnd;
  }
}
