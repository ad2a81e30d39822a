// The virtual-IP table for /debug/table: what `kproxy-ts table -o json` prints.

import { formatJson, sortRows } from '../../cli/format-table.ts';
import type { Settings } from '../../config/settings.ts';
import { readVipTable } from '../inspect.ts';
import type { Log } from '../log.ts';

/** Throws KproxyError. */
export async function tableJson({ proxyMode, iptables }: Settings, log: Log): Promise<string> {
  const found = await readVipTable(proxyMode, { iptablesBackend: iptables.backend }, log);
  return formatJson(sortRows(found?.rows ?? []));
}
