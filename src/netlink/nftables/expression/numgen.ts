// Random or round-robin numbers: `numgen random mod 3`.

import { attr, required, struct } from '../../attribute.ts';
import { oneOf, u32be } from '../../codec.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';

/** enum nft_ng_types */
export const NUMGEN_TYPES = { inc: 0, random: 1 } as const;

/** `offset` to `offset + modulus - 1`, in host order, into `register`. */
export const numgen = struct({
  register: required(nft.NFTA_NG_DREG, register),
  modulus: required(nft.NFTA_NG_MODULUS, u32be),
  type: required(nft.NFTA_NG_TYPE, oneOf(u32be, NUMGEN_TYPES)),
  offset: attr(nft.NFTA_NG_OFFSET, u32be, 0),
});
