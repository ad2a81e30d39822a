// What of IPVS is ours to take away, and what a kube-proxy has left. Neither flushes anything: virtual servers of others stay.

import { type Cidr, cidrContains, type Ip } from '../../model/ip.ts';
import type { IpvsRequest } from '../../netlink/ipvs/request.ts';
import { isMarked, type ListedVirtualServer, type TableEntry } from '../../netlink/ipvs/table.ts';
import { realId, serverId } from './planned-server.ts';
import { planRemoval } from './server-plan.ts';

export interface CleanupSituation {
  /** Addresses on the device that both we and kube-proxy have. */
  readonly boundAddresses: ReadonlySet<Ip>;
  /** What the gate says is ours; undefined without a gate: then all of it is a kube-proxy's. */
  readonly ledger: ReadonlySet<string> | undefined;
  /** On that device, somebody else's unless the gate says that it is ours. */
  readonly excludedCidrs: readonly Cidr[];
  readonly includesKubeProxy: boolean;
}

export interface CleanupPlan {
  readonly requests: readonly IpvsRequest[];
  /** The device is to be deleted, unless there is something to keep on it. */
  readonly takesDevice: boolean;
  /** Addresses on the device that are somebody else's. */
  readonly keptAddresses: readonly Ip[];
}

/** kube-apiserver's default `--service-node-port-range`. */
const NODE_PORTS = { first: 30_000, last: 32_767 } as const;

/** Which virtual servers go. */
export function planCleanup(
  table: readonly TableEntry[],
  { boundAddresses, ledger, excludedCidrs, includesKubeProxy }: CleanupSituation,
): CleanupPlan {
  const takesDevice = ledger !== undefined || includesKubeProxy;
  if (!takesDevice) return { requests: [], takesDevice, keptAddresses: [] };
  const isInLedger = (server: ListedVirtualServer): boolean => ledger?.has(serverId(server)) === true;
  const kept = new Set(
    [...boundAddresses].filter((address) => excludedCidrs.some((cidr) => cidrContains(cidr, address))),
  );
  for (const { server } of table) if (!isMarked(server) && isInLedger(server)) kept.delete(server.address);
  const isBound = ({ address }: ListedVirtualServer): boolean =>
    boundAddresses.has(address) && !excludedCidrs.some((cidr) => cidrContains(cidr, address));
  const services = new Set<string>();
  for (const { server, realServers } of table) {
    if (!isMarked(server) && isBound(server)) services.add(backendsOf(server, realServers));
  }
  const requests = table.flatMap(({ server, realServers }) => {
    if (isMarked(server)) return [];
    const isOurs = isBound(server) || isInLedger(server);
    const isTheirs =
      includesKubeProxy &&
      isNodePort(server) &&
      realServers.length > 0 &&
      services.has(backendsOf(server, realServers));
    return isOurs || isTheirs ? planRemoval(server).last : [];
  });
  return { requests, takesDevice, keptAddresses: [...kept] };
}

/**
 * kube-proxy keeps no record of its node ports. One of them leads where the cluster IP of its Service does, and somebody
 * else's virtual server in that range hardly does.
 */
function isNodePort({ port }: ListedVirtualServer): boolean {
  return port >= NODE_PORTS.first && port <= NODE_PORTS.last;
}

function backendsOf({ protocol }: ListedVirtualServer, realServers: TableEntry['realServers']): string {
  return `${protocol} ${realServers.map(realId).sort().join()}`;
}
