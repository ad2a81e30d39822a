// The daemon without its source: store, virtual-IP table, sync loop and the backend of a mode as run.ts puts them together,
// filled with the cluster of objects.ts and driven by events.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Settings } from '../src/config/settings.ts';
import type { Backend } from '../src/daemon/backend.ts';
import type { Log } from '../src/daemon/log.ts';
import type { SyncReport } from '../src/daemon/sync-loop.ts';
import type { IpFamily } from '../src/model/ip.ts';
import type { SourceEvent } from '../src/model/source-event.ts';
import {
  buildEndpointSlice,
  buildService,
  NODE_NAME,
  POD_CIDR,
  podIps,
  type ServiceTraits,
} from './objects.ts';
import {
  IptablesBackend,
  NftablesBackend,
  NftConnection,
  NftIptablesTables,
  NftSession,
  openIpvsBackend,
  parseCidr,
  Store,
  SyncLoop,
  VipTable,
} from './shipped.ts';

/** How many objects. */
export interface ClusterSize {
  readonly services: number;
  /** Per Service. */
  readonly endpoints: number;
}

/** `iptables-flat` is iptables mode with kube-proxy's linear chains. */
export type Mode = 'nftables' | 'iptables' | 'iptables-flat' | 'ipvs';

/** All that a cluster follows from, and the mode that its rules are written in: nftables when left out. */
export type Cluster = ClusterSize & ServiceTraits & { readonly mode?: Mode | undefined };

/** A sync, and how long it took from the event to the last acknowledgement of the kernel. */
export interface TimedSync {
  readonly tookMs: number;
  readonly report: SyncReport;
}

export interface TimedLoad extends TimedSync {
  /** How long the event loop was kept from anything else. */
  readonly longestTurnMs: number;
}

const FAMILIES: readonly IpFamily[] = [4, 6];
const MASQUERADE_BIT = 14;

const LOG = { warn: console.error } as unknown as Log;

/** What of the settings ipvs mode reads: the daemon's own defaults. */
const IPVS_SETTINGS = {
  masqueradeBit: MASQUERADE_BIT,
  ipvs: {
    scheduler: 'rr',
    isStrictArp: false,
    excludedCidrs: [],
    timeouts: { tcp: 0, tcpFin: 0, udp: 0 },
    drainTimeoutMs: 900_000,
  } satisfies Settings['ipvs'],
} as unknown as Settings;

const BACKENDS: Readonly<Record<Mode, (suspect: () => void) => Backend | Promise<Backend>>> = {
  nftables: () =>
    new NftablesBackend({ session: new NftSession(), families: FAMILIES, masqueradeBit: MASQUERADE_BIT }),
  iptables: (suspect) => iptablesBackend('tree', suspect),
  'iptables-flat': (suspect) => iptablesBackend('flat', suspect),
  ipvs: (suspect) => openIpvsBackend(IPVS_SETTINGS, LOG, suspect),
};

function iptablesBackend(dispatch: 'tree' | 'flat', suspect: () => void): Backend {
  return new IptablesBackend({
    tables: new NftIptablesTables(new NftConnection(), suspect),
    families: FAMILIES,
    settings: {
      masqueradeBit: MASQUERADE_BIT,
      servesLocalhostNodePorts: false,
      dropsInvalid: true,
      dispatch,
    },
    setSysctl: () => undefined,
    log: LOG,
  });
}

export class Engine {
  /** To ask for the generation. */
  readonly #connection = new NftConnection();
  readonly #backend: Backend;
  readonly #store = new Store();
  readonly #loop: InstanceType<typeof SyncLoop>;
  #onSynced: (report: SyncReport) => void = () => undefined;

  static async open(mode: Mode = 'nftables'): Promise<Engine> {
    let suspect = (): void => undefined;
    const engine = new Engine(mode, await BACKENDS[mode](() => suspect()));
    suspect = () => engine.#loop.suspect();
    return engine;
  }

  private constructor(mode: Mode, backend: Backend) {
    this.#backend = backend;
    const nodePortCidrs = mode === 'nftables' ? [] : ['0.0.0.0/0', '::/0'].map((text) => parseCidr(text)!);
    const detectLocal = { kind: 'ClusterCIDR', cidrs: [parseCidr(POD_CIDR)!] } as const;
    const table = new VipTable({ nodeName: NODE_NAME, detectLocal, masqueradeAll: false });
    this.#loop = new SyncLoop({
      store: this.#store,
      table,
      backend: this.#backend,
      surroundings: () => ({ nodePortCidrs, serviceCidrs: [], localPods: table.facts.localPods }),
      minIntervalMs: 0,
      checkIntervalMs: 30_000,
      onSync: (report) => {
        if (report.cause !== 'cleanup') this.#onSynced(report);
      },
    });
  }

  /**
   * Puts a cluster into the store, batch by batch as a source does, and syncs it. The times, and the longest turn of the
   * event loop, are those of the sync alone.
   */
  async load({ services, endpoints, mode: _, ...traits }: Cluster): Promise<TimedLoad> {
    const kinds = ['Service', 'EndpointSlice'] as const;
    const take = (events: readonly SourceEvent[]): void => this.#loop.changed(this.#store.apply(events));
    take(kinds.map((kind) => ({ type: 'list-start', kind })));
    for (let i = 0; i < services; i++) {
      take([
        upsert('Service', buildService(i, traits)),
        upsert('EndpointSlice', buildEndpointSlice(i, podIps(i, endpoints), traits)),
      ]);
    }
    const turns = monitorEventLoopDelay({ resolution: 1 });
    turns.enable();
    // Nothing is written before the lists have ended.
    const sync = await this.apply(kinds.map((kind) => ({ type: 'list-end', kind })));
    turns.disable();
    return { ...sync, longestTurnMs: turns.max / 1e6 };
  }

  /** Applies a batch of events as a source does. */
  apply(events: readonly SourceEvent[]): Promise<TimedSync> {
    return this.#timed(() => this.#loop.changed(this.#store.apply(events)));
  }

  /** The generation id of the namespace's ruleset. */
  generation(): Promise<number> {
    return this.#connection.generation();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    this.#backend.close();
    this.#connection.close();
  }

  #timed(start: () => void): Promise<TimedSync> {
    return new Promise((resolve, reject) => {
      const startMs = performance.now();
      this.#onSynced = (report) => {
        const tookMs = performance.now() - startMs;
        const [failure] = report.failures;
        if (failure === undefined) resolve({ tookMs, report });
        else reject(failure.error);
      };
      start();
    });
  }
}

export function upsert(kind: 'Service' | 'EndpointSlice', object: object): SourceEvent {
  return { type: 'upsert', kind, object, origin: '' };
}
