// The proxies behind the portals: who is sent to one of their addresses by the kernel is led to an endpoint from here.
//
// TCP has one listening socket per family and side for all Services: which one was dialled is asked of the kernel for each
// connection. UDP has a socket per Frontend and side, for the kernel tells that of no datagram.
//
// INVARIANTS: what listens is what `#services` need at the present addresses, less what the system refused, plus what nobody
// needs any more until `release`. Nobody gets an endpoint that is not in the Frontend as it was given last.

import type { Socket } from 'node:net';
import { KernelError } from '../../errors.ts';
import { offeredBackends, SIDES, type Side, servedSides } from '../../mode/userspace/offered-backends.ts';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import { UDP_TIMEOUTS, type UdpTimeouts } from '../../mode/userspace/udp-clients.ts';
import { familyOf, type Ip, type IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import { type Backend, type Frontend, frontendKey } from '../../vip/frontend.ts';
import type { SyncFailure } from '../backend.ts';
import type { Bequest } from '../handover/bequest.ts';
import { type Clock, systemClock } from '../sync-loop.ts';
import { Descriptors } from './descriptors.ts';
import { originalDestination, unreadConnection } from './node-sockets.ts';
import { formerFrontend, Inheritance, Leaving, type LeftTcp } from './proxies-bequest.ts';
import { Route } from './route.ts';
import { RoutedService } from './routed-service.ts';
import { TcpConnections } from './tcp-connections.ts';
import { TcpListener } from './tcp-listener.ts';
import type { PortTraffic } from './traffic.ts';
import { type TellTrouble, Troubles } from './troubles.ts';
import { UdpPortal } from './udp-portal.ts';

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
const LOOPBACK: Readonly<Record<IpFamily, Ip>> = { 4: '127.0.0.1' as Ip, 6: '::1' as Ip };

/** A Frontend that may be dialled. */
interface Served {
  frontend: Frontend;
  readonly service: RoutedService;
  /** Made when they are needed. */
  readonly routes: { [S in Side]?: Route };
  /** Of UDP. */
  readonly portals: { [S in Side]?: UdpPortal } | undefined;
  /** At the loopback address. */
  local: TcpListener | UdpPortal | undefined;
}

export class Proxies {
  readonly #options: ProxiesOptions;
  readonly #clock: Clock;
  readonly #descriptors: Descriptors;
  readonly #troubles: Troubles;
  readonly #connections: TcpConnections;
  readonly #services = new Map<ServiceKey, RoutedService>();
  /** By `frontendKey`. */
  readonly #served = new Map<string, Served>();
  /** By `listenerKey`: how many Frontends need it, and those that are there. */
  readonly #uses = new Map<string, number>();
  readonly #listeners = new Map<string, { readonly ip: Ip; readonly listener: TcpListener }[]>();
  /** UDP Frontends that may lack a socket. */
  readonly #lacking: Readonly<Record<IpFamily, Set<Served>>> = { 4: new Set(), 6: new Set() };
  /** Node ports that may lack a socket at the loopback address. */
  readonly #lackingLocal = new Set<Served>();
  /** Sockets that no Frontend needs any more, though rules may still lead there. */
  #unused: UdpPortal[] = [];
  #addresses: ReadonlyMap<IpFamily, Ip> = new Map();
  #strangers = 0;
  /** What another process has left and nobody has claimed. */
  #inheritance: Inheritance | undefined;
  #unled: { readonly client: Socket; readonly left: LeftTcp }[] = [];

  constructor(options: ProxiesOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#descriptors = options.descriptors ?? new Descriptors();
    this.#troubles = new Troubles(options.tell, this.#clock);
    this.#connections = new TcpConnections({
      descriptors: this.#descriptors,
      troubles: this.#troubles,
      clock: this.#clock,
      mark: options.mark ?? 0,
      onLastOf: ({ service }) => this.#forgetIfGone(service),
    });
    this.#inheritance = options.bequest && Inheritance.of(options.bequest);
    for (const left of this.#inheritance?.connections ?? []) this.#takeOver(left);
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
      ...(await this.#openListeners()),
      ...(await this.#openPortals()),
      ...(await this.#openLocals()),
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
    const ip = this.#addresses.get(frontend.family);
    const listeners = this.#listeners.get(listenerKey(frontend.family, side));
    return listeners?.find((one) => one.ip === ip)?.listener.address;
  }

  /** Closes what no Frontend needs any more. To be called when no rule leads there any more; TCP connections go on. */
  release(): void {
    for (const [key, listeners] of this.#listeners) {
      const kept = listeners.filter((one) => this.#isNeeded(key, one.ip));
      for (const { listener } of listeners.filter((one) => !kept.includes(one)))
        this.#closeListener(listener);
      this.#listeners.set(key, kept);
    }
    for (const portal of this.#unused) this.#closePortal(portal);
    this.#unused = [];
    this.#inheritance?.discardRest();
    this.#inheritance = undefined;
  }

  /**
   * Gives away all that listens and all TCP connections: they are others' to go on with. What is left here is about to end. Not to be
   * called during an update.
   */
  bequeath(): Bequest {
    const leaving = new Leaving();
    for (const [key, listeners] of this.#listeners) {
      for (const { listener } of listeners) leaving.listener(key, listener);
    }
    for (const { frontend, portals, local } of this.#served.values()) {
      for (const side of SIDES) leaving.listener(portalKey(frontend, side), portals?.[side]);
      leaving.listener(localKey(frontend), local);
    }
    for (const left of this.#connections.leave()) leaving.connection(left);
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
    this.#countUses(served.frontend, -1);
    this.#lacking[served.frontend.family].delete(served);
    this.#lackingLocal.delete(served);
    this.#closeLocal(served);
    for (const side of SIDES) {
      served.routes[side]?.withdraw();
      this.#abandon(served, side);
    }
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
    this.#countUses(frontend, 1);
    if (portals !== undefined) this.#lacking[frontend.family].add(served);
    if (this.#isLocal(frontend)) this.#lackingLocal.add(served);
  }

  #replace(served: Served, frontend: Frontend): void {
    this.#countUses(served.frontend, -1);
    this.#countUses(frontend, 1);
    served.frontend = frontend;
    for (const side of SIDES) served.routes[side]?.replace(frontend);
    if (served.local instanceof UdpPortal) served.local.endGone();
    if (!this.#isLocal(frontend)) this.#closeLocal(served);
    else if (served.local === undefined) this.#lackingLocal.add(served);
    if (served.portals === undefined) return;
    const sides = servedSides(frontend);
    for (const side of SIDES) {
      if (sides.includes(side)) served.portals[side]?.endGone();
      else this.#abandon(served, side);
    }
    this.#lacking[frontend.family].add(served);
  }

  /** A node port that loopback clients are served at: as everybody inside. */
  #isLocal(frontend: Frontend): boolean {
    const { localhostNodePorts = [] } = this.#options;
    const isNodePort = frontend.address === undefined && localhostNodePorts.includes(frontend.family);
    return isNodePort && offeredBackends(frontend, 'inside').length > 0;
  }

  /** At once, for no rule leads there; TCP connections go on. */
  #closeLocal(served: Served): void {
    if (served.local === undefined) return;
    served.local.close();
    this.#descriptors.give(1);
    served.local = undefined;
  }

  async #openLocals(): Promise<SyncFailure[]> {
    const failures: SyncFailure[] = [];
    for (const served of this.#lackingLocal) {
      const address = { ip: LOOPBACK[served.frontend.family], port: served.frontend.port };
      const listener = await this.#within<TcpListener | UdpPortal>(address.ip, () =>
        served.portals === undefined
          ? TcpListener.open(address, {
              fd: this.#inheritance?.claim(localKey(served.frontend), address.ip)?.fd,
              onConnection: (client) =>
                this.#connections.lead(client, address, this.#route(served, 'inside')),
              onError: (error) => this.#noteRefusal(error),
            })
          : this.#openPortal(address, this.#route(served, 'inside'), localKey(served.frontend)),
      );
      if (listener instanceof KernelError) {
        failures.push({ error: listener, services: [served.service.key] });
        continue;
      }
      served.local = listener;
      this.#lackingLocal.delete(served);
    }
    return failures;
  }

  /** A UDP socket that rules may lead to until `release`, and where nobody is served any more. */
  #abandon({ portals }: Served, side: Side): void {
    const portal = portals?.[side];
    if (portal === undefined) return;
    portal.endAll();
    this.#unused.push(portal);
    delete portals![side];
  }

  #countUses(frontend: Frontend, by: 1 | -1): void {
    if (frontend.protocol !== 'TCP') return;
    for (const side of servedSides(frontend)) {
      const key = listenerKey(frontend.family, side);
      this.#uses.set(key, (this.#uses.get(key) ?? 0) + by);
    }
  }

  #moveTo(addresses: ReadonlyMap<IpFamily, Ip>): void {
    const moved = FAMILIES.filter((family) => addresses.get(family) !== this.#addresses.get(family));
    this.#addresses = new Map(addresses);
    if (moved.length === 0) return;
    for (const served of this.#served.values()) {
      if (served.portals === undefined || !moved.includes(served.frontend.family)) continue;
      for (const side of SIDES) this.#abandon(served, side);
      this.#lacking[served.frontend.family].add(served);
    }
  }

  #isNeeded(key: string, ip: Ip): boolean {
    return (this.#uses.get(key) ?? 0) > 0 && this.#addresses.get(familyOf(ip)) === ip;
  }

  async #openListeners(): Promise<SyncFailure[]> {
    const failures: SyncFailure[] = [];
    for (const [family, ip] of this.#addresses) {
      for (const side of SIDES) {
        const key = listenerKey(family, side);
        const listeners = this.#listeners.get(key) ?? [];
        if (!this.#isNeeded(key, ip) || listeners.some((one) => one.ip === ip)) continue;
        const listener = await this.#openListener(ip, side);
        if (listener instanceof TcpListener) this.#listeners.set(key, [...listeners, { ip, listener }]);
        else failures.push({ error: listener, services: this.#servicesOf(family, side) });
      }
    }
    return failures;
  }

  #openListener(ip: Ip, side: Side): Promise<TcpListener | KernelError> {
    const family = familyOf(ip);
    const isOwn = (address: SocketAddress): boolean => {
      const listeners = this.#listeners.get(listenerKey(family, side)) ?? [];
      return listeners.some(
        ({ listener }) => listener.address.port === address.port && listener.address.ip === address.ip,
      );
    };
    const left = this.#inheritance?.claim(listenerKey(familyOf(ip), side), ip);
    return this.#within(ip, () =>
      TcpListener.open(
        { ip, port: 0 },
        {
          fd: left?.fd,
          onConnection: (client) => this.#accept(client, family, side, isOwn),
          onError: (error) => this.#noteRefusal(error),
        },
      ),
    );
  }

  #noteRefusal({ code }: NodeJS.ErrnoException): void {
    const reason = `a connection could not be accepted: ${code}`;
    this.#troubles.note({ code: 'ACCEPT', service: undefined, reason });
  }

  async #openPortals(): Promise<SyncFailure[]> {
    const failures: SyncFailure[] = [];
    for (const [family, ip] of this.#addresses) {
      for (const served of this.#lacking[family]) {
        const error = await this.#openPortalsOf(served, ip);
        if (error === undefined) this.#lacking[family].delete(served);
        else failures.push({ error, services: [served.service.key] });
      }
    }
    return failures;
  }

  async #openPortalsOf(served: Served, ip: Ip): Promise<KernelError | undefined> {
    for (const side of servedSides(served.frontend)) {
      if (served.portals![side] !== undefined) continue;
      const portal = await this.#within(ip, () =>
        this.#openPortal({ ip, port: 0 }, this.#route(served, side), portalKey(served.frontend, side)),
      );
      if (!(portal instanceof UdpPortal)) return portal;
      served.portals![side] = portal;
    }
    return undefined;
  }

  #openPortal(address: SocketAddress, route: Route, key: string): Promise<UdpPortal | KernelError> {
    const left = this.#inheritance?.claim(key, address.ip);
    return UdpPortal.open(address, {
      fd: left?.fd,
      mark: this.#options.mark ?? 0,
      route,
      timeouts: this.#options.udpTimeouts ?? UDP_TIMEOUTS,
      maxClients: this.#options.maxUdpClients ?? MAX_UDP_CLIENTS,
      descriptors: this.#descriptors,
      troubles: this.#troubles,
      clock: this.#clock,
    });
  }

  /** Opens a socket if there may be one more. */
  async #within<T>(ip: Ip, open: () => Promise<T | KernelError>): Promise<T | KernelError> {
    if (!this.#descriptors.take(1)) return new KernelError('EMFILE', 24, `listen on ${ip}`);
    const opened = await open();
    if (opened instanceof KernelError) this.#descriptors.give(1);
    return opened;
  }

  #closeListener(listener: TcpListener): void {
    listener.close();
    this.#descriptors.give(1);
  }

  #closePortal(portal: UdpPortal): void {
    portal.close();
    this.#descriptors.give(1);
  }

  /** Connections of another process: those with an endpoint go on, those without get one as soon as Services are known. */
  #takeOver(left: LeftTcp): void {
    const client = unreadConnection(left.client);
    if (left.endpoint === undefined || left.backend === undefined) {
      this.#unled.push({ client, left });
      return;
    }
    const service = this.#services.get(left.service) ?? new RoutedService(left.service);
    this.#services.set(left.service, service);
    const route = new Route(service, formerFrontend(left), left.side, this.#clock);
    this.#connections.resume(client, left.endpoint, left.dialled, route, {
      backend: left.backend,
      unsentToEndpoint: Buffer.from(left.unsentToEndpoint, 'base64'),
      unsentToClient: Buffer.from(left.unsentToClient, 'base64'),
    });
  }

  #leadInherited(): void {
    for (const { client, left } of this.#unled.splice(0)) {
      const served = this.#dialled(left.dialled);
      if (served === undefined) client.resetAndDestroy();
      else this.#connections.lead(client, left.dialled, this.#route(served, left.side));
    }
  }

  #accept(client: Socket, family: IpFamily, side: Side, isOwn: (address: SocketAddress) => boolean): void {
    const dialled = originalDestination(client, family);
    const served = dialled === undefined || isOwn(dialled) ? undefined : this.#dialled(dialled);
    if (served === undefined) {
      this.#strangers++;
      client.resetAndDestroy();
      return;
    }
    this.#connections.lead(client, dialled!, this.#route(served, side));
  }

  /** An address of a Service, else the node port. */
  #dialled({ ip, port }: SocketAddress): Served | undefined {
    const family = familyOf(ip);
    const at = (address: Ip | undefined): Served | undefined =>
      this.#served.get(frontendKey({ address, family, port, protocol: 'TCP' }));
    return at(ip) ?? at(undefined);
  }

  #route(served: Served, side: Side): Route {
    served.routes[side] ??= new Route(served.service, served.frontend, side, this.#clock);
    return served.routes[side];
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

function listenerKey(family: IpFamily, side: Side): string {
  return `${family} ${side}`;
}

/** Of a UDP Frontend's socket, which is another one where its display name is another. */
function portalKey(frontend: Frontend, side: Side): string {
  return `${frontendKey(frontend)} ${side} ${frontend.displayName}`;
}

function localKey(frontend: Frontend): string {
  return `${frontendKey(frontend)} local ${frontend.displayName}`;
}
