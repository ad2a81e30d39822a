// Tables (NFTA_TABLE_*).

import { attr, required, struct } from '../attribute.ts';
import { string, u32be, u64be } from '../codec.ts';
import type { NetlinkMessage } from '../message.ts';
import type { AnyFamily } from './family.ts';
import { decodeMessage } from './header.ts';
import * as nft from './uapi.ts';
import { comment } from './userdata.ts';

/** NFT_TABLE_F_*. `owner` and `persist` need kernels 5.12 and 6.9. */
export const TABLE_FLAGS = { dormant: 1, owner: 2, persist: 4 } as const;

export const tableAttributes = struct({
  table: required(nft.NFTA_TABLE_NAME, string),
  flags: attr(nft.NFTA_TABLE_FLAGS, u32be, 0),
  handle: attr(nft.NFTA_TABLE_HANDLE, u64be),
  comment: attr(nft.NFTA_TABLE_USERDATA, comment),
  owner: attr(nft.NFTA_TABLE_OWNER, u32be),
});

export interface Table {
  readonly family: AnyFamily;
  readonly table: string;
  /** From TABLE_FLAGS. */
  readonly flags?: number;
  readonly handle?: bigint;
  readonly comment?: string;
  /** Netlink port of the process that owns it. */
  readonly owner?: number;
}

export function decodeTable(message: NetlinkMessage): Table {
  return decodeMessage('table', message, tableAttributes);
}
