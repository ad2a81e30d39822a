// Which of the kernel's two kinds of iptables tables this mode writes to, and the way there.

import type { IptablesBackendChoice } from '../../config/flags.ts';
import type { Log } from '../log.ts';
import { NftConnection } from '../nft-connection.ts';
import { chooseVariant } from './choose-backend.ts';
import { runProgram } from './legacy-program.ts';
import { LegacyIptablesTables } from './legacy-tables.ts';
import { LegacyTool } from './legacy-tool.ts';
import { NftIptablesTables } from './nft-tables.ts';
import type { IptablesTables } from './tables.ts';

/**
 * `onForeignChange` is called when somebody else has changed our rules, where the kernel tells of that. Throws KproxyError
 * when the tables cannot be had.
 */
export async function openIptablesTables(
  choice: IptablesBackendChoice,
  log: Log,
  onForeignChange: () => void,
): Promise<IptablesTables> {
  const connection = new NftConnection();
  let isKept = false;
  try {
    const { variant, reason } = await chooseVariant(choice, { connection, run: runProgram });
    if (variant === 'nft') {
      // Fails at once where every sync would.
      await connection.generation();
      log.info({ backend: variant, reason }, 'iptables');
      isKept = true;
      return new NftIptablesTables(connection, onForeignChange);
    }
    const tool = await LegacyTool.find(runProgram);
    log.info({ backend: variant, reason, tool: tool.description }, 'iptables');
    return new LegacyIptablesTables({ tool, now: () => performance.now() });
  } finally {
    if (!isKept) connection.close();
  }
}
