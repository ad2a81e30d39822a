// IP addresses and CIDRs as canonical strings, and their packed network-order form.
// Parsing follows Kubernetes' "sloppy" rule (leading zeros in IPv4 octets are decimal, not octal), see
// k8s.io/utils/net ParseIPSloppy; rendering is RFC 5952. Own code rather than a package: ipaddr.js 2.5 reads
// `::1.2.3.4` as an IPv4-mapped address and takes hexadecimal octets, which Kubernetes does not.

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

const CANONICAL_IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const SLOPPY_IPV4 = /^0*(\d{1,3})\.0*(\d{1,3})\.0*(\d{1,3})\.0*(\d{1,3})$/;
const GROUP = /^[0-9a-f]{1,4}$/i;

/** The canonical form of `text`, or undefined when it is not an address. IPv4-mapped IPv6 becomes IPv4, as in Go. */
export function parseIp(text: string): Ip | undefined {
  // The common case keeps the string it was given: no new one to hold in memory.
  if (CANONICAL_IPV4.test(text)) return text as Ip;
  if (!text.includes(':')) return parseOctets(text)?.join('.') as Ip | undefined;
  const groups = parseGroups(text);
  if (groups === undefined) return undefined;
  const isMapped = groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0);
  return isMapped
    ? (`${groups[6]! >> 8}.${groups[6]! & 255}.${groups[7]! >> 8}.${groups[7]! & 255}` as Ip)
    : formatGroups(groups);
}

/** The family of a canonical address. */
export function familyOf(ip: Ip): IpFamily {
  return ip.includes(':') ? 6 : 4;
}

/** Parses `address/prefix`; host bits are cleared. Undefined when malformed. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const ipText = text.slice(0, slash);
  const ip = parseIp(ipText);
  const prefixText = text.slice(slash + 1);
  if (ip === undefined || !/^\d{1,3}$/.test(prefixText)) return undefined;
  const family = familyOf(ip);
  const prefix = Number(prefixText);
  // An IPv4-mapped network has a prefix of the wrong scale: there is no telling what was meant.
  if (family === 4 && ipText.includes(':')) return undefined;
  if (prefix > (family === 4 ? 32 : 128)) return undefined;
  const bytes = ipBytes(ip);
  for (let bit = prefix; bit < bytes.length * 8; bit++) bytes[bit >> 3]! &= ~(0x80 >> (bit & 7));
  return { ip: unpackIp(packBytes(bytes)), prefix, family };
}

/** The network of one address. */
export function hostCidr(ip: Ip): Cidr {
  const family = familyOf(ip);
  return { ip, prefix: family === 4 ? 32 : 128, family };
}

/** `ip/prefix`. */
export function formatCidr(cidr: Cidr): string {
  return `${cidr.ip}/${cidr.prefix}`;
}

/** True for 127.0.0.0/8 and ::1. */
export function isLoopback(ip: Ip): boolean {
  return ip.startsWith('127.') || ip === '::1';
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
  if (familyOf(ip) === 4) return Uint8Array.from(ip.split('.'), Number);
  return Uint8Array.from(parseGroups(ip)!.flatMap((group) => [group >> 8, group & 255]));
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
  return formatGroups(
    Array.from({ length: 8 }, (_, i) => (packed.charCodeAt(2 * i) << 8) | packed.charCodeAt(2 * i + 1)),
  );
}

function packBytes(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** The four octets of a dotted address, leading zeros allowed. */
function parseOctets(text: string): readonly number[] | undefined {
  const octets = SLOPPY_IPV4.exec(text)?.slice(1).map(Number);
  return octets?.every((octet) => octet <= 255) ? octets : undefined;
}

/** The eight 16-bit groups of an IPv6 address (RFC 4291 section 2.2); zones are refused. */
function parseGroups(text: string): readonly number[] | undefined {
  const dotted = text.slice(text.lastIndexOf(':') + 1);
  if (dotted.includes('.')) {
    const octets = parseOctets(dotted);
    if (octets === undefined) return undefined;
    const [high, low] = [(octets[0]! << 8) | octets[1]!, (octets[2]! << 8) | octets[3]!];
    return parseGroups(
      `${text.slice(0, text.length - dotted.length)}${high.toString(16)}:${low.toString(16)}`,
    );
  }
  const halves = text.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const [head, tail] = [halves[0]!, halves[1] ?? []];
  const missing = 8 - head.length - tail.length;
  if (halves.length > 2 || (halves.length === 2 ? missing < 1 : missing !== 0)) return undefined;
  const groups = [...head, ...Array<string>(missing).fill('0'), ...tail];
  return groups.every((group) => GROUP.test(group))
    ? groups.map((group) => Number.parseInt(group, 16))
    : undefined;
}

/** RFC 5952 section 4: lower case, no leading zeros, the first longest run of two or more zero groups is `::`. */
function formatGroups(groups: readonly number[]): Ip {
  let [start, length] = [0, 1];
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (groups[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
  }
  const hex = groups.map((group) => group.toString(16));
  if (length < 2) return hex.join(':') as Ip;
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}` as Ip;
}
