// Compares a register with a constant, byte by byte: `== 6`, `!= 127`. The rule ends here if it is false.

import { required, struct } from '../../attribute.ts';
import { bytes, oneOf, u32be } from '../../codec.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';

export const cmp = struct({
  register: required(nft.NFTA_CMP_SREG, register),
  op: required(nft.NFTA_CMP_OP, oneOf(u32be, { eq: 0, neq: 1, lt: 2, lte: 3, gt: 4, gte: 5 })),
  data: required([nft.NFTA_CMP_DATA, nft.NFTA_DATA_VALUE], bytes),
});
