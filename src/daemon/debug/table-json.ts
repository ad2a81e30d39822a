// The virtual-IP table for /debug/table: what `kproxy-ts table -o json` prints, and in userspace
// mode the endpoints, too, which are not in the kernel.

import { formatJson, sortRows } from '../../cli/format-table.ts';
import type { Settings } from '../../config/settings.ts';
import type { LivePortals } from '../backend.ts';
import { readVipTable } from '../inspect.ts';
import type { Log } from '../log.ts';

/** Throws KproxyError. */
export async function tableJson(
  { proxyMode, iptables }: Settings,
  log: Log,
  portals?: Pick<LivePortals, 'completed'>,
): Promise<string> {
  const found = await readVipTable(proxyMode, { iptablesBackend: iptables.backend }, log);
  const rows = found?.rows ?? [];
  return formatJson(sortRows(portals?.completed(rows) ?? rows));
}
