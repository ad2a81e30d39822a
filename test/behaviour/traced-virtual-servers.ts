// The IPVS of a kernel in which nobody else writes: what the daemon asks of it, and where it sends connections
// (net/netfilter/ipvs/ip_vs_core.c, ip_vs_ctl.c, ip_vs_rr.c, ip_vs_wrr.c, ip_vs_sh.c, ip_vs_mh.c). It refuses nothing quietly.

import type { IpvsDevice } from '../../src/daemon/ipvs/bound-addresses.ts';
import type { IpvsTable } from '../../src/daemon/ipvs/ipvs-backend.ts';
import type { Ip } from '../../src/model/ip.ts';
import { ipBytes } from '../../src/model/ip.ts';
import type { IpvsRequest } from '../../src/netlink/ipvs/request.ts';
import type { ListedRealServer, TableEntry, TrafficStats } from '../../src/netlink/ipvs/table.ts';
import type {
  RealServer,
  RealServerKey,
  VirtualServer,
  VirtualServerKey,
} from '../../src/netlink/ipvs/virtual-server.ts';
import { frontendKey } from '../../src/vip/frontend.ts';
import type { Choose } from './branch.ts';
import { maglevChoice, maglevTable } from './maglev.ts';

export interface TracedServer {
  server: VirtualServer;
  /** In the kernel's order: the youngest first. */
  realServers: RealServer[];
  /** Of each real server, the last one above 0: hashing schedulers go by it. Editing keeps it, adding does not. */
  lastWeights: Map<string, number>;
}

/** linux/ip_vs.h, IP_VS_SVC_F_SCHED_MH_FALLBACK */
const MAGLEV_FALLBACK = 0x8;

const NO_STATS: TrafficStats = { connections: 0, packetsIn: 0, packetsOut: 0, bytesIn: 0, bytesOut: 0 };

export class TracedVirtualServers implements IpvsTable {
  readonly #servers = new Map<string, TracedServer>();
  /** What real servers have besides what they were given: by `address port`. */
  connections = new Map<string, number>();
  /** Requests so far. */
  changes = 0;
  questions = 0;

  at(key: Pick<VirtualServerKey, 'family' | 'address' | 'port' | 'protocol'>): TracedServer | undefined {
    return this.#servers.get(frontendKey(key));
  }

  byId(id: string): TracedServer | undefined {
    return this.#servers.get(id);
  }

  get ids(): string[] {
    return [...this.#servers.keys()];
  }

  async apply(requests: readonly IpvsRequest[]): Promise<undefined[]> {
    this.changes += requests.length;
    for (const request of requests) this.#change(request);
    return requests.map(() => undefined);
  }

  async table(): Promise<TableEntry[]> {
    this.questions += 1 + this.#servers.size;
    return [...this.#servers.values()].map(({ server, realServers }) => ({
      server: { ...server, stats: NO_STATS },
      realServers: realServers.map((one) => this.#listed(one)),
    }));
  }

  async virtualServers(): Promise<TableEntry['server'][]> {
    this.questions++;
    return [...this.#servers.values()].map(({ server }) => ({ ...server, stats: NO_STATS }));
  }

  async realServers(of: readonly VirtualServerKey[]): Promise<ListedRealServer[][]> {
    this.questions += of.length;
    return of.map((key) => (this.at(key)?.realServers ?? []).map((one) => this.#listed(one)));
  }

  close(): void {}

  #listed(realServer: RealServer): ListedRealServer {
    const active = this.connections.get(`${realServer.address} ${realServer.port}`) ?? 0;
    return { ...realServer, active, inactive: 0, persistent: 0, stats: NO_STATS };
  }

  #change(request: IpvsRequest): void {
    const id = frontendKey(request.virtualServer);
    const present = this.#servers.get(id);
    if (request.kind === 'add virtual server') {
      if (present !== undefined) throw new Error(`${id} is there already`);
      this.#servers.set(id, {
        server: request.virtualServer,
        realServers: [],
        lastWeights: new Map(),
      });
      return;
    }
    if (present === undefined) throw new Error(`${request.kind}: no virtual server ${id}`);
    if (request.kind === 'delete virtual server') this.#servers.delete(id);
    else if (!('realServer' in request)) present.server = request.virtualServer;
    else if (request.kind === 'delete real server') {
      present.realServers.splice(indexOf(present, request.realServer, true), 1);
      present.lastWeights.delete(nameOf(request.realServer));
    } else {
      const { weight } = request.realServer;
      if (weight !== 0 || request.kind === 'add real server')
        present.lastWeights.set(nameOf(request.realServer), weight);
      const at = indexOf(present, request.realServer, request.kind === 'edit real server');
      if (at < 0) present.realServers.unshift(request.realServer);
      else present.realServers[at] = request.realServer;
    }
  }
}

