// Turns the numbers in a register between host and network order.

import { required, struct } from '../../attribute.ts';
import { oneOf, u32be } from '../../codec.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';

/** `length` bytes in numbers of `size` bytes each. */
export const byteorder = struct({
  sourceRegister: required(nft.NFTA_BYTEORDER_SREG, register),
  register: required(nft.NFTA_BYTEORDER_DREG, register),
  op: required(nft.NFTA_BYTEORDER_OP, oneOf(u32be, { ntoh: 0, hton: 1 })),
  length: required(nft.NFTA_BYTEORDER_LEN, u32be),
  size: required(nft.NFTA_BYTEORDER_SIZE, u32be),
});
