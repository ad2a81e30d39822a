// What a proxy needs of Node's sockets and Node does not offer: all that this program knows of their inside is here. The handle
// of a socket (`_handle`, a TCPWrap) has been there, with its `fd`, in every release; child_process takes it from a socket
// just so to hand that to another process.

import { Socket as UdpSocket } from 'node:dgram';
import { connect, type Server, Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { loadAddon } from '../../../native/load.cjs';
import { KernelError } from '../../errors.ts';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import { familyOf, type IpFamily, unpackIp } from '../../model/ip.ts';

interface Handle {
  /** Of the socket, -1 when it is closed. */
  readonly fd: number;
  /** Of a TCPWrap. */
  readonly writeQueueSize?: number;
}

interface Inside {
  _handle: Handle | null;
}

const addon = loadAddon();
/** An address and a port of each family. */
const DESTINATIONS: Readonly<Record<IpFamily, Uint8Array>> = { 4: new Uint8Array(6), 6: new Uint8Array(18) };

/** The number of a socket's descriptor, -1 without one. It is another's as soon as the socket is closed. */
export function descriptorOf(socket: object): number {
  return (socket as Inside)._handle?.fd ?? -1;
}

/**
 * The same connection as a socket that is read into `buffer` and calls back for every read, nothing being copied; as `onread` of
 * `net.connect`, which there is no way to ask a server for. `accepted` must not have been read from, and is of no use any more.
 */
export function rereadInto(accepted: Socket, onread: OnRead): Socket {
  const handle = (accepted as unknown as Inside)._handle;
  (accepted as unknown as Inside)._handle = null;
  const options = { handle, onread, allowHalfOpen: true, readable: true, writable: true, manualStart: true };
  return new Socket(options as ConstructorParameters<typeof Socket>[0]);
}

export interface OnRead {
  readonly buffer: Uint8Array;
  /** Takes the first `count` bytes of the buffer; false stops the reading until `resume`. */
  callback(count: number, buffer: Uint8Array): boolean;
}

/** What a socket that dials an endpoint is like. */
export interface DialOptions {
  readonly noDelay: boolean;
  readonly onread: OnRead;
}

/** Dials a TCP address by a socket whose packets all carry `mark`, unless that is 0. What the system refuses is an `error` event. */
export function dialMarked({ ip, port }: SocketAddress, mark: number, options: DialOptions): Socket {
  const common = { ...options, allowHalfOpen: true };
  if (mark === 0) {
    return connect({ ...common, host: ip, port, autoSelectFamily: false });
  }
  const fd = addon.openMarked(familyOf(ip), true, mark);
  if (fd < 0) return new Socket().destroy(systemError(fd));
  // It is not to be read before it is connected.
  const unread = { ...common, fd, manualStart: true, readable: true, writable: true };
  return new Socket(unread as ConstructorParameters<typeof Socket>[0]).connect({
    host: ip,
    port,
    autoSelectFamily: false,
  });
}

/** Makes what a UDP socket of this family sends carry `mark`, unless that is 0; before it is bound or connected. */
export function markUdp(
  socket: UdpSocket,
  family: IpFamily,
  mark: number,
): NodeJS.ErrnoException | undefined {
  if (mark === 0) return undefined;
  const fd = addon.openMarked(family, false, mark);
  if (fd < 0) return systemError(fd);
  socket.bind({ fd, exclusive: true });
  return undefined;
}

function systemError(errno: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(errno);
  return Object.assign(new Error(`${code}: socket`), { code, errno, syscall: 'socket' });
}

/** Where a connection of that family was going before the kernel sent it to us; undefined where it does not say. */
export function originalDestination(socket: Socket, family: IpFamily): SocketAddress | undefined {
  const destination = DESTINATIONS[family];
  if (addon.originalDestination(descriptorOf(socket), destination) !== 0) return undefined;
  const portAt = destination.length - 2;
  return {
    ip: unpackIp(String.fromCharCode(...destination.subarray(0, portAt))),
    port: (destination[portAt]! << 8) | destination[portAt + 1]!,
  };
}

/** Whether the other side is known to have gone. Nothing is read for that. */
export function isBroken(socket: Socket): boolean {
  return addon.isBroken(descriptorOf(socket));
}

/**
 * How many of the first `count` bytes the kernel takes at once, past the queue of the socket, which must be empty. What it refuses for
 * another reason than that it is full is left for the socket to find out.
 */
export function sendNow(socket: Socket, bytes: Uint8Array, count: number): number {
  return Math.max(addon.sendNow(descriptorOf(socket), bytes, count), 0);
}

/** The same of a UDP socket, whose `_handle` may not be asked for without a warning. */
function descriptorOfUdp(socket: UdpSocket): number {
  const key = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  const state = key && (socket as unknown as Record<symbol, { readonly handle?: Handle }>)[key];
  return state?.handle?.fd ?? -1;
}

/** Another descriptor of a socket, which outlives it. Throws KernelError. */
export function duplicateDescriptor(socket: Server | Socket | UdpSocket): number {
  const fd = addon.duplicate(socket instanceof UdpSocket ? descriptorOfUdp(socket) : descriptorOf(socket));
  if (fd < 0) throw new KernelError(getSystemErrorName(fd), -fd, 'duplicate a descriptor');
  return fd;
}

/** How many bytes of a socket's queue the kernel has not taken. */
export function queuedBytes(socket: Socket): number {
  return (socket as unknown as Inside)._handle?.writeQueueSize ?? 0;
}

/** A connection that another process has left, which is not read from; its descriptor is the socket's from then on. */
export function unreadConnection(fd: number): Socket {
  const options = { fd, allowHalfOpen: true, readable: true, writable: true, manualStart: true };
  return new Socket(options as ConstructorParameters<typeof Socket>[0]);
}

/** An established connection that another process has left, read as `rereadInto` does; its descriptor is the socket's from then on. */
export function adoptConnection(fd: number, onread: OnRead): Socket {
  const options = { fd, onread, allowHalfOpen: true, readable: true, writable: true, manualStart: true };
  return new Socket(options as ConstructorParameters<typeof Socket>[0]);
}
