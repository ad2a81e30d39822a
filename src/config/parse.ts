// Parsers of flag values, pure. Each throws ConfigError saying what it wants and what it got; the caller adds the flag's name.
// The syntax is Go's (time.ParseDuration, strconv.ParseBool, spf13/pflag), since command lines written for kube-proxy must work.

import { ConfigError } from '../errors.ts';
import { parseGoDuration } from '../model/duration.ts';
import { type Cidr, parseCidr, parseIp } from '../model/ip.ts';
import { quote } from './printable.ts';

/** Where a server listens; host `0.0.0.0` or `::` for every address. */
export interface ListenAddress {
  readonly host: string;
  /** 0 lets the kernel choose. */
  readonly port: number;
}

/** linux/if.h: the room for a name with the byte that ends it. */
const IFNAMSIZ = 16;

/** Milliseconds (possibly a fraction) of a Go duration: `1h30m`, `250ms`, `1.5s`, `0`. */
export function parseDuration(text: string): number {
  const ms = parseGoDuration(text);
  if (ms === 'malformed')
    throw new ConfigError(`must be a duration such as 30s or 1h30m, got ${quote(text)}`);
  if (ms === 'too-long')
    throw new ConfigError(`must be a duration of less than 292 years, got ${quote(text)}`);
  return ms;
}

/** A decimal integer in `min` to `max`. */
export function parseInteger(text: string, min: number, max = Number.POSITIVE_INFINITY): number {
  const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max && Number.isSafeInteger(value)) return value;
  const range = Number.isFinite(max) ? `from ${min} to ${max}` : `of at least ${min}`;
  throw new ConfigError(`must be an integer ${range}, got ${quote(text)}`);
}

/** strconv.ParseBool. */
export function parseBoolean(text: string): boolean {
  if (/^(?:1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(?:0|f|F|FALSE|false|False)$/.test(text)) return false;
  throw new ConfigError(`must be true or false, got ${quote(text)}`);
}

/** One of `values`. */
export function parseEnum<T extends string>(text: string, values: readonly T[]): T {
  const value = values.find((candidate) => candidate === text);
  if (value === undefined) throw new ConfigError(`must be ${values.join(' or ')}, got ${quote(text)}`);
  return value;
}

/** Comma-separated items of any number of occurrences, trimmed. An empty text holds no items, an empty item is kept. */
export function parseList(texts: readonly string[]): string[] {
  return texts.flatMap((text) => (text.trim() === '' ? [] : text.split(',').map((item) => item.trim())));
}

/** `address/prefix` each. */
export function parseCidrs(items: readonly string[]): Cidr[] {
  return items.map((item) => {
    const cidr = parseCidr(item);
    if (cidr === undefined) throw new ConfigError(`must be CIDRs such as 10.0.0.0/8, got ${quote(item)}`);
    return cidr;
  });
}

/**
 * The name of a network interface, or the beginning of such names; '' stays '' (not given). What the kernel would not
 * take as one (net/core/dev.c dev_valid_name) could match nothing.
 */
export function parseInterfaceName(text: string): string {
  if (text === '') return text;
  const isValid = Buffer.byteLength(text) < IFNAMSIZ && !/[\s/:]|^\.{1,2}$/.test(text);
  if (!isValid) {
    throw new ConfigError(
      `must be the name of an interface: at most ${IFNAMSIZ - 1} bytes, no space, "/" or ":", got ${quote(text)}`,
    );
  }
  return text;
}

/** An IP, or an IP and a port: `0.0.0.0:10256`, `[::1]:10249`. '' stays undefined: no server. */
export function parseListenAddress(text: string, defaultPort: number): ListenAddress | undefined {
  if (text === '') return undefined;
  const bare = parseIp(text);
  if (bare !== undefined) return { host: bare, port: defaultPort };
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = parseIp(bracketed ?? plain ?? '');
  if (host === undefined || Number(port) > 65535) {
    throw new ConfigError(`must be an IP and a port such as 127.0.0.1:${defaultPort}, got ${quote(text)}`);
  }
  return { host, port: Number(port) };
}

/** A node name, trimmed and in lower case as kube-proxy does; '' stays '' (not given). */
export function parseHostname(text: string): string {
  const name = text.trim().toLowerCase();
  if (name === '' && text !== '') throw new ConfigError(`must not be blank, got ${quote(text)}`);
  return name;
}
