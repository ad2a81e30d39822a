// What IPVS shall hold: planned servers of all Services, and the addresses that have to be this host's for them, counted by
// reference. An update of some Services returns just what changed, so its cost does not grow with the cluster.

import { type Cidr, cidrContains, type Ip, isLoopback } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { VirtualServerKey } from '../../netlink/ipvs/virtual-server.ts';
import type { Frontend } from '../../vip/frontend.ts';
import { type InsideTarget, planInside } from './inside.ts';
import { nodePortId, type PlannedServer, planServer, serverId } from './planned-server.ts';

/** A virtual server that is another than before; of a node port, one at one address. */
export interface ServerChange {
  readonly address: Ip;
  readonly before: PlannedServer | undefined;
  readonly after: PlannedServer | undefined;
}

interface Claims {
  readonly vips: readonly string[];
  readonly nodePorts: readonly string[];
  readonly insides: readonly string[];
}

const NO_CLAIMS: Claims = { vips: [], nodePorts: [], insides: [] };

export class Desired {
  readonly #defaultScheduler: string;
  readonly #vips = new Map<string, PlannedServer>();
  readonly #nodePorts = new Map<string, PlannedServer>();
  readonly #insides = new Map<string, InsideTarget>();
  readonly #claims = new Map<ServiceKey, Claims>();
  /** How many virtual servers an address has. */
  readonly #references = new Map<Ip, number>();
  #hostAddresses: ReadonlySet<Ip> = new Set();
  #nodePortCidrs: readonly Cidr[] = [];
  #nodePortAddresses: ReadonlySet<Ip> = new Set();

  constructor(defaultScheduler: string) {
    this.#defaultScheduler = defaultScheduler;
  }

  /** Addresses at which node ports are served. */
  get nodePortAddresses(): ReadonlySet<Ip> {
    return this.#nodePortAddresses;
  }

