// Address translation from registers: `dnat ip to …`, `snat …`.

import { attr, required, struct } from '../../attribute.ts';
import { oneOf, u32be } from '../../codec.ts';
import { NFPROTO } from '../family.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';
import { natFlags, withoutEqualBounds } from './nat-options.ts';

/** `flags` from NAT_FLAGS; without the Max registers the Min ones are the whole range. */
export const nat = withoutEqualBounds(
  struct({
    type: required(nft.NFTA_NAT_TYPE, oneOf(u32be, { snat: 0, dnat: 1 })),
    family: required(nft.NFTA_NAT_FAMILY, oneOf(u32be, NFPROTO)),
    addressMin: attr(nft.NFTA_NAT_REG_ADDR_MIN, register),
    addressMax: attr(nft.NFTA_NAT_REG_ADDR_MAX, register),
    protoMin: attr(nft.NFTA_NAT_REG_PROTO_MIN, register),
    protoMax: attr(nft.NFTA_NAT_REG_PROTO_MAX, register),
    flags: attr(nft.NFTA_NAT_FLAGS, natFlags, 0),
  }),
);
