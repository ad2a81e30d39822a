// iptables mode for one-shot commands. They read the chains of a kube-proxy as well as ours, which have the same names.

import type { IptablesBackendChoice } from '../../config/flags.ts';
import type { Settings } from '../../config/settings.ts';
import {
  explainKept,
  keeperOf,
  OURS_ALONE,
  signsLast,
  summarizeCleanup,
} from '../../mode/iptables/cleanup.ts';
import { countConnections } from '../../mode/iptables/connections.ts';
import { Desired } from '../../mode/iptables/desired.ts';
import { formatPlan } from '../../mode/iptables/format.ts';
import { type FullSync, type ObservedChain, planCleanup } from '../../mode/iptables/full-sync.ts';
import { type ChainPlace, chainId } from '../../mode/iptables/planned-chain.ts';
import { ENTRANCE, isEntrance, vipTableRows } from '../../mode/iptables/rows.ts';
import type { IpFamily } from '../../model/ip.ts';
import { type ConnectionCount, ConnectionCounts } from '../../vip/connection-counts.ts';
import type { VipTableRow } from '../../vip/table-row.ts';
import type { BackendUpdate } from '../backend.ts';
import type { CleanupOptions, CleanupReport, Inspector } from '../inspector.ts';
import { kernelFamilies } from '../interfaces.ts';
import type { Log } from '../log.ts';
import { iptablesRules } from '../open-backend.ts';
import { ROUTE_LOCALNET, readSysctl } from '../sysctl.ts';
import { openIptablesTables } from './open-tables.ts';
import { planAgainst, seen } from './plan-against.ts';
import type { IptablesTables } from './tables.ts';

export class IptablesInspector implements Inspector {
  readonly #tables: IptablesTables;

  private constructor(tables: IptablesTables) {
    this.#tables = tables;
  }

  static async open(choice: IptablesBackendChoice, log: Log): Promise<IptablesInspector> {
    return new IptablesInspector(await openIptablesTables(choice, log, () => undefined));
  }

  async isPresent(): Promise<boolean> {
    for (const family of kernelFamilies()) {
      const observed = await this.#tables.observe(family, { only: new Set([chainId(ENTRANCE)]) });
      for (const chain of observed) if (isEntrance(chain)) return true;
    }
    return false;
  }

  async readVipTable(): Promise<VipTableRow[] | undefined> {
    let rows: VipTableRow[] | undefined;
    for (const family of kernelFamilies()) {
      const ofFamily = vipTableRows(await this.#tables.observe(family));
      if (ofFamily !== undefined) rows = [...(rows ?? []), ...ofFamily];
    }
    return rows;
  }

  async readConnections(): Promise<ConnectionCount[] | undefined> {
    const counts = new ConnectionCounts();
    let isPresent = false;
    for (const family of kernelFamilies()) {
      if (countConnections(counts, await this.#tables.observe(family))) isPresent = true;
    }
    return isPresent ? counts.values() : undefined;
  }

  async planDiff(settings: Settings, { frontends, surroundings }: BackendUpdate): Promise<string[]> {
    const lines: string[] = [];
    for (const family of kernelFamilies()) {
      const desired = new Desired(family, iptablesRules(settings));
      desired.update(frontends, surroundings);
      const observed: ObservedChain[] = [];
      const see = (chain: ObservedChain): number => observed.push(chain);
      const plan = await planAgainst(this.#tables, family, desired.chains(), { see });
      for (const line of formatPlan(plan, observed, family)) lines.push(line);
      if (desired.needsRouteLocalnet && readSysctl(ROUTE_LOCALNET) !== '1')
        lines.push(`+ sysctl ${ROUTE_LOCALNET.replaceAll('/', '.')}=1`);
    }
    return lines;
  }

  async cleanUp(options: CleanupOptions): Promise<CleanupReport> {
    const reports: CleanupReport[] = [];
    for (const family of kernelFamilies()) reports.push(await this.#cleanUpFamily(family, options));
    return {
      removed: reports.flatMap(({ removed }) => removed),
      kept: reports.flatMap(({ kept }) => kept),
    };
  }

  close(): void {
    this.#tables.close();
  }

  async #cleanUpFamily(family: IpFamily, { includesKubeProxy }: CleanupOptions): Promise<CleanupReport> {
    const program = family === 4 ? 'iptables' : 'ip6tables';
    const places: ChainPlace[] = [];
    const see = ({ table, name }: ObservedChain): number => places.push({ table, name });
    const plan = planCleanup(seen(await this.#tables.observe(family), see));
    const keeper = keeperOf(places);
    if (keeper === 'kproxy-ts' || includesKubeProxy) {
      const removed = await this.#remove(family, plan, program);
      return { removed, kept: removed.length === 0 ? [] : explainKept(plan, places, program) };
    }
    if (keeper === undefined) return { removed: [], kept: [] };
    const leftovers = planCleanup(await this.#tables.observe(family), OURS_ALONE);
    const removed = await this.#remove(family, leftovers, program);
    const kept = `${program} chains KUBE-…: kube-proxy's; --include-kube-proxy removes them`;
    return { removed, kept: [kept] };
  }

  /** Returns what was done in words. */
  async #remove(family: IpFamily, plan: FullSync, program: string): Promise<string[]> {
    const inOrder = signsLast(plan);
    const { refusals } = await this.#tables.apply(family, inOrder, inOrder.shared);
    if (refusals[0] !== undefined) throw refusals[0].error;
    return summarizeCleanup(plan, program);
  }
}
