// What this host says of itself, where no Node object does.

import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { type Ip, type IpFamily, parseIp } from '../model/ip.ts';

/** Global addresses of this network namespace's interfaces, in their order; no loopback, no link-local. */
export function interfaceAddresses(): Ip[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .flatMap(({ address }) => parseIp(address) ?? []);
}

/** Families the kernel has: IPv4 always, IPv6 unless it is compiled out or switched off at boot. */
export function kernelFamilies(): IpFamily[] {
  return existsSync('/proc/net/if_inet6') ? [4, 6] : [4];
}
