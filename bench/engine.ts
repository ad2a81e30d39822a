// The daemon without its source: store, virtual-IP table, sync loop and nftables backend as run.ts puts them together,
// filled with the cluster of objects.ts and driven by events.

import type { SyncReport } from '../src/daemon/sync-loop.ts';
import type { SourceEvent } from '../src/model/source-event.ts';
import {
  buildEndpointSlice,
  buildService,
  NODE_NAME,
  POD_CIDR,
  podIps,
  type ServiceTraits,
} from './objects.ts';
import { NftablesBackend, NftSession, parseCidr, Store, SyncLoop, VipTable } from './shipped.ts';

/** How many objects. */
export interface ClusterSize {
  readonly services: number;
  /** Per Service. */
  readonly endpoints: number;
}

/** All that a cluster follows from. */
export type Cluster = ClusterSize & ServiceTraits;

/** A sync, and how long it took from the event to the last acknowledgement of the kernel. */
export interface TimedSync {
  readonly tookMs: number;
  readonly report: SyncReport;
}

export class Engine {
  readonly #session = new NftSession();
  readonly #store = new Store();
  readonly #loop: InstanceType<typeof SyncLoop>;
  #onSynced: (report: SyncReport) => void = () => undefined;

  constructor() {
    const detectLocal = { kind: 'ClusterCIDR', cidrs: [parseCidr(POD_CIDR)!] } as const;
    const table = new VipTable({ nodeName: NODE_NAME, detectLocal, masqueradeAll: false });
    this.#loop = new SyncLoop({
      store: this.#store,
      table,
      backend: new NftablesBackend({ session: this.#session, families: [4, 6], masqueradeBit: 14 }),
      surroundings: () => ({ nodePortCidrs: [], serviceCidrs: [], localPods: table.facts.localPods }),
      minIntervalMs: 0,
      checkIntervalMs: 30_000,
      onSync: (report) => {
        if (report.cause !== 'cleanup') this.#onSynced(report);
      },
    });
  }

  /** Puts a cluster into the store, batch by batch as a source does, and syncs it. The time is that of the sync alone. */
  load({ services, endpoints, ...traits }: Cluster): Promise<TimedSync> {
    const kinds = ['Service', 'EndpointSlice'] as const;
    const take = (events: readonly SourceEvent[]): void => this.#loop.changed(this.#store.apply(events));
    take(kinds.map((kind) => ({ type: 'list-start', kind })));
    for (let i = 0; i < services; i++) {
      take([
        upsert('Service', buildService(i, traits)),
        upsert('EndpointSlice', buildEndpointSlice(i, podIps(i, endpoints), traits)),
      ]);
    }
    // Nothing is written before the lists have ended.
    return this.apply(kinds.map((kind) => ({ type: 'list-end', kind })));
  }

  /** Applies a batch of events as a source does. */
  apply(events: readonly SourceEvent[]): Promise<TimedSync> {
    return this.#timed(() => this.#loop.changed(this.#store.apply(events)));
  }

  /** The generation id of the namespace's ruleset. */
  generation(): Promise<number> {
    return this.#session.generation();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    this.#session.close();
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
