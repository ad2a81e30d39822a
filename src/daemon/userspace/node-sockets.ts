// What is needed of Node's sockets and Node does not offer: all that this program knows of their inside is here. The handle
// of a socket (`_handle`) has been there, with its `fd`, in every release; child_process takes it from a socket just so to hand
// that to another process. TCP of the proxies is none of Node's (tcp-socket.ts).

import type { Socket as UdpSocket } from 'node:dgram';
import { getSystemErrorName } from 'node:util';
import { loadAddon } from '../../../native/load.cjs';
import { KernelError } from '../../errors.ts';
import type { IpFamily } from '../../model/ip.ts';

interface Handle {
  /** Of the socket, -1 when it is closed. */
  readonly fd: number;
}

const addon = loadAddon();

/** The number of a socket's descriptor, -1 without one. It is another's as soon as the socket is closed. */
export function descriptorOf(socket: object): number {
  return (socket as { readonly _handle: Handle | null })._handle?.fd ?? -1;
}

/** Makes what a UDP socket of this family sends carry `mark`, unless that is 0; before it is bound or connected. */
export function markUdp(
  socket: UdpSocket,
  family: IpFamily,
  mark: number,
): NodeJS.ErrnoException | undefined {
  if (mark === 0) return undefined;
  const fd = addon.openMarkedUdp(family, mark);
  if (fd < 0) return systemError(fd);
  socket.bind({ fd, exclusive: true });
  return undefined;
}

function systemError(errno: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(errno);
  return Object.assign(new Error(`${code}: socket`), { code, errno, syscall: 'socket' });
}

/** The same of a UDP socket, whose `_handle` may not be asked for without a warning. */
export function descriptorOfUdp(socket: UdpSocket): number {
  const key = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  const state = key && (socket as unknown as Record<symbol, { readonly handle?: Handle }>)[key];
  return state?.handle?.fd ?? -1;
}

/** Another descriptor of the same socket, which outlives it. Throws KernelError. */
export function duplicateDescriptor(fd: number): number {
  const duplicate = addon.duplicate(fd);
  if (duplicate < 0)
    throw new KernelError(getSystemErrorName(duplicate), -duplicate, 'duplicate a descriptor');
  return duplicate;
}
