// Compares a register with an inclusive range of constants: `!= 1024-65535`.

import { required, struct } from '../../attribute.ts';
import { bytes, oneOf, u32be } from '../../codec.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';

export const range = struct({
  register: required(nft.NFTA_RANGE_SREG, register),
  op: required(nft.NFTA_RANGE_OP, oneOf(u32be, { eq: 0, neq: 1 })),
  from: required([nft.NFTA_RANGE_FROM_DATA, nft.NFTA_DATA_VALUE], bytes),
  to: required([nft.NFTA_RANGE_TO_DATA, nft.NFTA_DATA_VALUE], bytes),
});
