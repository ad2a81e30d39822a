// Searches a set, or reads a map: `ip daddr @cluster-ips`, `… vmap @services`, `dnat to … map @endpoints`.

import { attr, required, struct } from '../../attribute.ts';
import { bit, string, u32be } from '../../codec.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';

/**
 * The key starts at `register`; a map's value goes to `destRegister`, which is VERDICT_REGISTER for a verdict map.
 * `isInverted`: the rule goes on when the key is not there. `setId` names an anonymous set of the same batch; dumps
 * do not carry it.
 */
export const lookup = struct({
  register: required(nft.NFTA_LOOKUP_SREG, register),
  destRegister: attr(nft.NFTA_LOOKUP_DREG, register),
  set: required(nft.NFTA_LOOKUP_SET, string),
  setId: attr(nft.NFTA_LOOKUP_SET_ID, u32be),
  isInverted: attr(nft.NFTA_LOOKUP_FLAGS, bit(u32be, nft.NFT_LOOKUP_F_INV), false),
});
