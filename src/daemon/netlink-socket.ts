// Netlink sockets on top of the native addon: one transaction at a time and in order, buffer sizes, typed errors.
// Knows no protocol inside the datagrams. Authority: netlink(7), include/uapi/linux/netlink.h, net/netlink/af_netlink.c.

import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { type Addon, loadAddon } from '../../native/load.cjs';
import { KernelError, KproxyError } from '../errors.ts';

// include/uapi/linux/netlink.h
export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
export const NETLINK_GENERIC = 16;

export interface NetlinkOptions {
  /** Receive buffer in bytes as the kernel accounts them; it bounds the replies of one request, dumps excepted. */
  readonly receiveBufferBytes?: number;
  /** Most bytes of replies to one request before it fails with EFBIG; 512 MiB unless given. */
  readonly replyLimitBytes?: number;
  /** A socket that another process has opened so, and left to this one, which owns it from then on; a new one unless given. */
  readonly fd?: number;
}

export interface NetlinkTransport {
  /**
   * Sends the request as one datagram and resolves with every datagram of the reply, a complete dump included.
   * Requests are served one at a time in the order of their calls; the bytes must not change before that.
   * Rejects with TransactError; its code is EBADF after `close`.
   *
   * With `sizes`, which add up to the request, it is sent as so many datagrams, each when the one before is answered: short
   * dumps, of which the kernel refuses a second in the same datagram.
   */
  transact(request: Uint8Array, sizes?: Uint32Array): Promise<Uint8Array[]>;
  /** Largest request in bytes that `transact` can send now; a larger one fails with EMSGSIZE. */
  readonly sendBufferBytes: number;
  /**
   * Raises `sendBufferBytes` to at least `bytes` and returns what is in force. That is less than asked for where
   * CAP_NET_ADMIN of the first user namespace is missing: then the limit is twice net.core.wmem_max.
   */
  reserveSendBuffer(bytes: number): number;
  /** The number of its descriptor; the kernel tells owners of tables by the socket behind it. Missing where there is none. */
  readonly descriptor?: number;
  /** Idempotent. A request in flight still settles with its own result; those behind it reject with EBADF. */
  close(): void;
}

export type NetlinkEvent =
  | { readonly kind: 'datagram'; readonly bytes: Uint8Array }
  /** Events were lost before this one: what was read from the kernel earlier may be stale. */
  | { readonly kind: 'overrun' }
  /** The subscription has ended. */
  | { readonly kind: 'error'; readonly error: KernelError };

/** A failed transaction. */
export class TransactError extends KernelError {
  readonly #replies: readonly Uint8Array[];

  constructor(code: string, errno: number, operation: string, replies: readonly Uint8Array[]) {
    super(code, errno, operation);
    this.#replies = replies;
  }

  /**
   * What came before the failure. With ENOBUFS, replies were lost and the outcome is unknown, but these are the first.
   * Not a field of its own, so that no log prints thousands of them.
   */
  get replies(): readonly Uint8Array[] {
    return this.#replies;
  }
}

// netlink_sendmsg() refuses more than the send buffer less these bytes.
const SEND_BUFFER_OVERHEAD = 32;
const MAX_BUFFER_BYTES = 2 ** 31 - 1;
const DEFAULT_REPLY_LIMIT_BYTES = 512 * 1024 * 1024;

const PROTOCOL_NAMES: Readonly<Record<number, string>> = {
  [NETLINK_ROUTE]: 'NETLINK_ROUTE',
  [NETLINK_NETFILTER]: 'NETLINK_NETFILTER',
  [NETLINK_GENERIC]: 'NETLINK_GENERIC',
};

/** Throws KproxyError that says what to do where the addon cannot be loaded. */
export function requireAddon(): Addon {
  try {
    return loadAddon();
  } catch (cause) {
    throw new KproxyError(
      'ADDON_MISSING',
      'the native addon is not usable: run `node scripts/install-addon.mjs` in the package folder ' +
        `(${cause instanceof Error ? cause.message : String(cause)})`,
      { cause },
    );
  }
}

interface AddonFailure {
  readonly errno: number;
  readonly syscall: string;
  readonly replies?: readonly Uint8Array[];
}

function isAddonFailure(error: unknown): error is AddonFailure {
  return error instanceof Error && 'errno' in error && 'syscall' in error;
}

export function errnoName(errno: number): string {
  const name = getSystemErrorName(-errno);
  return name.startsWith('E') ? name : `ERRNO_${errno}`;
}

