// Settings of this network namespace under /proc/sys.

import { readFileSync, writeFileSync } from 'node:fs';
import { KernelError } from '../errors.ts';

/** At 1, packets from and to 127.0.0.0/8 may pass other interfaces than `lo`. */
export const ROUTE_LOCALNET = 'net/ipv4/conf/all/route_localnet';

/** Writes it unless it has the value already. `name` as in sysctl(8), with slashes. Throws KernelError. */
export function setSysctl(name: string, value: string): void {
  if (readSysctl(name) === value) return;
  try {
    writeFileSync(`/proc/sys/${name}`, value);
  } catch (error) {
    const { code = 'UNKNOWN', errno = 0 } = error as NodeJS.ErrnoException;
    throw new KernelError(code, Math.abs(errno), `set sysctl ${name}=${value}`);
  }
}

/** undefined where the kernel has no such setting. */
export function readSysctl(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Whether packets that do not fit a TCP connection's window are let pass as part of it. */
export function isTcpLiberal(): boolean {
  return readSysctl('net/netfilter/nf_conntrack_tcp_be_liberal') === '1';
}
