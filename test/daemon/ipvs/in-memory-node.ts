// A node whose IPVS, device and nf_tables are the tracer's, and the backend on it: what a test changes between two syncs is
// what others do.

import type { BackendUpdate, SyncResult } from '../../../src/daemon/backend.ts';
import { type HostAddresses, IpvsBackend, type IpvsRules } from '../../../src/daemon/ipvs/ipvs-backend.ts';
import { NftSession } from '../../../src/daemon/nft-session.ts';
import { GATE_TABLE } from '../../../src/mode/ipvs/gate.ts';
import type { Ip } from '../../../src/model/ip.ts';
import { parseCidr } from '../../../src/model/ip.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import type { Surroundings } from '../../../src/vip/surroundings.ts';
import { TracedKernel } from '../../behaviour/traced-kernel.ts';
import { TracedDevice, TracedVirtualServers } from '../../behaviour/traced-virtual-servers.ts';

export const NODE_IP = '192.168.50.10' as Ip;
export const NODE_IP6 = 'fd00:50::10' as Ip;

export const EVERYWHERE: Surroundings = {
  nodePortCidrs: [parseCidr('0.0.0.0/0')!, parseCidr('::/0')!],
  serviceCidrs: [],
  localPods: new Map(),
};

export class InMemoryNode {
  readonly servers = new TracedVirtualServers();
  readonly device = new TracedDevice();
  readonly nftables = new TracedKernel();
  hostAddresses: readonly Ip[] = [NODE_IP, NODE_IP6, '127.0.0.1' as Ip];
  nowMs = 0;
  readonly #rules: IpvsRules;
  readonly #all = new Map<ServiceKey, readonly Frontend[]>();
  #surroundings = EVERYWHERE;
  #backend: IpvsBackend;

  constructor(rules: Partial<IpvsRules> = {}) {
    this.#rules = { scheduler: 'rr', excludedCidrs: [], drainTimeoutMs: 60_000, ...rules };
    this.#backend = this.#open();
  }

  get backend(): IpvsBackend {
    return this.#backend;
  }

  /** Replaces all frontends of the Services that these belong to. */
  set(...frontends: readonly Frontend[]): Promise<SyncResult> {
    const changed = new Map<ServiceKey, Frontend[]>();
    for (const one of frontends) changed.set(one.service, [...(changed.get(one.service) ?? []), one]);
    return this.update(changed);
  }

  remove(...services: readonly string[]): Promise<SyncResult> {
    return this.update(new Map(services.map((one) => [one as ServiceKey, []])));
  }

  update(frontends: BackendUpdate['frontends'], surroundings?: Surroundings): Promise<SyncResult> {
    for (const [service, list] of frontends) this.#all.set(service, list);
    const isFirst = this.#isFresh;
    this.#isFresh = false;
    this.#surroundings = surroundings ?? this.#surroundings;
    return this.#backend.sync({
      frontends,
      surroundings: isFirst ? this.#surroundings : surroundings,
    });
  }

  /** Another daemon takes over, and is told of everything at once. */
  restart(): Promise<SyncResult> {
    this.#backend = this.#open();
    return this.update(new Map(this.#all));
  }

  /** As the loop does when its check finds something. */
  async repair(): Promise<SyncResult | undefined> {
    if (!(await this.#backend.hasDrifted())) return undefined;
    this.#backend.distrust();
    return this.update(new Map());
  }

  /** Time passes, and what was due is done. */
  async wait(ms: number): Promise<void> {
    const endMs = this.nowMs + ms;
    for (;;) {
      const dueMs = this.#backend.afterSync.nextDueMs(this.nowMs);
      this.nowMs = Math.min(dueMs ?? endMs, endMs);
      const failures = [...(await this.#backend.afterSync.settle(this.nowMs, new Set()))];
      while (this.#backend.hasDeferred) failures.push(...(await this.#backend.flushDeferred()).failures);
      if (failures[0] !== undefined) throw failures[0].error;
      if (dueMs === undefined || dueMs >= endMs) return;
    }
  }

  /** `10.96.0.1:80/TCP rr 10.1.0.11:8080*1 …`, sorted, then the addresses on the device. */
  listing(): string[] {
    const servers = this.servers.ids.map((id) => {
      const { server, realServers } = this.servers.byId(id)!;
      const how = [server.scheduler, server.flags, server.persistenceSeconds ?? ''].filter(Boolean).join(' ');
      const behind = realServers.map(
        ({ address, port, weight, forwarding }) =>
          `${address}:${port}*${weight}${forwarding === 'masquerade' ? '' : ` ${forwarding}`}`,
      );
      return [id, how, ...behind.sort()].join(' ');
    });
    return [...servers.sort(), ...[...this.device.bound].sort()];
  }

  #isFresh = true;

  #hosts(): HostAddresses {
    const node = this;
    return {
      get current() {
        return node.hostAddresses;
      },
      close: () => undefined,
    };
  }

  #open(): IpvsBackend {
    this.#isFresh = true;
    return new IpvsBackend({
      table: this.servers,
      device: this.device,
      hostAddresses: this.#hosts(),
      gateSession: new NftSession(this.nftables, GATE_TABLE),
      families: [4, 6],
      masqueradeBit: 14,
      rules: this.#rules,
      nowMs: () => this.nowMs,
    });
  }
}
