// A constant into a register, or a verdict: `accept`, `goto refuse`.

import { attr, required, struct } from '../../attribute.ts';
import { bytes } from '../../codec.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';
import { verdict } from '../verdict.ts';

/** `verdict` goes into VERDICT_REGISTER, `data` into any other. */
export const immediate = struct({
  register: required(nft.NFTA_IMMEDIATE_DREG, register),
  data: attr([nft.NFTA_IMMEDIATE_DATA, nft.NFTA_DATA_VALUE], bytes),
  verdict: attr([nft.NFTA_IMMEDIATE_DATA, nft.NFTA_DATA_VERDICT], verdict),
});