  /** What is wanted at this address and port. */
  server(key: VirtualServerKey): PlannedServer | undefined {
    const own = this.#vips.get(serverId(key));
    if (own !== undefined || !this.#nodePortAddresses.has(key.address)) return own;
    return this.#nodePorts.get(nodePortId(key));
  }

  *servers(): Generator<readonly [Ip, PlannedServer]> {
    for (const server of this.#vips.values()) yield [server.address!, server];
    for (const server of this.#nodePorts.values()) {
      for (const address of this.#nodePortAddresses) {
        const key = keyAt(server, address);
        if (isOfFamily(server, address) && !this.#vips.has(serverId(key))) yield [address, server];
      }
    }
  }

  /** Those of node ports, as they are at each address. */
  nodePorts(): Iterable<PlannedServer> {
    return this.#nodePorts.values();
  }

  /** Where inside clients of the frontend with this `frontendKey` are sent. */
  insideTarget(key: string): InsideTarget | undefined {
    return this.#insides.get(key);
  }

  /** Whether the address is wanted on the device: a virtual one, which no other interface has. */
  isBound(address: Ip): boolean {
    return this.#references.has(address) && !this.#hostAddresses.has(address);
  }

  *boundAddresses(): Generator<Ip> {
    for (const address of this.#references.keys()) if (!this.#hostAddresses.has(address)) yield address;
  }

  /** Replaces all frontends of the given Services; an empty list removes a Service. */
  update(frontendsByService: ReadonlyMap<ServiceKey, readonly Frontend[]>): ServerChange[] {
    const before = new Map<string, { key: VirtualServerKey; server: PlannedServer | undefined }>();
    const touch = (server: PlannedServer): void => {
      for (const address of this.#addressesOf(server)) {
        const key = keyAt(server, address);
        const id = serverId(key);
        if (!before.has(id)) before.set(id, { key, server: this.server(key) });
      }
    };
    const plans = [...frontendsByService].map(([service, frontends]) => {
      const inside = planInside(frontends, this.#defaultScheduler);
      const servers = frontends.map((frontend) => planServer(frontend, this.#defaultScheduler));
      return { service, servers: [...servers, ...inside.servers], inside };
    });
    for (const { service, servers } of plans) {
      const { vips, nodePorts } = this.#claims.get(service) ?? NO_CLAIMS;
      for (const id of vips) touch(this.#vips.get(id)!);
      for (const id of nodePorts) touch(this.#nodePorts.get(id)!);
      for (const server of servers) touch(server);
    }
    for (const { service } of plans) this.#release(service);
    for (const { service, servers, inside } of plans) this.#claim(service, servers, inside.targets);
    return [...before.values()].flatMap(({ key, server }) => {
      const after = this.server(key);
      return server === undefined && after === undefined
        ? []
        : [{ address: key.address, before: server, after }];
    });
  }

  /** Networks whose local addresses serve node ports. True when that makes a difference. */
  setNodePortCidrs(cidrs: readonly Cidr[]): boolean {
    this.#nodePortCidrs = cidrs;
    return this.#serveNodePorts();
  }

  /** Addresses that other interfaces of this host have. True when that makes a difference. */
  setHostAddresses(addresses: readonly Ip[]): boolean {
    const before = this.#hostAddresses;
    this.#hostAddresses = new Set(addresses);
    const isOther = [...new Set([...before, ...addresses])].some(
      (one) => before.has(one) !== this.#hostAddresses.has(one) && this.#references.has(one),
    );
    return this.#serveNodePorts() || isOther;
  }

  #serveNodePorts(): boolean {
    const before = this.#nodePortAddresses;
    const served = [...this.#hostAddresses].filter(
      (one) =>
        !isLoopback(one) &&
        !one.startsWith('fe80:') &&
        this.#nodePortCidrs.some((cidr) => cidrContains(cidr, one)),
    );
    this.#nodePortAddresses = new Set(served);
    return before.size !== served.length || served.some((one) => !before.has(one));
  }

  #addressesOf(server: PlannedServer): Iterable<Ip> {
    if (server.address !== undefined) return [server.address];
    return [...this.#nodePortAddresses].filter((address) => isOfFamily(server, address));
  }

  #release(service: ServiceKey): void {
    const { vips, nodePorts, insides } = this.#claims.get(service) ?? NO_CLAIMS;
    for (const id of vips) {
      const { address } = this.#vips.get(id)!;
      this.#vips.delete(id);
      const count = this.#references.get(address!)! - 1;
      if (count === 0) this.#references.delete(address!);
      else this.#references.set(address!, count);
    }
    for (const id of nodePorts) this.#nodePorts.delete(id);
    for (const key of insides) this.#insides.delete(key);
    this.#claims.delete(service);
  }

  /** What another Service has stays with it: only where nobody could dial can two want the same. */
  #claim(
    service: ServiceKey,
    servers: readonly PlannedServer[],
    insides: ReadonlyMap<string, InsideTarget>,
  ): void {
    const vips: string[] = [];
    const nodePorts: string[] = [];
    for (const server of servers) {
      if (server.address === undefined) {
        const id = nodePortId(server);
        this.#nodePorts.set(id, server);
        nodePorts.push(id);
        continue;
      }
      const id = serverId(keyAt(server, server.address));
      if (this.#vips.has(id)) continue;
      this.#vips.set(id, server);
      vips.push(id);
      this.#references.set(server.address, (this.#references.get(server.address) ?? 0) + 1);
    }
    for (const [key, target] of insides) this.#insides.set(key, target);
    if (servers.length > 0) this.#claims.set(service, { vips, nodePorts, insides: [...insides.keys()] });
  }
}

export function keyAt({ family, protocol, port }: PlannedServer, address: Ip): VirtualServerKey {
  return { family, protocol, address, port };
}

function isOfFamily({ family }: PlannedServer, address: Ip): boolean {
  return address.includes(':') === (family === 6);
}
