// TCP connections of the addon's own on loopback, for scripts that run in a namespace.

import { constants } from 'node:os';
import { loadAddon } from '../../../native/load.cjs';

export const addon = loadAddon();
const { EAGAIN } = constants.errno;

export interface Pair {
  readonly dialled: number;
  readonly accepted: number;
}

/** Both ends of a connection, which loopback makes at once. */
export function connectPair(listener: number, ip: string, port: number): Pair {
  const dialled = addon.connectTcp(ip, port, 0);
  const accepted = new Int32Array(7);
  for (;;) {
    if (addon.acceptTcp(listener, 0, accepted) === 1) return { dialled, accepted: accepted[1]! };
    if (accepted[0] !== EAGAIN) throw new Error(`accept: errno ${accepted[0]}`);
  }
}

/** A listening socket of that address, and its port. */
export function listen(ip: string): { readonly fd: number; readonly port: number } {
  const fd = addon.openTcpListener(ip, 0);
  return { fd, port: addon.listenTcp(fd, 16) };
}

/** The name of what a call throws. */
export function thrown(call: () => unknown): string {
  try {
    return `returned ${call()}`;
  } catch (error) {
    return (error as Error).name;
  }
}
