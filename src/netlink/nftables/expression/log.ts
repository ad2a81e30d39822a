// Writes the packet to the kernel log, or with a group to NFLOG: `log prefix "…"`.

import { attr, struct } from '../../attribute.ts';
import { string, u16be, u32be } from '../../codec.ts';
import * as nft from '../uapi.ts';

/** `level` as in syslog; 4, warning, is the default. */
const DEFAULT_LEVEL = 4;

export const log = struct({
  prefix: attr(nft.NFTA_LOG_PREFIX, string),
  group: attr(nft.NFTA_LOG_GROUP, u16be),
  snaplen: attr(nft.NFTA_LOG_SNAPLEN, u32be, 0),
  queueThreshold: attr(nft.NFTA_LOG_QTHRESHOLD, u16be, 0),
  level: attr(nft.NFTA_LOG_LEVEL, u32be, DEFAULT_LEVEL),
  flags: attr(nft.NFTA_LOG_FLAGS, u32be, 0),
});
