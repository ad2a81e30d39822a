// userspace mode's shell: proxies, and in front of them the portals, a table of nf_tables that another backend keeps. What new
// portals need listens before they lead there; what nobody is led to any more is let go of when flows have left it, too.
//
// INVARIANTS: `#frontends` is always what is wanted. What the rules lead to listens, from before until after they do.

import { type Side, servedSides } from '../../mode/userspace/offered-backends.ts';
import { isProxied, planPortal } from '../../mode/userspace/portals.ts';
import { proxyAddresses } from '../../mode/userspace/proxy-addresses.ts';
import { isDeepEqual } from '../../model/deep-equal.ts';
import { familyOf, type Ip, type IpFamily, packIp } from '../../model/ip.ts';
import type { Scheduler } from '../../model/service-policy.ts';
import type { Problem, ServiceKey } from '../../model/types.ts';
import { flowEnd } from '../../vip/conntrack/flow-target.ts';
import { type Frontend, frontendKey } from '../../vip/frontend.ts';
import type { VipTableRow } from '../../vip/table-row.ts';
import { UnmetWishes } from '../../vip/unmet-wishes.ts';
import type { Backend, BackendUpdate, LivePortals, SyncFailure, SyncResult } from '../backend.ts';
import { NftablesBackend } from '../nftables-backend.ts';
import type { AfterSync } from '../sync-loop.ts';
import { UnlistenedNodePorts } from './localhost-node-ports.ts';
import type { ProxyShare } from './proxy-share.ts';

/** The addresses of this host, as of now, in the order of its interfaces. */
export interface HostAddresses {
  readonly current: readonly Ip[];
  close(): void;
}

export interface UserspaceBackendOptions {
  readonly share: ProxyShare;
  readonly hostAddresses: HostAddresses;
  readonly families: readonly IpFamily[];
  /** 0 to 31: the bit of the packet mark that what proxies send has. */
  readonly masqueradeBit: number;
  /** `--bind-address`; undefined for an unspecified one. */
  readonly bindAddress: Ip | undefined;
  /** The table is to go with the session, where the kernel can do that (Linux 5.12); by default it is. */
  readonly ownsTables?: boolean;
  /** Begins to tell of what others change where the portals cannot be owned. `portId`: of the session. */
  readonly watch?: (portId: number) => { close(): void };
}

/** Proxies take turns, which is as good as chance. */
const isByTurns = (scheduler: Scheduler): boolean => scheduler === 'random' || scheduler === 'rr';

const NO_SERVICES: ReadonlyMap<ServiceKey, readonly Frontend[]> = new Map();

export class UserspaceBackend implements Backend {
  /** What another backend of this mode may go on with. */
  readonly share: ProxyShare;
  readonly #hosts: HostAddresses;
  readonly #families: readonly IpFamily[];
  readonly #bindAddress: Ip | undefined;
  readonly #portals: NftablesBackend;
  /** All of each Service: where they lead may change without them. */
  readonly #frontends = new Map<ServiceKey, readonly Frontend[]>();
  /** Services whose Frontends the proxies refused. */
  readonly #refused = new Map<ServiceKey, SyncFailure>();
  /** Services that may lead elsewhere than when their flows were looked at last. */
  readonly #moved = new Set<ServiceKey>();
  readonly #unlistened = new UnlistenedNodePorts();
  readonly #unmet = new UnmetWishes('userspace', isByTurns, true);
  #nodeAddresses: readonly Ip[] = [];
  #addresses: ReadonlyMap<IpFamily, Ip> = new Map();
  /** Every Service is to be planned anew. */
  #isSuspect = false;
  /** The rules are as they should be, but for Services that the proxies refused. */
  #isInForce = false;

