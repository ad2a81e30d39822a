// Source translation to the address of the outgoing interface: `masquerade fully-random`.

import { attr, struct } from '../../attribute.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';
import { natFlags, withoutEqualBounds } from './nat-options.ts';

/** `flags` from NAT_FLAGS. */
export const masquerade = withoutEqualBounds(
  struct({
    flags: attr(nft.NFTA_MASQ_FLAGS, natFlags, 0),
    protoMin: attr(nft.NFTA_MASQ_REG_PROTO_MIN, register),
    protoMax: attr(nft.NFTA_MASQ_REG_PROTO_MAX, register),
  }),
);
