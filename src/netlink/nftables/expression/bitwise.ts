// Bit operations on a register. All boolean ones are `(source & mask) ^ xor`: `mark | 0x4000` has mask ffffbfff and xor
// 00004000. Masks are the register's bytes: values of packet marks are in host order.

import { attr, required, struct } from '../../attribute.ts';
import { bytes, oneOf, u32be } from '../../codec.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';

/** `length` in bytes; `mask` and `xor` for boolean, `data` (a shift width) for the shifts. */
export const bitwise = struct({
  sourceRegister: required(nft.NFTA_BITWISE_SREG, register),
  register: required(nft.NFTA_BITWISE_DREG, register),
  op: attr(nft.NFTA_BITWISE_OP, oneOf(u32be, { boolean: 0, lshift: 1, rshift: 2 }), 'boolean'),
  length: required(nft.NFTA_BITWISE_LEN, u32be),
  mask: attr([nft.NFTA_BITWISE_MASK, nft.NFTA_DATA_VALUE], bytes),
  xor: attr([nft.NFTA_BITWISE_XOR, nft.NFTA_DATA_VALUE], bytes),
  data: attr([nft.NFTA_BITWISE_DATA, nft.NFTA_DATA_VALUE], bytes),
});
