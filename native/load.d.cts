// The addon's own interface: src/daemon/netlink-socket.ts gives it policy and typed errors. Calls for netlink throw, and promises
// reject with, Errors that carry `errno` (positive) and `syscall`; those of `transact` also `replies`.

export interface Addon {
  /** The handle's collection closes the socket: a new one, or that of `fd`, which another process has opened like this one. */
  open(protocol: number, fd?: number): object;
  /** The number of its descriptor, which stays the handle's. Throws EBADF when it is closed. */
  descriptor(socket: object): number;
  /**
   * One at a time a socket, a second throws EBUSY. One Uint8Array per datagram, all of one ArrayBuffer. With `sizes`, which
   * add up to the request, it is sent as so many datagrams, each when the one before is answered; a failure ends it.
   */
  transact(
    socket: object,
    request: Uint8Array,
    replyLimitBytes: number,
    sizes?: Uint32Array,
  ): Promise<Uint8Array[]>;
  /** Sets SO_SNDBUF unless `bytes` is 0; returns what getsockopt tells. */
  sendBuffer(socket: object, bytes: number): number;
  /** The same for SO_RCVBUF. */
  receiveBuffer(socket: object, bytes: number): number;
  /** Idempotent; a transaction in flight finishes first. */
  close(socket: object): void;
  /** Calls back with 0 and a datagram, with ENOBUFS after a loss, or with another errno, which ends it. */
  subscribe(
    protocol: number,
    group: number,
    receiveBufferBytes: number,
    callback: (errno: number, bytes: Uint8Array | undefined) => void,
  ): object;
  /** Idempotent; nothing is called back afterwards. */
  unsubscribe(subscription: object): void;
  /**
   * Sends one datagram to the Unix socket of this address, whose first byte is zero if it is an abstract one, without waiting.
   * Returns 0 or an errno: EAGAIN when the receiver's queue is full, ECONNREFUSED or ENOENT when there is none. The receiver gets
   * descriptors of its own for `fds`, 253 at most.
   */
  sendDatagram(address: Uint8Array, message: Uint8Array, fds?: readonly number[]): number;
  /**
   * Which process listens at the stream socket of this address, as the kernel knows it: its pid, 0 when it is of a pid namespace
   * that cannot be seen from here, or a negative errno: -ECONNREFUSED when there is none.
   */
  listenerPid(address: Uint8Array): number;
  /** Connects to a stream socket of this address without waiting. Returns a descriptor, or a negative errno. */
  connectUnix(address: Uint8Array): number;
  /** Which process is at the other end of a Unix socket: its pid, 0 when it cannot be seen, or a negative errno. */
  peerPid(fd: number): number;
  /** Sends one byte to a connected stream socket, and descriptors with it, 253 at most. Returns 0 or an errno: EAGAIN when it is full. */
  sendDescriptors(fd: number, byte: Uint8Array, fds: readonly number[]): number;
  /** Takes one such byte: descriptors, which are the caller's to close; undefined at the end; or an errno: EAGAIN when none has come. */
  receiveDescriptors(fd: number): number[] | number | undefined;
  /** Another descriptor for the same thing, which is not inherited by programs that are started; or a negative errno. */
  duplicate(fd: number): number;
  /** A descriptor of an empty file in memory, or a negative errno. */
  memoryFile(): number;
  /**
   * A socket of IPv4 or IPv6 for TCP or UDP whose packets carry a mark (SO_MARK in socket(7), which takes CAP_NET_ADMIN). One of UDP has
   * a port of its own. Returns its descriptor, which is the caller's to close, or a negative errno.
   */
  openMarked(family: 4 | 6, isTcp: boolean, mark: number): number;
  /**
   * Where a TCP connection was going before its destination was translated here: fills `bytes` with the address and then the port,
   * in network order, 6 bytes for IPv4 and 18 for IPv6. Returns 0 or an errno: ENOENT where connection tracking does not know it.
   */
  originalDestination(fd: number, bytes: Uint8Array): number;
  /**
   * Writes the first `count` bytes to a connected socket without waiting. Returns how many the kernel took, or a negative errno:
   * -EAGAIN when its buffer is full.
   */
  sendNow(fd: number, bytes: Uint8Array, count: number): number;
  /** Whether a TCP connection is over in both directions, by a reset for example. Reads nothing from it. */
  isBroken(fd: number): boolean;
}

/** Path that node-gyp gives the compiled addon. */
export const builtPath: string;
/** Path of the prebuilt binary for this machine, or undefined. */
export function findPrebuilt(): string | undefined;
/** The addon's exports; throws what `require` throws. A prebuilt binary that does not load gives way to a built one. */
export function loadAddon(): Addon;
