// A match of iptables run by nf_tables (nft_compat): `-m comment …`, as `xt match "comment"` in listings of nft.

import { required, struct } from '../../attribute.ts';
import { bytes, string, u32be } from '../../codec.ts';
import * as nft from '../uapi.ts';

/** `info` is the match's own struct, such as xt_comment_info, as a binary string: src/netlink/iptables knows some. */
export const match = struct({
  name: required(nft.NFTA_MATCH_NAME, string),
  revision: required(nft.NFTA_MATCH_REV, u32be),
  info: required(nft.NFTA_MATCH_INFO, bytes),
});
