// The whole comparison: everything desired × everything observed → plans, one per virtual server that is not as it shall be.

import { type Cidr, cidrContains, type Ip } from '../../model/ip.ts';
import { isMarked, type TableEntry } from '../../netlink/ipvs/table.ts';
import { type Desired, keyAt } from './desired.ts';
import { type PlannedServer, realId, serverId } from './planned-server.ts';
import { type KnownServer, planRemoval, planServerChange, type ServerPlan } from './server-plan.ts';

export interface Ownership {
  /** Addresses on our device: nobody else has reason to have virtual servers there. */
  readonly boundAddresses: ReadonlySet<Ip>;
  /** `serverId` of those that are known to be ours elsewhere. */
  readonly ours: ReadonlySet<string>;
  /** Unless they are known to be ours, virtual servers in these are somebody else's (`--ipvs-exclude-cidrs`). */
  readonly excludedCidrs: readonly Cidr[];
}

export interface PlannedChange {
  readonly plan: ServerPlan;
  readonly wanted: PlannedServer | undefined;
}

/** Whether a virtual server that nobody wants is ours to delete. */
export function isOurs(entry: TableEntry, { boundAddresses, ours, excludedCidrs }: Ownership): boolean {
  const { server } = entry;
  if (isMarked(server)) return false;
  if (ours.has(serverId(server))) return true;
  return (
    boundAddresses.has(server.address) && !excludedCidrs.some((cidr) => cidrContains(cidr, server.address))
  );
}

export function knownServer({ server, realServers }: TableEntry): KnownServer | undefined {
  if (isMarked(server)) return undefined;
  return { server, realServers: new Map(realServers.map((one) => [realId(one), one])) };
}

/** Also plans that change nothing, where something drains. */
export function* planFullSync(
  desired: Desired,
  observed: readonly TableEntry[],
  ownership: Ownership,
): Generator<PlannedChange> {
  const seen = new Set<string>();
  for (const entry of observed) {
    const known = knownServer(entry);
    if (known === undefined) continue;
    const { server } = known;
    const wanted = desired.server(server);
    seen.add(serverId(server));
    if (wanted === undefined) {
      if (isOurs(entry, ownership)) yield { plan: planRemoval(server), wanted };
      continue;
    }
    const plan = planServerChange(server.address, known, wanted);
    if (plan.first.length > 0 || plan.last.length > 0 || plan.draining.length > 0) yield { plan, wanted };
  }
  for (const [address, wanted] of desired.servers()) {
    if (!seen.has(serverId(keyAt(wanted, address)))) {
      yield { plan: planServerChange(address, undefined, wanted), wanted };
    }
  }
}
