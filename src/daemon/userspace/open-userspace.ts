// userspace mode's way into the kernel: proxies, the portals in front of them, and word of this host's addresses.

import type { Settings } from '../../config/settings.ts';
import { PORTAL_TABLE } from '../../mode/userspace/portals.ts';
import type { Backend } from '../backend.ts';
import { type Bequest, discard } from '../handover/bequest.ts';
import { interfaceAddresses, kernelFamilies } from '../interfaces.ts';
import { NodeAddresses } from '../ipvs/node-addresses.ts';
import type { Log } from '../log.ts';
import { openNftTransport } from '../nft-connection.ts';
import { subscribeNftables } from '../nft-notifications.ts';
import { NftSession } from '../nft-session.ts';
import { watchTables } from '../table-watch.ts';
import { Proxies, type ProxiesOptions } from './proxies.ts';
import { ProxyShare } from './proxy-share.ts';
import { UserspaceBackend } from './userspace-backend.ts';

type ProxySettings = Pick<ProxiesOptions, 'mark' | 'localhostNodePorts' | 'bequest'>;

/**
 * `onForeignChange` is called when addresses of this host, or portals that nobody owns, have changed. Of `present` backends one of this
 * mode shares what it has. Throws KproxyError where every sync would fail.
 */
export async function openUserspaceBackend(
  { masqueradeBit, userspace, localhostNodePorts }: Settings,
  log: Log,
  onForeignChange: () => void,
  present: readonly Backend[],
  bequest?: Bequest,
): Promise<UserspaceBackend> {
  const families = kernelFamilies();
  const watched = await NodeAddresses.watch({
    onChange: onForeignChange,
    onError: (error) => log.warn({ err: error }, 'addresses of this node cannot be listed'),
  });
  try {
    const proxies = { mark: 2 ** masqueradeBit, localhostNodePorts: localhostNodePorts ? families : [] };
    const share = sharedBy(present) ?? (await openShare(proxies, log, bequest));
    return new UserspaceBackend({
      share,
      // In their order, which the other does not keep.
      hostAddresses: {
        get current() {
          const all = new Set(watched.current);
          return interfaceAddresses().filter((ip) => all.has(ip));
        },
        close: () => watched.close(),
      },
      families,
      masqueradeBit,
      bindAddress: userspace.bindAddress,
      watch: (portId) => watchTables(subscribeNftables, PORTAL_TABLE, portId, onForeignChange),
    });
  } catch (error) {
    watched.close();
    throw error;
  }
}

function sharedBy(present: readonly Backend[]): ProxyShare | undefined {
  for (const backend of present)
    if (backend instanceof UserspaceBackend && backend.share.isUsable) return backend.share;
  return undefined;
}

/** A bequest is owned, whatever comes of it. */
async function openShare(
  options: ProxySettings,
  log: Log,
  bequest: Bequest | undefined,
): Promise<ProxyShare> {
  const left = bequest && ProxyShare.parts(bequest);
  const session = new NftSession(openNftTransport(left?.session), PORTAL_TABLE);
  try {
    await session.generation();
  } catch (error) {
    session.close();
    discard(left?.proxies.fds ?? []);
    throw error;
  }
  return new ProxyShare(session, openProxies({ ...options, bequest: left?.proxies }, log));
}

/** Proxies that tell the log what keeps clients from being served. */
export function openProxies(options: ProxySettings, log: Log): Proxies {
  return new Proxies({ ...options, tell: ({ reason, ...trouble }) => log.warn(trouble, reason) });
}