function operationOf(syscall: string, protocol: number): string {
  return `${syscall}(${PROTOCOL_NAMES[protocol] ?? `netlink protocol ${protocol}`})`;
}

/** Runs a call of the addon and turns its failure into a KernelError. */
function kernelCall<T>(protocol: number, call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (!isAddonFailure(error)) throw error;
    const { errno, syscall } = error;
    throw new KernelError(errnoName(errno), errno, operationOf(syscall, protocol));
  }
}

function ignore(): void {}

function clampBuffer(bytes: number): number {
  return Math.min(Math.max(Math.ceil(bytes), 1), MAX_BUFFER_BYTES);
}

class NetlinkSocket implements NetlinkTransport {
  readonly #addon: Addon;
  readonly #protocol: number;
  readonly #replyLimitBytes: number;
  readonly #socket: object;
  #sendBufferBytes: number;
  #previous: Promise<unknown> = Promise.resolve();

  constructor(addon: Addon, protocol: number, options: NetlinkOptions) {
    this.#addon = addon;
    this.#protocol = protocol;
    this.#replyLimitBytes = options.replyLimitBytes ?? DEFAULT_REPLY_LIMIT_BYTES;
    this.#socket = kernelCall(protocol, () => addon.open(protocol, options.fd));
    this.#sendBufferBytes = this.#setSendBuffer(0);
    const receive = options.receiveBufferBytes;
    if (receive !== undefined) {
      kernelCall(protocol, () => addon.receiveBuffer(this.#socket, clampBuffer(receive)));
    }
  }

  get sendBufferBytes(): number {
    return this.#sendBufferBytes;
  }

  get descriptor(): number {
    return kernelCall(this.#protocol, () => this.#addon.descriptor(this.#socket));
  }

  reserveSendBuffer(bytes: number): number {
    if (bytes > this.#sendBufferBytes) {
      this.#sendBufferBytes = this.#setSendBuffer(clampBuffer(bytes + SEND_BUFFER_OVERHEAD));
    }
    return this.#sendBufferBytes;
  }

  transact(request: Uint8Array, sizes?: Uint32Array): Promise<Uint8Array[]> {
    const replies = this.#previous.then(() => this.#transactNow(request, sizes));
    this.#previous = replies.then(ignore, ignore);
    return replies;
  }

  close(): void {
    this.#addon.close(this.#socket);
  }

  #setSendBuffer(bytes: number): number {
    const inForce = kernelCall(this.#protocol, () => this.#addon.sendBuffer(this.#socket, bytes));
    return inForce - SEND_BUFFER_OVERHEAD;
  }

  async #transactNow(request: Uint8Array, sizes: Uint32Array | undefined): Promise<Uint8Array[]> {
    try {
      return await this.#addon.transact(this.#socket, request, this.#replyLimitBytes, sizes);
    } catch (error) {
      if (!isAddonFailure(error)) throw error;
      const { errno, syscall, replies = [] } = error;
      const operation = operationOf(syscall, this.#protocol);
      const told = errno === constants.errno.EFBIG ? ` of more than ${this.#replyLimitBytes} bytes` : '';
      throw new TransactError(errnoName(errno), errno, operation + told, replies);
    }
  }
}

/** Opens a socket to the kernel in the network namespace of the calling thread. Throws KernelError. */
export function openNetlink(protocol: number, options: NetlinkOptions = {}): NetlinkTransport {
  return new NetlinkSocket(requireAddon(), protocol, options);
}

/**
 * Joins a multicast group on a socket of its own and calls `onEvent` for each notification, in order. The
 * subscription stays, and keeps the process alive, until it is closed. Throws KernelError when it cannot be made.
 */
export function subscribeNetlink(
  protocol: number,
  group: number,
  onEvent: (event: NetlinkEvent) => void,
  options: Pick<NetlinkOptions, 'receiveBufferBytes'> = {},
): { close(): void } {
  const addon = requireAddon();
  const receive = options.receiveBufferBytes === undefined ? 0 : clampBuffer(options.receiveBufferBytes);
  const subscription = kernelCall(protocol, () =>
    addon.subscribe(protocol, group, receive, (errno, bytes) => {
      if (bytes !== undefined) {
        onEvent({ kind: 'datagram', bytes });
      } else if (errno === constants.errno.ENOBUFS) {
        onEvent({ kind: 'overrun' });
      } else {
        addon.unsubscribe(subscription);
        onEvent({
          kind: 'error',
          error: new KernelError(errnoName(errno), errno, operationOf('recvmsg', protocol)),
        });
      }
    }),
  );
  return { close: () => addon.unsubscribe(subscription) };
}
