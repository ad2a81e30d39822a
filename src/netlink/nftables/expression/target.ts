// A target of iptables run by nf_tables (nft_compat): `-j DNAT …`, as `xt target "DNAT"` in listings of nft.

import { required, struct } from '../../attribute.ts';
import { bytes, string, u32be } from '../../codec.ts';
import * as nft from '../uapi.ts';

/** `info` is the target's own struct, such as nf_nat_range2, as a binary string: src/netlink/iptables knows some. */
export const target = struct({
  name: required(nft.NFTA_TARGET_NAME, string),
  revision: required(nft.NFTA_TARGET_REV, u32be),
  info: required(nft.NFTA_TARGET_INFO, bytes),
});