  constructor(options: UserspaceBackendOptions) {
    const { share, hostAddresses, families, masqueradeBit, bindAddress, ownsTables = true, watch } = options;
    this.share = share;
    this.#hosts = hostAddresses;
    this.#families = families;
    this.#bindAddress = bindAddress;
    this.#portals = new NftablesBackend({
      session: share.session,
      sharesSession: true,
      ownsTables,
      families,
      masqueradeBit,
      ...(watch !== undefined && { watch }),
      planPortal: (frontend, previous) =>
        planPortal(frontend, previous, (one, side) => share.proxies.portal(one, side)),
    });
    share.hold();
  }

  get hasDeferred(): boolean {
    return this.#portals.hasDeferred;
  }

  flushDeferred(): Promise<SyncResult> {
    return this.#portals.flushDeferred();
  }

  /** Looks whether loopback ports that somebody had are free now, too. */
  async releaseUnused(): Promise<SyncResult> {
    if (!this.#unlistened.isEmpty) {
      const failures = await this.share.proxies.update(NO_SERVICES);
      this.#unlistened.clear();
      this.#unlistened.note(
        [],
        failures.filter((failure) => this.#isLed(failure)),
      );
    }
    return this.#portals.releaseUnused();
  }

  distrust(): void {
    this.#isSuspect = true;
    this.#portals.distrust();
  }

  async hasDrifted(): Promise<boolean> {
    if (this.#refused.size > 0 || !isDeepEqual([...this.#choose()], [...this.#addresses])) return true;
    return this.#portals.hasDrifted();
  }

  problems(): Problem[] {
    const refused = [...this.#refused].map(([service, { error }]) => ({
      subject: `Service ${service}`,
      code: 'NO_PROXY',
      reason: error.message,
    }));
    const homeless = this.#families
      .filter((family) => !this.#addresses.has(family) && this.#hasProxied(family))
      .map((family) => ({
        subject: 'userspace mode',
        code: 'NO_PROXY_ADDRESS',
        reason: `this host has no IPv${family} address for proxies: Services are refused at their IPv${family} addresses`,
      }));
    return [
      ...refused,
      ...homeless,
      ...this.#unlistened.problems(),
      ...this.#unmet.problems(),
      ...this.#portals.problems(),
    ];
  }

  async sync({ frontends, surroundings }: BackendUpdate): Promise<SyncResult> {
    for (const [service, list] of frontends) {
      this.#unmet.note(service, list);
      if (list.length === 0) this.#frontends.delete(service);
      else this.#frontends.set(service, list);
    }
    this.#nodeAddresses = surroundings?.nodeAddresses ?? this.#nodeAddresses;
    const addresses = this.#choose();
    const hasMoved = !isDeepEqual([...addresses], [...this.#addresses]);
    this.#addresses = addresses;
    const concerned = this.#concerned(frontends, hasMoved || this.#isSuspect);
    this.#isSuspect = false;
    for (const service of concerned.keys()) {
      this.#refused.delete(service);
      this.#moved.add(service);
    }
    const failures = await this.share.proxies.update(
      this.#proxied(concerned),
      hasMoved ? addresses : undefined,
    );
    const unled = failures.filter((failure) => !this.#isLed(failure));
    for (const failure of unled) for (const one of failure.services) this.#refused.set(one, failure);
    this.#unlistened.note(
      concerned.keys(),
      failures.filter((failure) => this.#isLed(failure)),
    );
    const result = await this.#portals.sync({ frontends: concerned, surroundings });
    this.#isInForce = result.failures.length === 0;
    return { ...result, failures: [...unled, ...result.failures] };
  }

  /** What fails is not about its portals, but about node ports on the loopback address, which no rule leads to. */
  #isLed({ services }: SyncFailure): boolean {
    return services.every((service) =>
      (this.#frontends.get(service) ?? [])
        .filter((one) => isProxied(one) && this.#addresses.has(one.family))
        .every((one) => servedSides(one).every((side) => this.share.proxies.portal(one, side) !== undefined)),
    );
  }

  /** Last of what is done after a sync: flows have left what is let go of. */
  readonly afterSync: AfterSync = {
    note: () => undefined,
    distrust: () => undefined,
    settle: async () => {
      if (this.#isInForce) this.share.proxies.release();
      return [];
    },
    nextDueMs: () => undefined,
  };

  readonly portals: LivePortals = {
    isShared: () => this.share.isShared,
    takeMoved: () => {
      const moved = new Map([...this.#moved].map((one) => [one, this.#frontends.get(one) ?? []] as const));
      this.#moved.clear();
      return moved;
    },
    endsOf: (frontend) => this.#endsOf(frontend),
    completed: (rows) => this.#completed(rows),
    counts: () => this.share.proxies.counts(),
    resetIf: (isUnwanted) => void this.share.proxies.resetIf(isUnwanted),
    withdraw: (isFollowed) => this.share.withdraw(isFollowed),
    answered: () => this.share.answered(),
    drain: (forMs) => this.share.drain(forMs),
    bequeath: () => this.share.bequeath(),
  };

  close(): void {
    this.#hosts.close();
    this.#portals.close();
    this.share.letGo();
  }

  #choose(): ReadonlyMap<IpFamily, Ip> {
    const all = proxyAddresses({
      bindAddress: this.#bindAddress,
      nodeAddresses: this.#nodeAddresses,
      hostAddresses: this.#hosts.current,
    });
    return new Map([...all].filter(([family]) => this.#families.includes(family)));
  }

  /** What has to be planned anew: what changed, and what was refused. */
  #concerned(
    changed: BackendUpdate['frontends'],
    isAll: boolean,
  ): ReadonlyMap<ServiceKey, readonly Frontend[]> {
    const others = isAll ? this.#frontends.keys() : this.#refused.keys();
    const again = [...others].map((one) => [one, this.#frontends.get(one) ?? []] as const);
    return again.length === 0 ? changed : new Map([...again, ...changed]);
  }

  #proxied(all: ReadonlyMap<ServiceKey, readonly Frontend[]>): ReadonlyMap<ServiceKey, readonly Frontend[]> {
    if (all.size === 0) return NO_SERVICES;
    const isOurs = (one: Frontend): boolean => isProxied(one) && this.#families.includes(one.family);
    return new Map([...all].map(([service, list]) => [service, list.filter(isOurs)]));
  }

  #completed(rows: readonly VipTableRow[]): VipTableRow[] {
    const backends = new Map<string, VipTableRow['backends']>();
    for (const list of this.#frontends.values()) {
      for (const frontend of list)
        backends.set(
          frontendKey(frontend),
          frontend.backends.map(({ ip, port }) => ({ address: ip, port })),
        );
    }
    return rows.map((row) => {
      if (row.portal === undefined) return row;
      const { protocol, port } = row;
      const family = familyOf(row.portal.address as Ip);
      const address = row.address === '*' ? undefined : (row.address as Ip);
      return { ...row, backends: backends.get(frontendKey({ family, address, protocol, port })) ?? [] };
    });
  }

  #hasProxied(family: IpFamily): boolean {
    for (const list of this.#frontends.values())
      if (list.some((one) => one.family === family && isProxied(one))) return true;
    return false;
  }

  #endsOf(frontend: Frontend): ReadonlySet<string> | undefined {
    if (!isProxied(frontend)) return undefined;
    const portal = (side: Side) => this.share.proxies.portal(frontend, side);
    return new Set(
      servedSides(frontend).flatMap((side) => {
        const at = portal(side);
        return at === undefined ? [] : [flowEnd(packIp(at.ip), at.port)];
      }),
    );
  }
}
