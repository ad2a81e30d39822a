// Packet bytes into a register, or a register into the packet: `ip daddr`, `th dport`, `@nh,16,8`.

import { attr, required, struct } from '../../attribute.ts';
import { oneOf, u32be } from '../../codec.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';

/** `offset` and `length` in bytes; with `sourceRegister` it writes, and the checksum fields say what to repair. */
export const payload = struct({
  register: attr(nft.NFTA_PAYLOAD_DREG, register),
  sourceRegister: attr(nft.NFTA_PAYLOAD_SREG, register),
  base: required(
    nft.NFTA_PAYLOAD_BASE,
    oneOf(u32be, { link: 0, network: 1, transport: 2, inner: 3, tunnel: 4 }),
  ),
  offset: required(nft.NFTA_PAYLOAD_OFFSET, u32be),
  length: required(nft.NFTA_PAYLOAD_LEN, u32be),
  checksumType: attr(nft.NFTA_PAYLOAD_CSUM_TYPE, u32be, 0),
  checksumOffset: attr(nft.NFTA_PAYLOAD_CSUM_OFFSET, u32be, 0),
  checksumFlags: attr(nft.NFTA_PAYLOAD_CSUM_FLAGS, u32be, 0),
});
