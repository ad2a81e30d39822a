// Which of the kernel's two kinds of iptables tables this mode writes to.

import type { Settings } from '../../config/settings.ts';
import type { Log } from '../log.ts';
import { NftConnection } from '../nft-connection.ts';
import { NftIptablesTables } from './nft-tables.ts';
import type { IptablesTables } from './tables.ts';

/** Throws KproxyError where neither can be had. */
export async function openIptablesTables(
  _settings: Settings,
  _log: Log,
  onForeignChange: () => void,
): Promise<IptablesTables> {
  const connection = new NftConnection();
  try {
    await connection.generation();
  } catch (error) {
    connection.close();
    throw error;
  }
  return new NftIptablesTables(connection, onForeignChange);
}
