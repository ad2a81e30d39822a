// Numbers that nft stores as the type of a set's key and data, so that it can print them (nftables, datatype.h).
// The kernel keeps them and asks nothing of them, except that a verdict is not data.

import { NFT_DATA_VERDICT } from './uapi.ts';

export const DATATYPE = {
  integer: 4,
  ipv4_addr: 7,
  ipv6_addr: 8,
  inet_proto: 12,
  inet_service: 13,
  mark: 19,
  classid: 23,
  verdict: NFT_DATA_VERDICT,
} as const;

/** nft's TYPE_BITS */
const BITS_PER_TYPE = 6;

/** The type of a concatenation: `concatType(DATATYPE.ipv4_addr, DATATYPE.inet_service)`. At most five parts fit. */
export function concatType(...types: readonly number[]): number {
  return types.reduce((concatenated, type) => (concatenated << BITS_PER_TYPE) | type, 0);
}
