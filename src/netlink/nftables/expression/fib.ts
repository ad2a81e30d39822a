// Asks the routing table about an address of the packet: `fib daddr type local`.

import { required, struct } from '../../attribute.ts';
import { oneOf, u32be } from '../../codec.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';

/** linux/netfilter/nf_tables.h, NFTA_FIB_F_*: which parts of the packet the question uses. */
export const FIB_FLAGS = { saddr: 1, daddr: 2, mark: 4, iif: 8, oif: 16, present: 32 } as const;

/** `type` answers with an address type (RTN_LOCAL is 2), in host order. */
export const fib = struct({
  flags: required(nft.NFTA_FIB_FLAGS, u32be),
  result: required(nft.NFTA_FIB_RESULT, oneOf(u32be, { oif: 1, oifname: 2, type: 3 })),
  register: required(nft.NFTA_FIB_DREG, register),
});
