// A listening socket, whose connections are handed over as descriptors. Nothing is read from them here.

import { constants } from 'node:os';
import { loadAddon } from '../../../native/load.cjs';
import { KernelError } from '../../errors.ts';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import { familyOf, type IpFamily, unpackIp } from '../../model/ip.ts';
import { discard } from '../handover/bequest.ts';
import { errnoName } from '../netlink-socket.ts';
import type { Clock } from '../sync-loop.ts';
import { listenError } from './listen-error.ts';
import { duplicateDescriptor } from './node-sockets.ts';
import { readiness, type Watcher } from './readiness.ts';

const addon = loadAddon();
const { EAGAIN } = constants.errno;

/** Connections that wait to be accepted; the kernel stops at net.core.somaxconn. */
const BACKLOG = 4096;

/** After so many it is others' turn. */
const BATCH = 64;

/** Nothing tells when what was wanting for a connection, a descriptor or memory, is there again. */
const RETRY_MS = 100;

/** What the addon tells of a connection. */
const FIELDS = 6;
const accepted = new Int32Array(1 + BATCH * FIELDS);
const acceptedBytes = new Uint8Array(accepted.buffer);
const ADDRESS_BYTES: Readonly<Record<IpFamily, number>> = { 4: 4, 6: 16 };

export interface TcpListenerOptions {
  /** A socket that listens there already; owned. */
  readonly fd?: number | undefined;
  /** Whether who is accepted was on the way to another address, which is told then. */
  readonly isTranslated: boolean;
  readonly clock: Clock;
  /** The descriptor is the callee's. Undefined where the kernel does not say what was dialled. */
  onConnection(fd: number, dialled: SocketAddress | undefined): void;
  /** The system refused to accept a connection, and is asked again soon. */
  onError(error: KernelError): void;
}

export class TcpListener implements Watcher {
  readonly address: SocketAddress;
  readonly #options: TcpListenerOptions;
  readonly #fd: number;
  #id = 0;
  #isClosed = false;
  #cancelRetry: (() => void) | undefined;

  private constructor(fd: number, address: SocketAddress, options: TcpListenerOptions) {
    this.#fd = fd;
    this.address = address;
    this.#options = options;
  }

  /** Port 0 lets the kernel choose. Gives what the system says instead. */
  static open(address: SocketAddress, options: TcpListenerOptions): TcpListener | KernelError {
    const refused = (result: number): KernelError => listenError(address, errnoName(-result), -result);
    const fd = options.fd ?? addon.openTcpListener(address.ip, address.port);
    if (fd < 0) return refused(fd);
    const port = addon.listenTcp(fd, BACKLOG);
    const listener = new TcpListener(fd, { ip: address.ip, port }, options);
    const id = port < 0 ? port : readiness.watch(fd, listener);
    if (id < 0) {
      discard([fd]);
      return refused(id);
    }
    listener.#id = id;
    return listener;
  }

  /** Another descriptor of the socket, which goes on listening when this is closed. Throws KernelError. */
  duplicate(): number {
    return duplicateDescriptor(this.#fd);
  }

  /** At once; connections that it accepted go on. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelRetry?.();
    // Others may have the socket, too.
    readiness.unwatch(this.#fd, this.#id);
    discard([this.#fd]);
  }

  ready(): void {
    this.#accept();
  }

  readonly #accept = (): void => {
    if (this.#isClosed) return;
    const { isTranslated, clock, onConnection, onError } = this.#options;
    const family = familyOf(this.address.ip);
    const count = addon.acceptTcp(this.#fd, isTranslated ? family : 0, accepted);
    const errno = accepted[0]!;
    for (let i = 0; i < count; i++) {
      const at = 1 + i * FIELDS;
      onConnection(accepted[at]!, isTranslated ? dialledAt(at, family) : undefined);
    }
    if (errno === 0) setImmediate(this.#accept);
    if (errno === 0 || errno === EAGAIN) return;
    onError(new KernelError(errnoName(errno), errno, `accept on ${this.address.ip}:${this.address.port}`));
    this.#cancelRetry?.();
    this.#cancelRetry = clock.after(RETRY_MS, this.#accept);
  };
}

function dialledAt(at: number, family: IpFamily): SocketAddress | undefined {
  const port = accepted[at + 1]!;
  if (port === 0) return undefined;
  const start = (at + 2) * accepted.BYTES_PER_ELEMENT;
  const bytes = acceptedBytes.subarray(start, start + ADDRESS_BYTES[family]);
  return { ip: unpackIp(String.fromCharCode(...bytes)), port };
}
