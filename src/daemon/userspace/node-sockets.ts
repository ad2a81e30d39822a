// What a proxy needs of Node's sockets and Node does not offer: all that this program knows of their inside is here. The handle
// of a socket (`_handle`, a TCPWrap) has been there, with its `fd`, in every release; child_process takes it from a socket
// just so to hand that to another process.

import { Socket } from 'node:net';
import { loadAddon } from '../../../native/load.cjs';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import { type IpFamily, unpackIp } from '../../model/ip.ts';

interface Handle {
  /** Of the socket, -1 when it is closed. */
  readonly fd: number;
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
