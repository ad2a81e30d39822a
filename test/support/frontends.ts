// Frontends as tests state them, and the backend that brings them into a kernel: what lies behind the virtual-IP table,
// without Services in front of it.

import type { SyncResult } from '../../src/daemon/backend.ts';
import type { NetlinkTransport } from '../../src/daemon/netlink-socket.ts';
import { NftSession } from '../../src/daemon/nft-session.ts';
import { NftablesBackend } from '../../src/daemon/nftables-backend.ts';
import type { Ip } from '../../src/model/ip.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import type { Backend, Frontend } from '../../src/vip/frontend.ts';
import type { Surroundings } from '../../src/vip/surroundings.ts';
import {
  compareFrontends,
  type Differences,
  FAMILIES,
  hostCidrs,
  MASQUERADE_BIT,
} from './in-process-proxy.ts';

/** What is not named here is as for a plain cluster IP. */
export type FrontendSpec = Partial<
  Omit<Frontend, 'address' | 'backends' | 'insideBackends' | 'service' | 'displayName'>
> & {
  /** Missing for a node port. */
  readonly address?: string;
  /** `ip:port` or `[ip6]:port`, with `*weight` behind it where it is not 1. */
  readonly backends: readonly string[];
  readonly insideBackends?: readonly string[];
};

export function frontend(
  name: string,
  { address, backends, insideBackends, ...rest }: FrontendSpec,
): Frontend {
  const isIp6 = address?.includes(':') ?? backends.some((text) => text.startsWith('['));
  return {
    kind: address === undefined ? 'NodePort' : 'ClusterIP',
    family: isIp6 ? 6 : 4,
    address: address as Ip | undefined,
    protocol: 'TCP',
    port: 80,
    service: `default/${name}` as ServiceKey,
    displayName: `default/${name}`,
    masquerade: 'never',
    trafficPolicy: 'Cluster',
    healthCheckNodePort: 0,
    whenEmpty: 'refuse',
    scheduler: 'random',
    affinityTimeoutSeconds: undefined,
    sourceRanges: undefined,
    ...rest,
    backends: backends.map(backend),
    insideBackends: insideBackends?.map(backend),
  };
}

export function backend(text: string): Backend {
  const [, ip = '', port, weight = '1'] = /^\[?([^\]]+?)\]?:(\d+)(?:\*(\d+))?$/.exec(text) ?? [];
  return { ip: ip as Ip, port: Number(port), isMaybeLocal: true, weight: Number(weight) };
}

const SURROUNDINGS: Surroundings = {
  nodePortCidrs: hostCidrs('192.168.50.10', 'fd00:50::10'),
  serviceCidrs: [],
  localPods: new Map(),
};

export class FrontendsInKernel {
  readonly #transport: NetlinkTransport;
  readonly #byService = new Map<ServiceKey, readonly Frontend[]>();
  #backend: NftablesBackend;
  #surroundings: Surroundings | undefined = SURROUNDINGS;

  constructor(transport: NetlinkTransport) {
    this.#transport = transport;
    this.#backend = this.#start();
  }

  get backend(): NftablesBackend {
    return this.#backend;
  }

  /** Replaces all frontends of the Services that these belong to. */
  set(...frontends: readonly Frontend[]): Promise<SyncResult> {
    const changed = new Map<ServiceKey, Frontend[]>();
    for (const one of frontends) changed.set(one.service, [...(changed.get(one.service) ?? []), one]);
    return this.update(changed);
  }

  update(frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>): Promise<SyncResult> {
    for (const [service, list] of frontends) this.#byService.set(service, list);
    const surroundings = this.#surroundings;
    this.#surroundings = undefined;
    return this.#backend.sync({ frontends, surroundings });
  }

  /** Another daemon takes over, and is told of everything at once. */
  restart(): Promise<SyncResult> {
    this.#backend = this.#start();
    this.#surroundings = SURROUNDINGS;
    return this.update(new Map(this.#byService));
  }

  /** Carries out every deferred deletion, as time does. */
  async flush(): Promise<void> {
    while (this.#backend.hasDeferred) {
      const { failures } = await this.#backend.flushDeferred();
      if (failures[0] !== undefined) throw failures[0].error;
    }
  }

  compare(transport: NetlinkTransport = this.#transport): Promise<Differences> {
    return compareFrontends(transport, this.#byService, SURROUNDINGS);
  }

  #start(): NftablesBackend {
    const session = new NftSession(this.#transport);
    return new NftablesBackend({ session, families: FAMILIES, masqueradeBit: MASQUERADE_BIT });
  }
}
