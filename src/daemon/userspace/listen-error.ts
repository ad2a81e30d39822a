// What the system said to a socket that was to listen.

import { KernelError } from '../../errors.ts';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';

/** `errno` is positive. */
export function listenError(
  { ip, port }: SocketAddress,
  code: string,
  errno: number,
  cause?: unknown,
): KernelError {
  const at = ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
  return new KernelError(code, errno, `listen on ${at}`, undefined, { cause });
}
