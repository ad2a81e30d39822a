// The table of the kernel's scheduler `mh` (net/netfilter/ipvs/ip_vs_mh.c, linux/siphash.h): which real server it has for a
// client's hash depends on the order in which real servers were added, and on the last weight of those that have none now.

import { type Ip, ipBytes } from '../../src/model/ip.ts';
import type { RealServer } from '../../src/netlink/ipvs/virtual-server.ts';

export interface MaglevServer {
  readonly realServer: RealServer;
  /** The last one above 0, unless it was added without any. */
  readonly lastWeight: number;
}

/** Number of places: the kernel's with CONFIG_IP_VS_MH_TAB_INDEX=12, its default and Debian's. */
const PLACES = 4093;
/** IP_VS_MH_TAB_BITS: weights with more bits than that are shifted. */
const WEIGHT_BITS = 6;

const MASK = (1n << 64n) - 1n;
const FIRST_KEY = 2_654_435_761n;
const SECOND_KEY = 2_654_446_892n;

/** Whom each place leads to; `servers` are in the kernel's order, the youngest first. Empty without weights. */
export function maglevTable(servers: readonly MaglevServer[]): readonly MaglevServer[] {
  const weights = servers.map(({ lastWeight }) => lastWeight).filter((one) => one > 0);
  if (weights.length === 0) return [];
  const divisor = weights.reduce(greatestCommonDivisor);
  const shift = Math.max(bitsOf(Math.max(...weights) / divisor) - WEIGHT_BITS, 0);
  const setups = servers.map((server) => {
    const { address, port } = server.realServer;
    return {
      server,
      at: hashOf(address, port, FIRST_KEY) % PLACES,
      skip: (hashOf(address, port, SECOND_KEY) % (PLACES - 1)) + 1,
      turns: server.lastWeight === 0 ? 0 : Math.max((server.lastWeight / divisor) >> shift, 1),
    };
  });
  const table = new Array<MaglevServer | undefined>(PLACES).fill(undefined);
  for (let filled = 0; ; ) {
    for (const setup of setups) {
      for (let turn = 0; turn < setup.turns; turn++) {
        while (table[setup.at] !== undefined) setup.at = (setup.at + setup.skip) % PLACES;
        table[setup.at] = setup.server;
        if (++filled === PLACES) return table as MaglevServer[];
      }
    }
  }
}

/** With `hasFallback` others are tried where whoever has the place takes no connections. */
export function maglevChoice(
  table: readonly MaglevServer[],
  client: Ip,
  hasFallback: boolean,
): RealServer | undefined {
  const first = hashOf(client, 0, FIRST_KEY) % PLACES;
  const chosen = table[first];
  if (chosen === undefined || chosen.realServer.weight > 0) return chosen?.realServer;
  if (!hasFallback) return undefined;
  for (let offset = 0; offset < PLACES; offset++) {
    const { realServer } = table[hashOf(client, 0, FIRST_KEY, (offset + first) % PLACES) % PLACES]!;
    if (realServer.weight > 0) return realServer;
  }
  return undefined;
}

/** ip_vs_mh_hashkey */
function hashOf(address: Ip, port: number, key: bigint, offset = 0): number {
  const bytes = ipBytes(address);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let fold = 0;
  for (let i = 0; i < bytes.length; i += 4) fold ^= view.getUint32(i);
  return halfSipHash((offset + port + fold) >>> 0, key);
}

/** hsiphash_1u32 where words have 64 bits: SipHash-1-3, the lower half of it. Both halves of the key are `key`. */
function halfSipHash(word: number, key: bigint): number {
  let [a, b, c, d] = [
    0x736f6d6570736575n ^ key,
    0x646f72616e646f6dn ^ key,
    0x6c7967656e657261n ^ key,
    0x7465646279746573n ^ key,
  ];
  const rotate = (value: bigint, by: bigint): bigint => ((value << by) | (value >> (64n - by))) & MASK;
  const round = (): void => {
    a = (a + b) & MASK;
    b = rotate(b, 13n) ^ a;
    a = rotate(a, 32n);
    c = (c + d) & MASK;
    d = rotate(d, 16n) ^ c;
    a = (a + d) & MASK;
    d = rotate(d, 21n) ^ a;
    c = (c + b) & MASK;
    b = rotate(b, 17n) ^ c;
    c = rotate(c, 32n);
  };
  const block = (4n << 56n) | BigInt(word);
  d ^= block;
  round();
  a ^= block;
  c ^= 0xffn;
  round();
  round();
  round();
  return Number((a ^ b ^ c ^ d) & 0xffff_ffffn);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** fls */
function bitsOf(value: number): number {
  return 32 - Math.clz32(value);
}
