// A TCP connection's descriptor, and what the kernel was last heard to say of it. It is tried without waiting, and what it cannot do now
// is remembered until the kernel says otherwise.

import { constants } from 'node:os';
import { loadAddon } from '../../../native/load.cjs';
import type { ByteSink, ByteSource } from '../../mode/userspace/byte-flow.ts';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import { unpackIp } from '../../model/ip.ts';
import { EPOLL, readiness, type Watcher } from './readiness.ts';

const addon = loadAddon();
const { EAGAIN } = constants.errno;

const READABLE = EPOLL.in | EPOLL.rdHup | EPOLL.hup | EPOLL.err;
const WRITABLE = EPOLL.out | EPOLL.hup | EPOLL.err;
const ENDING = EPOLL.rdHup | EPOLL.hup | EPOLL.err;

/** Idle time as Go's, and so kube-proxy's; then ten questions, one a second, as libuv asks. */
const KEEP_ALIVE = { idleSeconds: 15, intervalSeconds: 1, probes: 10 } as const;

const peer = new Uint8Array(18);

export class TcpSocket implements Watcher, ByteSource, ByteSink {
  readonly fd: number;
  isReadable = false;
  isWritable: boolean;
  /** It was reset, or the other side has gone without a word. */
  isBroken = false;
  /** There may be less to read than there is room for, and the end behind it. */
  #isEnding = false;
  readonly #onReady: (socket: TcpSocket) => void;
  /** 0 while it is not watched. */
  #id = 0;

  /** Owns the descriptor. One that was just accepted is writable. */
  constructor(fd: number, isWritable: boolean, onReady: (socket: TcpSocket) => void) {
    this.fd = fd;
    this.isWritable = isWritable;
    this.#onReady = onReady;
  }

  /** From now on `onReady` is called whenever it may be able to do more than before. Returns 0 or an errno. */
  watch(): number {
    const id = readiness.watch(this.fd, this);
    if (id < 0) return -id;
    this.#id = id;
    return 0;
  }

  ready(events: number): void {
    if ((events & READABLE) !== 0) this.isReadable = true;
    if ((events & WRITABLE) !== 0) this.isWritable = true;
    if ((events & ENDING) !== 0) this.#isEnding = true;
    if ((events & EPOLL.err) !== 0) this.isBroken = true;
    this.#onReady(this);
  }

  receive(buffer: Uint8Array): number {
    const size = addon.receiveTcp(this.fd, buffer);
    // What was less than there was room for was all; the kernel tells when there is more (epoll(7)).
    if (size === -EAGAIN || (size > 0 && size < buffer.length && !this.#isEnding)) this.isReadable = false;
    return size;
  }

  send(bytes: Uint8Array, count: number): number {
    const size = addon.sendTcp(this.fd, bytes, count);
    if (size < 0 && size !== -EAGAIN) return size;
    if (size < count) this.isWritable = false;
    return Math.max(size, 0);
  }

  endWriting(): void {
    addon.shutdownWriting(this.fd);
  }

  /** What went wrong with it since this was asked last: 0 or an errno. */
  takeError(): number {
    return addon.socketError(this.fd);
  }

  /** Undefined when it was reset. A zone is no part of the address. */
  peer(): SocketAddress | undefined {
    const size = addon.peerAddress(this.fd, peer);
    if (size < 0) return undefined;
    const portAt = size - 2;
    return {
      ip: unpackIp(String.fromCharCode(...peer.subarray(0, portAt))),
      port: (peer[portAt]! << 8) | peer[portAt + 1]!,
    };
  }

  /** Finds out, after a while, when the other side has gone without a word. */
  keepAlive(): void {
    addon.keepAlive(this.fd, KEEP_ALIVE.idleSeconds, KEEP_ALIVE.intervalSeconds, KEEP_ALIVE.probes);
  }

  close({ isReset }: { readonly isReset: boolean }): void {
    readiness.forget(this.#id);
    addon.closeTcp(this.fd, isReset);
  }

  /** Lets go of the descriptor, which is somebody else's then. */
  release(): number {
    readiness.unwatch(this.fd, this.#id);
    return this.fd;
  }
}

/** Of a connection that nobody is led to. */
export function resetConnection(fd: number): void {
  addon.closeTcp(fd, true);
}

/** Begins to connect by a socket whose packets carry `mark`, unless that is 0. Returns a descriptor, or a negative errno. */
export function connectTo({ ip, port }: SocketAddress, mark: number): number {
  return addon.connectTcp(ip, port, mark);
}
