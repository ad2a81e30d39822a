// Notices that somebody else changes our tables, by nf_tables' own notifications: for kernels on which they cannot be owned.

import { KproxyError } from '../errors.ts';
import { nftFamily } from '../mode/nftables/names.ts';
import { attr, struct } from '../netlink/attribute.ts';
import { string } from '../netlink/codec.ts';
import { type NetlinkMessage, splitMessages } from '../netlink/message.ts';
import { decodeMessage, messageType } from '../netlink/nftables/header.ts';
import * as nft from '../netlink/nftables/uapi.ts';
import type { Subscribe } from './nft-notifications.ts';

/** Tables, chains, rules, sets and lists of elements all have the name of their table in the same place. */
const tableName = struct({ table: attr(nft.NFTA_TABLE_NAME, string) });

/**
 * Calls back for each commit of somebody else that touches our tables (`table`), and wherever there is no telling. `ownPortId`: of the
 * socket whose commits are ours. Throws KernelError.
 */
export function watchTables(
  subscribe: Subscribe,
  table: string,
  ownPortId: number,
  onForeignChange: () => void,
): { close(): void } {
  return subscribe((event) => {
    // After an end of the subscription the check that comes with the sync period is left.
    if (event.kind !== 'datagram' || isForeign(event.bytes, table, ownPortId)) onForeignChange();
  });
}

function isForeign(datagram: Uint8Array, table: string, ownPortId: number): boolean {
  try {
    for (const message of splitMessages(datagram)) {
      // A datagram tells of one commit. Ours may be large: it is not taken apart.
      if (message.portId === ownPortId) return false;
      if (isOurs(message, table)) return true;
    }
    return false;
  } catch (error) {
    if (!(error instanceof KproxyError)) throw error;
    // What cannot be read may have been about us.
    return true;
  }
}

function isOurs(message: NetlinkMessage, ours: string): boolean {
  const type = messageType(message);
  if (type === undefined || type === nft.NFT_MSG_NEWGEN) return false;
  const { family, table } = decodeMessage('notification', message, tableName);
  return table === ours && (family === nftFamily(4) || family === nftFamily(6));
}
