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
import { countEndpoints, countServices } from '../../mode/iptables/connections.ts';
import { Desired } from '../../mode/iptables/desired.ts';
import { formatPlan } from '../../mode/iptables/format.ts';
import {
  cleanupPlan,
  cleanupPlanner,
  EVERYTHING,
  type Extent,
  type FullSync,
  type ObservedChain,
} from '../../mode/iptables/full-sync.ts';
import { isOwnChain } from '../../mode/iptables/names.ts';
import type { ChainPlace } from '../../mode/iptables/planned-chain.ts';
import { type CountedChain, ENTRANCE, HeldChains, heldRows } from '../../mode/iptables/rows.ts';
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
import { planAgainst } from './plan-against.ts';
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
    let isPresent = false;
    const see = (): boolean => {
      isPresent = true;
      return false;
    };
    for (const family of kernelFamilies()) await this.#tables.observe(family, see, [ENTRANCE]);
    return isPresent;
  }

  async readVipTable(): Promise<VipTableRow[] | undefined> {
    let rows: VipTableRow[] | undefined;
    for (const family of kernelFamilies()) {
      const ofFamily = await this.#readRows(family);
      if (ofFamily !== undefined) rows = [...(rows ?? []), ...ofFamily];
    }
    return rows;
  }

  async readConnections(): Promise<ConnectionCount[] | undefined> {
    const counts = new ConnectionCounts();
    let isPresent = false;
    for (const family of kernelFamilies()) {
      const rows = await this.#readRows(family, (chain) => countEndpoints(counts, chain));
      if (rows === undefined) continue;
      isPresent = true;
      countServices(counts, rows);
    }
    return isPresent ? counts.values() : undefined;
  }

  async planDiff(settings: Settings, { frontends, surroundings }: BackendUpdate): Promise<string[]> {
    const lines: string[] = [];
    for (const family of kernelFamilies()) {
      const desired = new Desired(family, iptablesRules(settings));
      desired.update(frontends, surroundings);
      const observed: ObservedChain[] = [];
      const see = (chain: ObservedChain): void => {
        observed.push(chain);
      };
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

  /** Each chain that may say something is shown to `see` on the way. */
  async #readRows(family: IpFamily, see?: (chain: CountedChain) => void): Promise<VipTableRow[] | undefined> {
    const held = new HeldChains();
    const hold = (chain: CountedChain): boolean => {
      see?.(chain);
      held.hold(chain);
      return false;
    };
    const places = await this.#tables.list(family);
    const own = places.filter(({ table, name }) => isOwnChain(table, name));
    await this.#tables.observe(family, hold, own);
    return heldRows(held);
  }

  async #cleanUpFamily(family: IpFamily, { includesKubeProxy }: CleanupOptions): Promise<CleanupReport> {
    const program = family === 4 ? 'iptables' : 'ip6tables';
    const places = await this.#tables.list(family);
    const keeper = keeperOf(places);
    if (keeper === 'kproxy-ts' || includesKubeProxy) {
      const plan = await this.#planCleanup(family, places, EVERYTHING);
      const removed = await this.#remove(family, plan, program);
      return { removed, kept: removed.length === 0 ? [] : explainKept(plan, places, program) };
    }
    if (keeper === undefined) return { removed: [], kept: [] };
    const leftovers = await this.#planCleanup(family, places, OURS_ALONE);
    const removed = await this.#remove(family, leftovers, program);
    const kept = `${program} chains KUBE-…: kube-proxy's; --include-kube-proxy removes them`;
    return { removed, kept: [kept] };
  }

  /** Of the chains of the extent only those are read that others lead to: what the rest hold goes with them. */
  async #planCleanup(family: IpFamily, places: readonly ChainPlace[], extent: Extent): Promise<FullSync> {
    const planner = cleanupPlanner(extent);
    const see = (chain: ObservedChain): boolean => planner.see(chain);
    const [ours, others] = [true, false].map((is) => places.filter((one) => extent.hasChain(one) === is));
    await this.#tables.observe(family, see, others!);
    const used = ours!.filter((place) => planner.isUsedByOthers(place));
    if (used.length > 0) await this.#tables.observe(family, see, used);
    for (const place of ours!) if (!planner.isUsedByOthers(place)) planner.see({ ...place, rules: [] });
    return cleanupPlan(planner);
  }

  /** Returns what was done in words. */
  async #remove(family: IpFamily, plan: FullSync, program: string): Promise<string[]> {
    const inOrder = signsLast(plan);
    const { refusals } = await this.#tables.apply(family, inOrder, inOrder.shared);
    if (refusals[0] !== undefined) throw refusals[0].error;
    return summarizeCleanup(plan, program);
  }
}
