// A backend that is given Frontends as they are, for what tests need of the mode beyond what API objects ask for.

import { isDeepStrictEqual } from 'node:util';
import type { SyncResult } from '../../src/daemon/backend.ts';
import type { NetlinkTransport } from '../../src/daemon/netlink-socket.ts';
import { NftSession } from '../../src/daemon/nft-session.ts';
import { NftablesBackend } from '../../src/daemon/nftables-backend.ts';
import { familyOf, type Ip, parseCidr } from '../../src/model/ip.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import type { Frontend } from '../../src/vip/frontend.ts';
import type { Surroundings } from '../../src/vip/surroundings.ts';
import {
  compareFrontends,
  type Differences,
  FAMILIES,
  hostCidrs,
  MASQUERADE_BIT,
} from './in-process-proxy.ts';

export interface FrontendSpec
  extends Partial<Omit<Frontend, 'address' | 'backends' | 'insideBackends' | 'sourceRanges' | 'service'>> {
  /** `default/web` unless given. */
  readonly service?: string;
  /** Addresses; each is a backend on port 8080 of this node. */
  readonly backends?: readonly string[];
  readonly insideBackends?: readonly string[] | undefined;
  readonly sourceRanges?: readonly string[] | undefined;
}

/** A load-balancer address, TCP port 80, balanced over nobody and masqueraded, unless the rest says otherwise. */
export function frontend(address: string, spec: FrontendSpec = {}): Frontend {
  const { service = 'default/web', backends = [], insideBackends, sourceRanges, ...rest } = spec;
  const behind = (ips: readonly string[]) =>
    ips.map((ip) => ({ ip: ip as Ip, port: 8080, isMaybeLocal: true, weight: 1 }));
  return {
    kind: 'LoadBalancer',
    family: familyOf(address as Ip),
    address: address as Ip,
    protocol: 'TCP',
    port: 80,
    service: service as ServiceKey,
    displayName: service,
    backends: behind(backends),
    masquerade: 'always',
    trafficPolicy: 'Cluster',
    healthCheckNodePort: 0,
    whenEmpty: 'refuse',
    insideBackends: insideBackends && behind(insideBackends),
    scheduler: 'random',
    affinityTimeoutSeconds: undefined,
    sourceRanges: sourceRanges?.map((text) => parseCidr(text)!),
    ...rest,
  };
}

/** The node of the topology: its primary addresses serve node ports. */
export const SURROUNDINGS: Surroundings = {
  nodePortCidrs: hostCidrs('192.168.50.10', 'fd00:50::10'),
  serviceCidrs: [],
  localPods: new Map(),
};

export class FrontendProxy {
  readonly backend: NftablesBackend;
  #frontends: ReadonlyMap<ServiceKey, readonly Frontend[]> = new Map();
  #surroundings: Surroundings | undefined;
  readonly #transport: NetlinkTransport;

  constructor(transport: NetlinkTransport) {
    this.#transport = transport;
    const session = new NftSession(transport);
    this.backend = new NftablesBackend({ session, families: FAMILIES, masqueradeBit: MASQUERADE_BIT });
  }

  /** Replaces everything by one update that tells only what changed. */
  set(
    frontends: readonly Frontend[],
    surroundings: Surroundings = this.#surroundings ?? SURROUNDINGS,
  ): Promise<SyncResult> {
    const wanted = new Map<ServiceKey, Frontend[]>();
    for (const one of frontends) wanted.set(one.service, [...(wanted.get(one.service) ?? []), one]);
    const changed = new Map<ServiceKey, readonly Frontend[]>();
    for (const service of new Set([...this.#frontends.keys(), ...wanted.keys()])) {
      const list = wanted.get(service) ?? [];
      if (!isDeepStrictEqual(list, this.#frontends.get(service))) changed.set(service, list);
    }
    const isSame = isDeepStrictEqual(surroundings, this.#surroundings);
    this.#frontends = wanted;
    this.#surroundings = surroundings;
    return this.backend.sync({ frontends: changed, surroundings: isSame ? undefined : surroundings });
  }

  /** Syncs once, as a retry does. */
  retry(): Promise<SyncResult> {
    return this.backend.sync({ frontends: new Map(), surroundings: undefined });
  }

  /** Carries out every deferred deletion, as time does. */
  async flush(): Promise<void> {
    while (this.backend.hasDeferred) {
      const { failures } = await this.backend.flushDeferred();
      if (failures[0] !== undefined) throw failures[0].error;
    }
  }

  /** What separates the kernel from what was set. */
  differences(transport: NetlinkTransport = this.#transport): Promise<Differences> {
    return compareFrontends(transport, this.#frontends, this.#surroundings ?? SURROUNDINGS);
  }
}
