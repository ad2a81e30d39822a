// nftables mode for one-shot commands: the table kproxy-ts, and kube-proxy's only to take it away.

import { setTimeout } from 'node:timers/promises';
import type { Settings } from '../config/settings.ts';
import { closeEntrances, deleteTables } from '../mode/nftables/cleanup.ts';
import { COUNTED_SETS, countConnections } from '../mode/nftables/connections.ts';
import { Desired } from '../mode/nftables/desired.ts';
import type { ElementChange } from '../mode/nftables/element-change.ts';
import { formatChange, formatRequest } from '../mode/nftables/format.ts';
import { planFullSync } from '../mode/nftables/full-sync.ts';
import { KUBE_PROXY_TABLE, nftFamily } from '../mode/nftables/names.ts';
import { type Observed, previousIn } from '../mode/nftables/observed.ts';
import { type PlanFrontend, planFrontends } from '../mode/nftables/planned-frontend.ts';
import { vipTableRows } from '../mode/nftables/rows.ts';
import { structureTransaction } from '../mode/nftables/transaction.ts';
import type { IpFamily } from '../model/ip.ts';
import type { NftRequest } from '../netlink/nftables/batch.ts';
import { type ConnectionCount, ConnectionCounts } from '../vip/connection-counts.ts';
import type { VipTableRow } from '../vip/table-row.ts';
import type { BackendUpdate } from './backend.ts';
import type { CleanupOptions, CleanupReport, Inspector } from './inspector.ts';
import { kernelFamilies } from './interfaces.ts';
import { NftSession } from './nft-session.ts';
import { DEFERRED_WAIT_MS } from './sync-loop.ts';

export class NftablesInspector implements Inspector {
  readonly #session = new NftSession();

  async isPresent(): Promise<boolean> {
    return (await this.#session.families()).length > 0;
  }

  async readVipTable(): Promise<VipTableRow[] | undefined> {
    const { observed } = await this.#session.observe(await this.#session.families());
    return observed.size === 0 ? undefined : vipTableRows(observed);
  }

  readConnections(): Promise<ConnectionCount[] | undefined> {
    return tableConnections(this.#session);
  }

  async planDiff({ masqueradeBit }: Settings, update: BackendUpdate): Promise<string[]> {
    const { observed } = await this.#session.observe(kernelFamilies());
    return planTableDiff(observed, update, { table: this.#session.table, masqueradeBit });
  }

  async cleanUp({ includesKubeProxy }: CleanupOptions): Promise<CleanupReport> {
    const theirs = await this.#tablesNamed(KUBE_PROXY_TABLE);
    const ours = (await this.#session.families()).map((family) => ({ family, table: this.#session.table }));
    const removed = [...ours, ...(includesKubeProxy ? theirs : [])];
    await removeTables(this.#session, removed);
    return {
      removed: removed.map(tableText),
      kept: includesKubeProxy
        ? []
        : theirs.map((one) => `${tableText(one)}: kube-proxy's; --include-kube-proxy removes it`),
    };
  }

  close(): void {
    this.#session.close();
  }

  async #tablesNamed(table: string) {
    return (await this.#session.familiesWithTable(table)).map((family) => ({ family, table }));
  }
}

/** Connections by Service, as the elements of our table have counted them; undefined without a table. Throws KernelError. */
export async function tableConnections(session: NftSession): Promise<ConnectionCount[] | undefined> {
  const families = await session.families();
  if (families.length === 0) return undefined;
  const counts = new ConnectionCounts();
  for (const family of families) {
    for (const { set, addressBytes } of COUNTED_SETS) {
      for await (const elements of session.elements(family, set)) {
        countConnections(counts, addressBytes(family), elements);
      }
    }
  }
  return counts.values();
}

export interface TableDiffOptions {
  readonly table: string;
  readonly masqueradeBit: number;
  /** Makes the table the gate of ipvs mode, and this what plans it. */
  readonly planGate?: PlanFrontend;
  /** Makes it the portals of userspace mode, and this what plans them. */
  readonly planPortal?: PlanFrontend;
}

/**
 * What a daemon would write to our table. Deletions that it would put off are told as well.
 */
export function planTableDiff(
  observed: Observed,
  { frontends, surroundings }: BackendUpdate,
  { table, masqueradeBit, planGate, planPortal }: TableDiffOptions,
): string[] {
  const desired = new Desired();
  desired.learnShapeIds(observed);
  desired.update(planFrontends(frontends, previousIn(observed), planGate ?? planPortal));
  if (surroundings !== undefined) desired.updateSurroundings(surroundings);
  const localPods = surroundings?.localPods ?? new Map();
  const rules = {
    table,
    masqueradeBit,
    localPods,
    isGate: planGate !== undefined,
    isPortals: planPortal !== undefined,
  };
  const later: ElementChange[] = [];
  const plan = planFullSync(desired, kernelFamilies(), rules, observed, new Set(), (change) =>
    later.push(change),
  );
  return [
    ...plan.structure.map(formatRequest),
    ...Array.from(plan.elements, formatChange),
    ...later.map(formatChange),
    ...plan.strays.map(({ kind, family, name }) => `- ${nftFamily(family)} table ${table} ${kind} ${name}`),
  ];
}

interface Table {
  readonly family: IpFamily;
  readonly table: string;
}

/** From now on tables decide nothing for new connections. Throws KernelError. */
export async function closeTables(session: NftSession, tables: readonly Table[]): Promise<void> {
  const entrances: NftRequest[] = [];
  for (const { family, table } of tables) {
    const at = { family: nftFamily(family), table };
    entrances.push(...closeEntrances(await session.chains(at), at));
  }
  await commit(session, entrances);
}

/** Deletes tables, when no packet is in them any more. Throws KernelError. */
export async function removeTables(session: NftSession, tables: readonly Table[]): Promise<void> {
  if (tables.length === 0) return;
  await closeTables(session, tables);
  await setTimeout(DEFERRED_WAIT_MS);
  await commit(
    session,
    tables.flatMap(({ family, table }) => deleteTables([family], table)),
  );
}

async function commit(session: NftSession, requests: readonly NftRequest[]): Promise<void> {
  const { refusals } = await session.commit(structureTransaction(requests));
  if (refusals[0] !== undefined) throw refusals[0].error;
}

/** `table ip kproxy-ts` */
export function tableText({ family, table }: Table): string {
  return `table ${nftFamily(family)} ${table}`;
}
