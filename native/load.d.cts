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
   * A UDP socket of a family, with a port of its own, whose packets carry a mark (SO_MARK in socket(7), which takes CAP_NET_ADMIN).
   * Returns its descriptor, which is the caller's to close, or a negative errno.
   */
  openMarkedUdp(family: 4 | 6, mark: number): number;
  /**
   * A TCP socket at a canonical address, and a port unless that is 0, that does not listen yet; one of IPv6 is for that alone. Returns
   * its descriptor, which is the caller's to close, or a negative errno. Of `ip` and `port` that are none it throws, here and below.
   */
  openTcpListener(ip: string, port: number): number;
  /** Makes a bound socket listen, or changes the length of its queue (listen(2)). Returns its port, or a negative errno. */
  listenTcp(fd: number, backlog: number): number;
  /**
   * Takes connections that wait, as many as `accepted` has room for, and returns how many. The first number there becomes the errno that
   * stopped it: EAGAIN when no more wait, 0 when there was no room. Then come six numbers for each: its descriptor, which is the
   * caller's to close, does not wait and does not delay what is small (TCP_NODELAY); the port that it was going to before its destination
   * was translated here, 0 where connection tracking does not know, or `family` is 0, which asks for none; and the address in network
   * order, 4 or 16 bytes.
   */
  acceptTcp(listener: number, family: 0 | 4 | 6, accepted: Int32Array): number;
  /**
   * Begins to connect, without waiting and without delaying what is small, by a socket whose packets carry `mark` unless that is 0.
   * Returns its descriptor, which is the caller's to close, or a negative errno.
   */
  connectTcp(ip: string, port: number, mark: number): number;
  /** What went wrong with a socket since it was asked last (SO_ERROR): 0 or an errno. A connection that was reset has failed. */
  socketError(fd: number): number;
  /**
   * Who is at the other end of a TCP connection: fills the beginning of `bytes`, 18 at least, with the address and then the port, in
   * network order, and returns how many these are, 6 or 18; or a negative errno: -ENOTCONN of one that was reset.
   */
  peerAddress(fd: number, bytes: Uint8Array): number;
  /** Reads what there is, without waiting. Returns how many bytes, 0 at the end, or a negative errno: -EAGAIN when there is nothing. */
  receiveTcp(fd: number, bytes: Uint8Array): number;
  /**
   * Writes the first `count` bytes to a connected socket without waiting. Returns how many the kernel took, or a negative errno:
   * -EAGAIN when its buffer is full.
   */
  sendTcp(fd: number, bytes: Uint8Array, count: number): number;
  /** Says to the other side that this was all. Returns 0 or an errno: ENOTCONN of one that was reset. */
  shutdownWriting(fd: number): number;
  /** Has the kernel ask now and then whether the other side is still there (SO_KEEPALIVE in socket(7), tcp(7)). Returns 0 or an errno. */
  keepAlive(fd: number, idleSeconds: number, intervalSeconds: number, probes: number): number;
  /** Closes a TCP socket: what was sent is still delivered, unless it is reset. Returns 0 or an errno. */
  closeTcp(fd: number, isReset: boolean): number;
  /**
   * Something that tells which descriptors have become readable or writable (epoll(7), edge-triggered). Calls back with a count after
   * it has put two numbers for each into `told`: the id and the event bits. More than there is room for come with the next turn
   * of the event loop. What the callback queues runs before that; what it throws is an uncaught exception. Keeps no process alive. Throws
   * an Error with `errno` when there can be none.
   */
  openReadiness(told: Float64Array, callback: (count: number) => void): object;
  /**
   * Tells of a descriptor from now on, and at once what it is ready for. Its end is the end of that, where nobody else has the same
   * socket. Ids are whole numbers of the caller's, 0 to 2^53 - 1. Returns 0 or an errno: EEXIST when it is told of already.
   */
  watchReadiness(readiness: object, fd: number, id: number): number;
  /** Tells no more of it. Returns 0 or an errno: ENOENT when it was not told of. */
  unwatchReadiness(readiness: object, fd: number): number;
  /** Idempotent; nothing is called back afterwards, and nothing can be watched. */
  closeReadiness(readiness: object): void;
}

/** Path that node-gyp gives the compiled addon. */
export const builtPath: string;
/** Path of the prebuilt binary for this machine, or undefined. */
export function findPrebuilt(): string | undefined;
/** The addon's exports; throws what `require` throws. A prebuilt binary that does not load gives way to a built one. */
export function loadAddon(): Addon;
