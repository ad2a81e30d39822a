// Destination translation to this node: `redirect to :8080`.

import { attr, struct } from '../../attribute.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';
import { natFlags, withoutEqualBounds } from './nat-options.ts';

/** `flags` from NAT_FLAGS. */
export const redirect = withoutEqualBounds(
  struct({
    protoMin: attr(nft.NFTA_REDIR_REG_PROTO_MIN, register),
    protoMax: attr(nft.NFTA_REDIR_REG_PROTO_MAX, register),
    flags: attr(nft.NFTA_REDIR_FLAGS, natFlags, 0),
  }),
);