/** @throws unless it is there, or is not, as `isThere` says. */
function indexOf({ realServers }: TracedServer, { address, port }: RealServerKey, isThere: boolean): number {
  const at = realServers.findIndex((one) => one.address === address && one.port === port);
  if (at >= 0 !== isThere)
    throw new Error(`${address} ${port} is ${isThere ? 'not there' : 'there already'}`);
  return at;
}

/** The device of virtual addresses. */
export class TracedDevice implements IpvsDevice {
  readonly bound = new Set<Ip>();
  writes = 0;

  async ensure(): Promise<void> {}

  async addresses(): Promise<Ip[]> {
    return [...this.bound];
  }

  async change({ add, remove }: { add: readonly Ip[]; remove: readonly Ip[] }): Promise<[]> {
    this.writes += add.length + remove.length;
    for (const address of add) this.bound.add(address);
    for (const address of remove) this.bound.delete(address);
    return [];
  }

  close(): void {}
}

/** What packets leave behind in IPVS: persistence templates, whose turn it is. */
export class VirtualServerState {
  #nowMs = 0;
  readonly #templates = new Map<string, { readonly realServer: string; readonly untilMs: number }>();
  readonly #turns = new Map<string, number>();

  fork(): VirtualServerState {
    const other = new VirtualServerState();
    other.#nowMs = this.#nowMs;
    for (const [key, template] of this.#templates) other.#templates.set(key, template);
    for (const [key, turn] of this.#turns) other.#turns.set(key, turn);
    return other;
  }

  wait(seconds: number): void {
    this.#nowMs += seconds * 1000;
  }

  get fingerprint(): string {
    return JSON.stringify([[...this.#templates].sort(), [...this.#turns].sort()]);
  }

  /** The real server of one more connection. `choose` has a say only where turns are not known. */
  schedule(traced: TracedServer, client: Ip, choose: Choose, isTurnKnown: boolean): RealServer | undefined {
    const { server } = traced;
    const usable = traced.realServers.filter(({ weight }) => weight > 0);
    if (usable.length === 0) return undefined;
    const id = frontendKey(server);
    const { persistenceSeconds } = server;
    if (persistenceSeconds === undefined) return this.#pick(id, traced, usable, client, choose, isTurnKnown);
    const template = this.#templates.get(`${id} ${client}`);
    // expire_quiescent_template: one without weight is forgotten.
    const kept =
      template !== undefined && template.untilMs > this.#nowMs
        ? usable.find((one) => nameOf(one) === template.realServer)
        : undefined;
    // New clients take turns, and of these no single one can tell whose it is.
    const picked = kept ?? this.#pick(id, traced, usable, client, choose, false);
    if (picked === undefined) return undefined;
    const untilMs = this.#nowMs + persistenceSeconds * 1000;
    this.#templates.set(`${id} ${client}`, { realServer: nameOf(picked), untilMs });
    return picked;
  }

  #pick(
    id: string,
    { server, realServers, lastWeights }: TracedServer,
    usable: readonly RealServer[],
    client: Ip,
    choose: Choose,
    isTurnKnown: boolean,
  ): RealServer | undefined {
    switch (server.scheduler) {
      case 'rr':
      case 'wrr': {
        const turns = usable.flatMap((one) =>
          new Array<RealServer>(server.scheduler === 'rr' ? 1 : one.weight).fill(one),
        );
        if (!isTurnKnown) return turns[choose(turns.map(() => 1 / turns.length))]!;
        const turn = (this.#turns.get(id) ?? 0) % turns.length;
        this.#turns.set(id, (turn + 1) % turns.length);
        return turns[turn]!;
      }
      case 'sh': {
        const buckets = realServers.flatMap((one) =>
          new Array<RealServer>(lastWeights.get(nameOf(one))!).fill(one),
        );
        for (let offset = 0; ; offset++) {
          const found = buckets[((sourceHash(client) + offset) % 256) % buckets.length]!;
          if (found.weight > 0) return found;
        }
      }
      case 'mh': {
        const members = realServers.map((realServer) => {
          return { realServer, lastWeight: lastWeights.get(nameOf(realServer))! };
        });
        return maglevChoice(maglevTable(members), client, (server.flags & MAGLEV_FALLBACK) !== 0);
      }
      default:
        throw new Error(`scheduler ${server.scheduler} is not traced`);
    }
  }
}

function nameOf({ address, port }: RealServerKey): string {
  return `${address} ${port}`;
}

/** ip_vs_sh_hashkey */
function sourceHash(client: Ip): number {
  const bytes = ipBytes(client);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let fold = 0;
  for (let i = 0; i < bytes.length; i += 4) fold ^= view.getUint32(i);
  return Math.imul(fold, 0x61c88647) >>> 24;
}
