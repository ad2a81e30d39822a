// The proxies behind the portals: who is sent to one of their addresses by the kernel is led to an endpoint from here.
//
// TCP has one listening socket per family and side for all Services: which one was dialled is asked of the kernel for each
// connection. UDP has a socket per Frontend and side, for the kernel tells that of no datagram.
//
// INVARIANTS: what listens is what `#services` need at the present addresses, less what the system refused, plus what nobody
// needs any more until `release`. Nobody gets an endpoint that is not in the Frontend as it was given last.

import { SIDES, type Side, servedSides } from '../../mode/userspace/offered-backends.ts';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import { UDP_TIMEOUTS, type UdpTimeouts } from '../../mode/userspace/udp-clients.ts';
import { familyOf, type Ip, type IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import { type Backend, type Frontend, frontendKey } from '../../vip/frontend.ts';
import type { SyncFailure } from '../backend.ts';
import type { Bequest } from '../handover/bequest.ts';
import { type Clock, systemClock } from '../sync-loop.ts';
import { Descriptors } from './descriptors.ts';
import { LoopbackListeners } from './loopback-listeners.ts';
import { formerFrontend, Inheritance, Leaving, type LeftTcp } from './proxies-bequest.ts';
import { ProxySockets } from './proxy-sockets.ts';
import { Route } from './route.ts';
import { RoutedService } from './routed-service.ts';
import { routeOf, type Served } from './served.ts';
import { SideListeners } from './side-listeners.ts';
import { TcpConnections } from './tcp-connections.ts';
import { resetConnection } from './tcp-socket.ts';
import type { PortTraffic } from './traffic.ts';
import { type TellTrouble, Troubles } from './troubles.ts';
import { UdpPortals } from './udp-portals.ts';

export interface ProxiesOptions {
  /** Told of what keeps clients from being served, each kind every ten seconds at most. */
  readonly tell: TellTrouble;
  readonly clock?: Clock;
  /** What the proxies of another process have left; owned from then on. */
  readonly bequest?: Bequest | undefined;
  /** Of all that is sent to endpoints, so that rules let it pass; 0, which is none, unless given. */
  readonly mark?: number;
  /** Those of the process unless given. */
  readonly descriptors?: Descriptors;
  readonly udpTimeouts?: UdpTimeouts;
  /**
   * Families whose node ports are listened on at the loopback address, too; none unless given. No rule is needed for these, and
   * none would do: what leaves by the loopback device for elsewhere carries a source that is nobody's there.
   */
  readonly localhostNodePorts?: readonly IpFamily[];
  /** Of one UDP Frontend, from one side; of more, those that have been silent for longest are forgotten. */
  readonly maxUdpClients?: number;
}

export interface ProxyCounts {
  /** Of ports that clients have dialled. */
  readonly ports: readonly PortTraffic[];
  /** Used by proxies, and how many the process may have. */
  readonly descriptors: { readonly used: number; readonly limit: number };
  /** Clients that were refused for want of descriptors. */
  readonly refusedForDescriptors: number;
  /** TCP connections to a proxy's own port, or to an address that is no Service's any more: they are reset. */
  readonly strangers: number;
}

const MAX_UDP_CLIENTS = 4096;

const FAMILIES: readonly IpFamily[] = [4, 6];

export class Proxies {
  readonly #clock: Clock;
  readonly #descriptors: Descriptors;
  readonly #troubles: Troubles;
  readonly #connections: TcpConnections;
  readonly #services = new Map<ServiceKey, RoutedService>();
  /** By `frontendKey`. */
  readonly #served = new Map<string, Served>();
  readonly #listeners: SideListeners;
  readonly #portals: UdpPortals;
  readonly #locals: LoopbackListeners;
  #addresses: ReadonlyMap<IpFamily, Ip> = new Map();
  #strangers = 0;
  /** What another process has left and nobody has claimed. */
  readonly #inheritance: Inheritance | undefined;
  /** Of that, connections that had no endpoint. */
  #unled: readonly LeftTcp[] = [];

  constructor(options: ProxiesOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#descriptors = options.descriptors ?? new Descriptors();
    this.#troubles = new Troubles(options.tell, this.#clock);
    const common = {
      descriptors: this.#descriptors,
      troubles: this.#troubles,
      clock: this.#clock,
      mark: options.mark ?? 0,
    };
    this.#connections = new TcpConnections({
      ...common,
      onLastOf: ({ service }) => this.#forgetIfGone(service),
    });
    this.#inheritance = options.bequest && Inheritance.of(options.bequest);
    const sockets = new ProxySockets({
      ...common,
      udpTimeouts: options.udpTimeouts ?? UDP_TIMEOUTS,
      maxUdpClients: options.maxUdpClients ?? MAX_UDP_CLIENTS,
      inheritance: this.#inheritance,
    });
    this.#listeners = new SideListeners(sockets, (client, dialled, side) =>
      this.#accept(client, dialled, side),
    );
    this.#portals = new UdpPortals(sockets);
    this.#locals = new LoopbackListeners(
      sockets,
      options.localhostNodePorts ?? [],
      (client, dialled, route) => this.#connections.lead(client, dialled, route),
    );
    const left = this.#inheritance?.takeConnections() ?? [];
    this.#unled = left.filter((one) => !this.#resume(one));
  }

  /**
   * Takes all Frontends of each changed Service (an empty list: it is gone) and, when given, the addresses to listen on, one per
   * family. When it settles, what new portals need listens, and endpoints that are gone get no new clients. Never throws for
   * what the system refuses, which is tried again with every update: failures name their Services.
   */
  async update(
    frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>,
    addresses: ReadonlyMap<IpFamily, Ip> = this.#addresses,
  ): Promise<readonly SyncFailure[]> {
    // What one Service loses, another may have been given: all that is gone goes first.
    for (const [service, list] of frontends) this.#withdrawOthers(service, list);
    for (const [service, list] of frontends) this.#serve(service, list);
    this.#moveTo(addresses);
    const failures = [
      ...this.#openListeners(),
      ...(await this.#portals.open(this.#addresses)),
      ...(await this.#locals.open()),
    ];
    this.#leadInherited();
    return failures;
  }

  /**
   * Where the rules must send clients of a Frontend: those of the inside apart only where it has `insideBackends`. Undefined
   * while it cannot be served, or has nobody to serve them.
   */
  portal(frontend: Frontend, side: Side): SocketAddress | undefined {
    const served = this.#served.get(frontendKey(frontend));
    if (served === undefined || !servedSides(served.frontend).includes(side)) return undefined;
    if (served.portals !== undefined) return served.portals[side]?.address;
    return this.#listeners.at(frontend.family, side, this.#addresses.get(frontend.family));
  }

  /** Closes what no Frontend needs any more. To be called when no rule leads there any more; TCP connections go on. */
  release(): void {
    this.#listeners.release(this.#addresses);
    this.#portals.release();
    this.#inheritance?.discardRest();
  }

  /**
   * Gives away all that listens and all TCP connections: they are others' to go on with. What is left here is about to end. Not to be
   * called during an update.
   */
  bequeath(): Bequest {
    const leaving = new Leaving();
    this.#listeners.bequeath(leaving);
    for (const served of this.#served.values()) {
      this.#portals.bequeath(served, leaving);
      this.#locals.bequeath(served, leaving);
    }
    for (const left of [...this.#connections.leave(), ...this.#takeUnled()]) leaving.connection(left);
    void this.drain();
    return leaving.done();
  }

  /**
   * Resets the TCP connections that are asked about, by their Frontend and the endpoint that answered, which neither needs to have
   * any more (annotation `removed-endpoint-tcp`). Returns how many.
   */
  resetIf(isUnwanted: (frontend: Frontend, backend: Backend) => boolean): number {
    return this.#connections.resetIf(isUnwanted);
  }

  /** UDP clients that have asked since their last answer. */
  unanswered(): number {
    return [...this.#served.values()].reduce((sum, one) => sum + this.#portals.unansweredOf(one), 0);
  }

  counts(): ProxyCounts {
    const ports: PortTraffic[] = [];
    for (const service of this.#services.values()) {
      service.forgetUnused();
      for (const { displayName, protocol, traffic } of service.ports) {
        const { refused } = traffic;
        ports.push({ service: displayName, protocol, refused, endpoints: traffic.endpoints() });
      }
    }
    const { used, limit, refused } = this.#descriptors;
    return {
      ports,
      descriptors: { used, limit },
      refusedForDescriptors: refused,
      strangers: this.#strangers,
    };
  }

  /** Nothing listens any more, TCP connections go on. Settles when all of them have ended. Not to be called during an update. */
  async drain(): Promise<void> {
    for (const service of [...this.#services.keys()]) this.#withdrawOthers(service, []);
    this.release();
    await this.#connections.drained();
  }

  /** Nothing listens any more, and connections are reset. Not to be called during an update. */
  async close(): Promise<void> {
    const drained = this.drain();
    for (const { client } of this.#takeUnled()) resetConnection(client);
    await this.#connections.close();
    await drained;
  }

  /** Frontends that a Service has no more. */
  #withdrawOthers(key: ServiceKey, list: readonly Frontend[]): void {
    const service = this.#services.get(key);
    if (service === undefined || service.frontends.length === 0) return;
    const kept = new Map(list.map((frontend) => [frontendKey(frontend), frontend.displayName]));
    for (const { displayName, ...rest } of service.frontends) {
      const served = this.#served.get(frontendKey(rest));
      if (served?.service === service && kept.get(frontendKey(rest)) !== displayName) this.#withdraw(served);
    }
    if (list.length > 0) return;
    service.set([]);
    this.#troubles.forget(key);
    this.#forgetIfGone(service);
  }

  #withdraw(served: Served): void {
    this.#served.delete(frontendKey(served.frontend));
    this.#listeners.countUses(served.frontend, -1);
    this.#locals.remove(served);
    for (const side of SIDES) served.routes[side]?.withdraw();
    this.#portals.remove(served);
  }

  #serve(key: ServiceKey, list: readonly Frontend[]): void {
    if (list.length === 0) return;
    const service = this.#services.get(key) ?? new RoutedService(key);
    this.#services.set(key, service);
    service.set(list);
    for (const frontend of list) {
      if (frontend.protocol === 'SCTP') continue;
      const served = this.#served.get(frontendKey(frontend));
      if (served === undefined) this.#add(frontend, service);
      else this.#replace(served, frontend);
    }
  }

  #add(frontend: Frontend, service: RoutedService): void {
    const portals = frontend.protocol === 'UDP' ? {} : undefined;
    const served: Served = { frontend, service, routes: {}, portals, local: undefined };
    this.#served.set(frontendKey(frontend), served);
    this.#listeners.countUses(frontend, 1);
    this.#portals.add(served);
    this.#locals.set(served);
  }

  #replace(served: Served, frontend: Frontend): void {
    this.#listeners.countUses(served.frontend, -1);
    this.#listeners.countUses(frontend, 1);
    served.frontend = frontend;
    for (const side of SIDES) served.routes[side]?.replace(frontend);
    this.#locals.set(served);
    this.#portals.replaced(served);
  }

  #moveTo(addresses: ReadonlyMap<IpFamily, Ip>): void {
    const moved = FAMILIES.filter((family) => addresses.get(family) !== this.#addresses.get(family));
    this.#addresses = new Map(addresses);
    if (moved.length === 0) return;
    for (const served of this.#served.values()) {
      if (moved.includes(served.frontend.family)) this.#portals.move(served);
    }
  }

  #openListeners(): SyncFailure[] {
    return this.#listeners
      .open(this.#addresses)
      .map(({ error, family, side }) => ({ error, services: this.#servicesOf(family, side) }));
  }

  /** A connection of another process goes on if it has an endpoint; else it gets one as soon as Services are known. */
  #resume(left: LeftTcp): boolean {
    const { client, endpoint, backend, dialled } = left;
    if (endpoint === undefined || backend === undefined) return false;
    const service = this.#services.get(left.service) ?? new RoutedService(left.service);
    this.#services.set(left.service, service);
    const route = new Route(service, formerFrontend(left), left.side, this.#clock);
    this.#connections.resume(client, endpoint, dialled, route, {
      backend,
      unsentToEndpoint: Buffer.from(left.unsentToEndpoint, 'base64'),
      unsentToClient: Buffer.from(left.unsentToClient, 'base64'),
    });
    return true;
  }

  #takeUnled(): readonly LeftTcp[] {
    const unled = this.#unled;
    this.#unled = [];
    return unled;
  }

  #leadInherited(): void {
    for (const { client, dialled, side } of this.#takeUnled()) {
      const served = this.#dialled(dialled);
      if (served === undefined) resetConnection(client);
      else this.#connections.lead(client, dialled, routeOf(served, side, this.#clock));
    }
  }

  #accept(client: number, dialled: SocketAddress | undefined, side: Side): void {
    const served = dialled && this.#dialled(dialled);
    if (served === undefined) {
      this.#strangers++;
      resetConnection(client);
      return;
    }
    this.#connections.lead(client, dialled!, routeOf(served, side, this.#clock));
  }

  /** An address of a Service, else the node port. */
  #dialled({ ip, port }: SocketAddress): Served | undefined {
    const family = familyOf(ip);
    const at = (address: Ip | undefined): Served | undefined =>
      this.#served.get(frontendKey({ address, family, port, protocol: 'TCP' }));
    return at(ip) ?? at(undefined);
  }

  #servicesOf(family: IpFamily, side: Side): ServiceKey[] {
    const services = new Set<ServiceKey>();
    for (const { frontend, service, portals } of this.#served.values()) {
      const isOne = portals === undefined && frontend.family === family;
      if (isOne && servedSides(frontend).includes(side)) services.add(service.key);
    }
    return [...services];
  }

  #forgetIfGone(service: RoutedService): void {
    service.forgetUnused();
    if (service.isGone && this.#services.get(service.key) === service) this.#services.delete(service.key);
  }
}
