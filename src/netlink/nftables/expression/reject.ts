// Refuses the packet with an answer: `reject`, `reject with tcp reset`.

import { attr, required, struct } from '../../attribute.ts';
import { type Codec, mapped, oneOf, u8, u32be } from '../../codec.ts';
import * as nft from '../uapi.ts';

const wire = struct({
  type: required(nft.NFTA_REJECT_TYPE, oneOf(u32be, { 'icmp-unreach': 0, 'tcp-rst': 1, 'icmpx-unreach': 2 })),
  code: attr(nft.NFTA_REJECT_ICMP_CODE, u8),
});

/** `code` is the ICMP or ICMPv6 code, or for icmpx the kernel's own numbering; a reset has none. */
export type Reject = ReturnType<typeof wire.decode>;

/** nft sends a code with a reset, the kernel dumps none. */
export const reject: Codec<Reject> = mapped(
  wire,
  ({ type, code }) => (type === 'tcp-rst' || code === undefined ? { type } : { type, code }),
  (fields) => fields,
);
