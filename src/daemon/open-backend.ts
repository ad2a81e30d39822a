// The configured mode's way into the kernel.

import type { Settings } from '../config/settings.ts';
import type { RuleSettings } from '../mode/iptables/fixed-chains.ts';
import type { Backend } from './backend.ts';
import type { Bequest } from './handover/bequest.ts';
import { kernelFamilies } from './interfaces.ts';
import type { Log } from './log.ts';
import { isTcpLiberal, setSysctl } from './sysctl.ts';

/**
 * `onForeignChange` is called when the mode notices that somebody else has changed what is ours. Throws KproxyError where
 * every sync would fail: without CAP_NET_ADMIN, or without kernel support. What one of the `present` ones has that there can be
 * only once in a process, they share.
 */
export async function openBackend(
  settings: Settings,
  log: Log,
  onForeignChange: () => void,
  present: readonly Backend[] = [],
  bequest?: Bequest,
): Promise<Backend> {
  const families = kernelFamilies();
  const { masqueradeBit } = settings;
  if (settings.proxyMode === 'iptables') {
    const { IptablesBackend } = await import('./iptables/iptables-backend.ts');
    const { openIptablesTables } = await import('./iptables/open-tables.ts');
    const tables = await openIptablesTables(settings.iptables.backend, log, onForeignChange);
    return new IptablesBackend({ tables, families, settings: iptablesRules(settings), setSysctl, log });
  }
  if (settings.proxyMode === 'ipvs') {
    const { openIpvsBackend } = await import('./ipvs/open-ipvs.ts');
    return openIpvsBackend(settings, log, onForeignChange);
  }
  if (settings.proxyMode === 'userspace') {
    const { openUserspaceBackend } = await import('./userspace/open-userspace.ts');
    return openUserspaceBackend(settings, log, onForeignChange, present, bequest);
  }
  const { NftSession } = await import('./nft-session.ts');
  const { NftablesBackend } = await import('./nftables-backend.ts');
  const session = new NftSession();
  try {
    await session.generation();
  } catch (error) {
    session.close();
    throw error;
  }
  const { subscribeNftables } = await import('./nft-notifications.ts');
  const { watchTables } = await import('./table-watch.ts');
  const backend = new NftablesBackend({
    session,
    families,
    masqueradeBit,
    ownsTables: settings.ownsNftablesTable,
    watch: (portId) => watchTables(subscribeNftables, session.table, portId, onForeignChange),
  });
  if (!settings.localhostNodePorts) return backend;
  const { openProxies } = await import('./userspace/open-userspace.ts');
  const { WithLocalhostNodePorts } = await import('./userspace/localhost-node-ports.ts');
  return new WithLocalhostNodePorts(backend, openProxies({ localhostNodePorts: families }, log), families);
}

/** What of the settings rules of iptables mode contain. */
export function iptablesRules({ masqueradeBit, iptables }: Settings): RuleSettings {
  const { dispatch, servesLocalhostNodePorts } = iptables;
  return { masqueradeBit, servesLocalhostNodePorts, dispatch, dropsInvalid: !isTcpLiberal() };
}
