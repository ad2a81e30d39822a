// Counts what passes: `counter`. Dumps carry the counts; a new counter starts at those given, or at zero.

import { attr, struct } from '../../attribute.ts';
import { u64be } from '../../codec.ts';
import * as nft from '../uapi.ts';

export const counter = struct({
  bytes: attr(nft.NFTA_COUNTER_BYTES, u64be, 0n),
  packets: attr(nft.NFTA_COUNTER_PACKETS, u64be, 0n),
});
