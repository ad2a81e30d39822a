// One virtual server as the kernel has it × as it shall be → requests. Those that open the way come first, those that
// close it last; what leads packets there is written between them.

import { isDeepEqual } from '../../model/deep-equal.ts';
import type { Ip } from '../../model/ip.ts';
import type { IpvsRequest } from '../../netlink/ipvs/request.ts';
import type { RealServer, VirtualServer, VirtualServerKey } from '../../netlink/ipvs/virtual-server.ts';
import { type PlannedServer, realId, realServersOf, virtualServerAt } from './planned-server.ts';

export interface KnownServer {
  readonly server: VirtualServer;
  /** By `realId`. */
  readonly realServers: ReadonlyMap<string, RealServer>;
}

export interface ServerPlan {
  readonly key: VirtualServerKey;
  readonly first: readonly IpvsRequest[];
  readonly last: readonly IpvsRequest[];
  /** Real servers that stay at weight 0 until their connections have ended. */
  readonly draining: readonly RealServer[];
}

/**
 * Connections of UDP have no end: to keep them would be to send datagrams to whoever has the address next. And `dh` goes on
 * choosing a real server without weight, in vain.
 */
function drains({ protocol, scheduler }: VirtualServer): boolean {
  return protocol !== 'UDP' && scheduler !== 'dh';
}

/** What makes the virtual server at an address the wanted one. Those of the kernel that nobody wants drain. */
export function planServerChange(
  address: Ip,
  known: KnownServer | undefined,
  wanted: PlannedServer,
): ServerPlan {
  const server = virtualServerAt(wanted, address);
  const { family, protocol, port } = server;
  const key: VirtualServerKey = { family, protocol, address, port };
  const first: IpvsRequest[] = [];
  const last: IpvsRequest[] = [];
  const draining: RealServer[] = [];
  if (known === undefined) first.push({ kind: 'add virtual server', virtualServer: server });
  else if (!isSameServer(known.server, server)) {
    first.push({ kind: 'edit virtual server', virtualServer: server });
  }
  const present = known?.realServers ?? NO_SERVERS;
  const wantedIds = new Set<string>();
  for (const realServer of realServersOf(wanted)) {
    const id = realId(realServer);
    wantedIds.add(id);
    const before = present.get(id);
    if (before === undefined) first.push({ kind: 'add real server', virtualServer: key, realServer });
    else if (!isSameRealServer(before, realServer)) {
      first.push({ kind: 'edit real server', virtualServer: key, realServer });
    }
  }
  for (const [id, realServer] of present) {
    if (wantedIds.has(id)) continue;
    const drained: RealServer = { ...realServer, weight: 0 };
    if (!drains(server)) last.push({ kind: 'delete real server', virtualServer: key, realServer });
    else {
      if (realServer.weight !== 0)
        last.push({ kind: 'edit real server', virtualServer: key, realServer: drained });
      draining.push(drained);
    }
  }
  return { key, first, last, draining };
}

/**
 * With it go its connections: to keep them is to keep its address, at which nobody else could be reached meanwhile.
 */
export function planRemoval({ family, protocol, address, port }: VirtualServerKey): ServerPlan {
  const key: VirtualServerKey = { family, protocol, address, port };
  return { key, first: [], last: [{ kind: 'delete virtual server', virtualServer: key }], draining: [] };
}

const NO_SERVERS: ReadonlyMap<string, RealServer> = new Map();

/** Whether two are set up alike. */
export function isSameServer(a: VirtualServer, b: VirtualServer): boolean {
  const settings = ({ scheduler, flags, persistenceSeconds, persistencePrefix }: VirtualServer) => ({
    scheduler,
    flags,
    persistenceSeconds,
    // Without persistence the kernel keeps whatever it was told last.
    persistencePrefix: persistenceSeconds === undefined ? 0 : persistencePrefix,
  });
  return isDeepEqual(settings(a), settings(b));
}

/** What is local to this host the kernel forwards as such, whatever it was told. */
function isSameRealServer(a: RealServer, b: RealServer): boolean {
  const how = ({ forwarding }: RealServer) => (forwarding === 'local' ? 'masquerade' : forwarding);
  return a.weight === b.weight && how(a) === how(b);
}
