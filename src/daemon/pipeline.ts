// The way from the store to the kernel that settings lay out: table, loop and backend. Other settings have another one over the same
// tables of the kernel, which go on forwarding meanwhile.

import type { Settings } from '../config/settings.ts';
import { isDeepEqual } from '../model/deep-equal.ts';
import type { Store, StoreChange } from '../model/store.ts';
import type { Problem, ServiceKey } from '../model/types.ts';
import { nodePortCidrs } from '../vip/node-port-addresses.ts';
import type { Surroundings } from '../vip/surroundings.ts';
import { VipTable } from '../vip/vip-table.ts';
import type { Backend, LivePortals } from './backend.ts';
import { interfaceAddresses } from './interfaces.ts';
import { SyncLoop, type SyncLoopOptions } from './sync-loop.ts';

export interface PipelineOptions extends Pick<SyncLoopOptions, 'afterSync' | 'onCheck' | 'onSync'> {
  readonly settings: Settings;
  readonly store: Store;
  /** Closed with the pipeline. */
  readonly backend: Backend;
}

export class Pipeline {
  readonly settings: Settings;
  readonly #store: Store;
  readonly #table: VipTable;
  readonly #backend: Backend;
  readonly #loop: SyncLoop;
  /** As the backend was told last. */
  #surroundings: Surroundings | undefined;

  constructor({ settings, store, backend, onCheck, ...hooks }: PipelineOptions) {
    this.settings = settings;
    this.#store = store;
    this.#backend = backend;
    const table = new VipTable(frontendSettings(settings));
    this.#table = table;
    this.#loop = new SyncLoop({
      ...hooks,
      store,
      table,
      backend,
      surroundings: () => {
        this.#surroundings = surroundingsOf(settings, store, table);
        return this.#surroundings;
      },
      onCheck: () => {
        onCheck?.();
        this.#lookAround();
      },
      minIntervalMs: settings.minSyncPeriodMs,
      checkIntervalMs: settings.syncPeriodMs,
    });
  }

  /** Takes note of what a batch of events changed. */
  changed(change: StoreChange): void {
    this.#loop.changed(change);
  }

  /** While no Node object says where node ports are served, this host's interfaces do, and their addresses come and go. */
  #lookAround(): void {
    const { nodePortCidrs } = surroundingsOf(this.settings, this.#store, this.#table);
    if (isDeepEqual(nodePortCidrs, this.#surroundings?.nodePortCidrs)) return;
    this.#loop.changed({ services: new Set(), hasNewSurroundings: true });
  }

  /** Takes over from one that is closed: syncs all that the store has, and what that one had not come to. */
  succeed({ unsynced }: Pipeline): void {
    const services = new Set([...this.#store.serviceKeys(), ...unsynced]);
    this.#loop.changed({ services, hasNewSurroundings: true });
  }

  /** Services that changed and were not handed to the backend. */
  get unsynced(): ReadonlySet<ServiceKey> {
    return this.#loop.unsynced;
  }

  /** Something is wanted that no sync has been told of yet. */
  get isPending(): boolean {
    return this.#loop.isPending;
  }

  /** Somebody else may have changed what is ours: looks soon. */
  suspect(): void {
    this.#loop.suspect();
  }

  /** Whether any Service has, or claims, the frontend of this `frontendKey`. */
  isClaimed(key: string): boolean {
    return this.#table.has(key);
  }

  problems(): Problem[] {
    return [...this.#table.problems(), ...this.#backend.problems()];
  }

  /** Settles once a sync that is under way has ended. The rules stay in force, and what they lead to goes on. */
  stop(): Promise<void> {
    return this.#loop.stop();
  }

  /** After `stop`. The rules stay in force, where they serve without this process. */
  close(): void {
    this.#backend.close();
  }

  /** Missing where rules serve without this process. */
  get portals(): LivePortals | undefined {
    return this.#backend.portals;
  }

  /** What another backend of the same mode goes on with. */
  get backend(): Backend {
    return this.#backend;
  }
}

/** What of the settings decides Frontends. */
export function frontendSettings(settings: Settings): ConstructorParameters<typeof VipTable>[0] {
  return {
    nodeName: settings.nodeName,
    detectLocal: settings.detectLocal,
    masqueradeAll: settings.masqueradeAll,
    allowedExternalIps: settings.allowedExternalIps,
  };
}

/** What rules depend on besides Frontends, as of now. */
export function surroundingsOf(settings: Settings, store: Store, table: VipTable): Surroundings {
  return {
    nodePortCidrs: nodePortCidrs(settings.nodePortAddresses, store.node, interfaceAddresses()),
    serviceCidrs: store.serviceCidrs,
    localPods: table.facts.localPods,
    ...(store.node !== undefined && { nodeAddresses: store.node.addresses }),
  };
}
