// Hash of registers, or of the flow: `jhash ip saddr mod 2 seed 0x1`, `symhash mod 2`.

import { attr, required, struct } from '../../attribute.ts';
import { oneOf, u32be } from '../../codec.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';

/** jhash reads `length` bytes from `sourceRegister`; without a seed the kernel takes a random one. */
export const hash = struct({
  sourceRegister: attr(nft.NFTA_HASH_SREG, register),
  register: required(nft.NFTA_HASH_DREG, register),
  length: attr(nft.NFTA_HASH_LEN, u32be),
  modulus: required(nft.NFTA_HASH_MODULUS, u32be),
  seed: attr(nft.NFTA_HASH_SEED, u32be),
  offset: attr(nft.NFTA_HASH_OFFSET, u32be, 0),
  type: attr(nft.NFTA_HASH_TYPE, oneOf(u32be, { jhash: 0, symhash: 1 }), 'jhash'),
});
