// IP addresses and CIDRs as canonical strings, and their packed network-order form.
// Parsing follows Kubernetes' "sloppy" rule (leading zeros in IPv4 octets are decimal, not octal), see
// k8s.io/utils/net ParseIPSloppy; rendering is RFC 5952.

import ipaddr from 'ipaddr.js';

/** A canonical IPv4 or IPv6 address: equal addresses are equal strings. */
export type Ip = string & { readonly __brand: 'Ip' };

/** 4 for IPv4, 6 for IPv6. */
export type IpFamily = 4 | 6;

/** A network: canonical masked address and prefix length in bits. */
export interface Cidr {
  readonly ip: Ip;
  readonly prefix: number;
  readonly family: IpFamily;
}

const IPV4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

/** The canonical form of `text`, or undefined when it is not an address. IPv4-mapped IPv6 becomes IPv4, as in Go. */
export function parseIp(text: string): Ip | undefined {
  const v4 = IPV4.exec(text);
  if (v4 !== null) {
    const [a, b, c, d] = [Number(v4[1]), Number(v4[2]), Number(v4[3]), Number(v4[4])];
    return a > 255 || b > 255 || c > 255 || d > 255 ? undefined : (`${a}.${b}.${c}.${d}` as Ip);
  }
  if (!text.includes(':') || text.includes('%') || !ipaddr.IPv6.isValid(text)) return undefined;
  const parsed = ipaddr.IPv6.parse(text);
  return (parsed.isIPv4MappedAddress() ? parsed.toIPv4Address().toString() : parsed.toRFC5952String()) as Ip;
}

/** The family of a canonical address. */
export function familyOf(ip: Ip): IpFamily {
  return ip.includes(':') ? 6 : 4;
}

/** Parses `address/prefix`; host bits are cleared. Undefined when malformed. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const prefixText = text.slice(slash + 1);
  if (ip === undefined || !/^\d{1,3}$/.test(prefixText)) return undefined;
  const family = familyOf(ip);
  const prefix = Number(prefixText);
  if (prefix > (family === 4 ? 32 : 128)) return undefined;
  const bytes = ipBytes(ip);
  for (let bit = prefix; bit < bytes.length * 8; bit++) bytes[bit >> 3]! &= ~(0x80 >> (bit & 7));
  return { ip: unpackIp(packBytes(bytes)), prefix, family };
}

/** `ip/prefix`. */
export function formatCidr(cidr: Cidr): string {
  return `${cidr.ip}/${cidr.prefix}`;
}

/** True when `ip` lies in `cidr` (never across families). */
export function cidrContains(cidr: Cidr, ip: Ip): boolean {
  if (familyOf(ip) !== cidr.family) return false;
  const [net, host] = [ipBytes(cidr.ip), ipBytes(ip)];
  const whole = cidr.prefix >> 3;
  for (let i = 0; i < whole; i++) if (net[i] !== host[i]) return false;
  const rest = cidr.prefix & 7;
  return rest === 0 || (net[whole]! ^ host[whole]!) >> (8 - rest) === 0;
}

/** 4 or 16 bytes in network order. */
export function ipBytes(ip: Ip): Uint8Array {
  return Uint8Array.from(
    familyOf(ip) === 4 ? ip.split('.').map(Number) : ipaddr.IPv6.parse(ip).toByteArray(),
  );
}

/** The address as a binary string: one character (0 to 255) per network-order byte. */
export function packIp(ip: Ip): string {
  if (ip.includes(':')) return packBytes(ipBytes(ip));
  // Hot path of planning: four octets without intermediate arrays.
  let packed = '';
  let octet = 0;
  for (let i = 0; i < ip.length; i++) {
    const char = ip.charCodeAt(i);
    if (char === 46) {
      packed += String.fromCharCode(octet);
      octet = 0;
    } else octet = octet * 10 + char - 48;
  }
  return packed + String.fromCharCode(octet);
}

/** The canonical address of 4 or 16 packed bytes. */
export function unpackIp(packed: string): Ip {
  if (packed.length === 4) {
    return `${packed.charCodeAt(0)}.${packed.charCodeAt(1)}.${packed.charCodeAt(2)}.${packed.charCodeAt(3)}` as Ip;
  }
  const bytes = Array.from({ length: packed.length }, (_, i) => packed.charCodeAt(i));
  return new ipaddr.IPv6(bytes).toRFC5952String() as Ip;
}

function packBytes(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
