// Token bucket: `limit rate 10/second burst 5 packets`.

import { attr, required, struct } from '../../attribute.ts';
import { bit, oneOf, u32be, u64be } from '../../codec.ts';
import * as nft from '../uapi.ts';

/** `rate` tokens per `unit` seconds; `isInverted` (`over`) matches what exceeds it. */
export const limit = struct({
  rate: required(nft.NFTA_LIMIT_RATE, u64be),
  unit: required(nft.NFTA_LIMIT_UNIT, u64be),
  burst: attr(nft.NFTA_LIMIT_BURST, u32be, 0),
  type: attr(nft.NFTA_LIMIT_TYPE, oneOf(u32be, { packets: 0, bytes: 1 }), 'packets'),
  isInverted: attr(nft.NFTA_LIMIT_FLAGS, bit(u32be, 1), false),
});
