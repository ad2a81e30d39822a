// iptables mode under the tracer: the daemon from objects to rules, over tables that are the tracer's own.

import { IptablesBackend } from '../../src/daemon/iptables/iptables-backend.ts';
import { createLog } from '../../src/daemon/log.ts';
import type { Branch } from './branch.ts';
import { TracedTables } from './iptables-ruleset.ts';
import { FAMILIES } from './objects.ts';
import { RecentLists } from './recent-lists.ts';
import type { Packet } from './row.ts';
import { traceIptables } from './trace-iptables.ts';
import { TracedCluster } from './traced-cluster.ts';
import { isLocalFor, TracedMode } from './traced-mode.ts';

export class TracedIptables extends TracedMode<RecentLists> {
  protected override state = new RecentLists();
  readonly #cluster: TracedCluster;
  readonly #tables = new TracedTables();
  readonly #backend: IptablesBackend;
  readonly #sysctls = new Map<string, string>();

  constructor(flags: readonly string[]) {
    super();
    this.#cluster = new TracedCluster(['--proxy-mode=iptables', ...flags]);
    const { masqueradeBit, iptables } = this.#cluster.settings;
    const { servesLocalhostNodePorts, dispatch } = iptables;
    this.#backend = new IptablesBackend({
      tables: this.#tables,
      families: FAMILIES,
      settings: { masqueradeBit, servesLocalhostNodePorts, dispatch, dropsInvalid: true },
      setSysctl: (name, value) => this.#sysctls.set(name, value),
      log: createLog({ format: 'text', verbosity: -1, isTty: false, destination: { write: complain } }),
    });
  }

  override async show(objects: readonly object[]): Promise<void> {
    const { failures } = await this.#backend.sync(this.#cluster.show(objects));
    if (failures[0] !== undefined) throw failures[0].error;
    this.state.keepOnly(this.#recentNames());
  }

  override async wait(seconds: number): Promise<void> {
    this.state.wait(seconds);
  }

  protected override trace(packet: Packet, state: RecentLists): Branch<RecentLists>[] {
    const isLocal = (address: string): boolean => isLocalFor(packet, address);
    const routesLocalnet = this.#sysctls.get('net/ipv4/conf/all/route_localnet') === '1';
    return traceIptables(this.#tables.of(packet.family), state, packet, { isLocal, routesLocalnet });
  }

  /** Lists are common to both families. */
  #recentNames(): Set<string> {
    const rules = FAMILIES.flatMap((family) => [...this.#tables.of(family).chains()]).flatMap(
      (chain) => chain.rules,
    );
    const matches = rules.flatMap((rule) => rule.matches);
    return new Set(matches.flatMap((match) => (match.kind === 'recent' ? [match.name] : [])));
  }
}

function complain(warning: string): never {
  throw new Error(warning);
}
