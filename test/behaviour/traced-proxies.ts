// The proxies of userspace mode without a socket: which port they would listen at, and which endpoint a client would be led to. What
// clients leave behind is told by what happened, in order, so that a tracer may try out what would be.

import { Route } from '../../src/daemon/userspace/route.ts';
import { RoutedService } from '../../src/daemon/userspace/routed-service.ts';
import { offeredBackends, type Side, servedSides } from '../../src/mode/userspace/offered-backends.ts';
import type { Ip, IpFamily } from '../../src/model/ip.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import { type Backend, type Frontend, frontendKey } from '../../src/vip/frontend.ts';
import { StandInProxies } from '../daemon/userspace/stand-in-proxies.ts';
import type { Choose, Remembered } from './branch.ts';

type Frontends = ReadonlyMap<ServiceKey, readonly Frontend[]>;

type Happening =
  | { readonly kind: 'update'; readonly frontends: Frontends }
  | { readonly kind: 'wait'; readonly seconds: number }
  | { readonly kind: 'dial'; readonly key: string; readonly side: Side; readonly client: string };

const NOBODY: ReadonlySet<string> = new Set();

/** What proxies know of clients. */
export class ProxyState implements Remembered {
  readonly #happenings: readonly Happening[];
  #replayed: Replay | undefined;

  constructor(happenings: readonly Happening[] = []) {
    this.#happenings = happenings;
  }

  after(happening: Happening): ProxyState {
    return new ProxyState([...this.#happenings, happening]);
  }

  /** All there is, made anew: whoever asks may change it. */
  replay(): Replay {
    const replay = new Replay();
    for (const one of this.#happenings) replay.happen(one);
    return replay;
  }

  get fingerprint(): string {
    this.#replayed ??= this.replay();
    return this.#replayed.fingerprint;
  }
}

interface Served {
  readonly frontend: Frontend;
  readonly routes: Readonly<Record<Side, Route>>;
}

class Replay {
  #nowMs = 0;
  readonly #clock = { nowMs: () => this.#nowMs, after: () => () => undefined };
  readonly #services = new Map<ServiceKey, RoutedService>();
  readonly #served = new Map<string, Served>();
  #fingerprint: string | undefined;

  get fingerprint(): string {
    // Whose turns come next; nothing else is left of this one afterwards.
    this.#fingerprint ??= [...this.#served.values()]
      .flatMap(({ frontend, routes }) =>
        servedSides(frontend).map((side) => nextTurns(frontend, side, routes[side])),
      )
      .join();
    return this.#fingerprint;
  }

  happen(happening: Happening): void {
    if (happening.kind === 'wait') this.#nowMs += happening.seconds * 1000;
    else if (happening.kind === 'dial') this.#route(happening).pick(() => happening.client, NOBODY);
    else for (const [service, list] of happening.frontends) this.#set(service, list);
  }

  /** Who would be next, the turn being anybody's unless it is known. */
  dial(
    dialled: Omit<Extract<Happening, { kind: 'dial' }>, 'kind'>,
    choose: Choose,
    isTurnKnown: boolean,
  ): Backend {
    const route = this.#route(dialled);
    const { frontend } = this.#served.get(dialled.key)!;
    const { affinityTimeoutSeconds } = frontend;
    const backends = offeredBackends(frontend, dialled.side);
    const kept =
      affinityTimeoutSeconds === undefined
        ? undefined
        : route.port.affinity.use(dialled.client, this.#nowMs, affinityTimeoutSeconds * 1000);
    const isKept = kept !== undefined && route.leadsTo(kept);
    if (isTurnKnown || isKept) {
      const backend = route.pick(() => dialled.client, NOBODY);
      if (backend === undefined) throw new Error(`a proxy without endpoints at ${dialled.key}`);
      return backend;
    }
    const total = backends.reduce((sum, { weight }) => sum + weight, 0);
    return backends[choose(backends.map(({ weight }) => weight / total))]!;
  }

  #route({ key, side }: { readonly key: string; readonly side: Side }): Route {
    const served = this.#served.get(key);
    if (served === undefined) throw new Error(`no proxy serves ${key}`);
    return served.routes[side];
  }

  #set(key: ServiceKey, list: readonly Frontend[]): void {
    const service = this.#services.get(key) ?? new RoutedService(key);
    this.#services.set(key, service);
    const kept = new Set(list.map(frontendKey));
    for (const [id, { frontend }] of this.#served)
      if (frontend.service === key && !kept.has(id)) this.#served.delete(id);
    service.set(list);
    for (const frontend of list) {
      const known = this.#served.get(frontendKey(frontend));
      const isSame = known?.frontend.displayName === frontend.displayName;
      if (isSame) for (const side of Object.values(known.routes)) side.replace(frontend);
      const make = (side: Side): Route => new Route(service, frontend, side, this.#clock);
      const routes = isSame ? known.routes : { outside: make('outside'), inside: make('inside') };
      this.#served.set(frontendKey(frontend), { frontend, routes });
    }
  }
}

function nextTurns(frontend: Frontend, side: Side, route: Route): string {
  if (frontend.affinityTimeoutSeconds !== undefined) return '';
  const period = offeredBackends(frontend, side).reduce((sum, { weight }) => sum + weight, 0);
  const turns = Array.from({ length: period }, () => route.pick(() => '', NOBODY)!);
  return turns.map(({ ip, port }) => `${ip}:${port}`).join(' ');
}

/** Hands out ports, and tells what happens. */
export class TracedProxies extends StandInProxies {
  readonly #served = new Map<ServiceKey, readonly Frontend[]>();
  readonly #tell: (happening: Happening) => void;

  constructor(tell: (happening: Happening) => void) {
    super();
    this.#tell = tell;
  }

  override async update(frontends: Frontends, addresses?: ReadonlyMap<IpFamily, Ip>) {
    for (const [service, list] of frontends) this.#served.set(service, list);
    this.#tell({ kind: 'update', frontends });
    return super.update(frontends, addresses);
  }

  /** What a client has dialled who is led to a port. @throws when that is no proxy of what he dialled. */
  ledTo(
    dialled: Pick<Frontend, 'family' | 'protocol' | 'port'> & { readonly address: Ip },
    portal: { readonly address: string; readonly port: number },
  ): { readonly key: string; readonly side: Side } {
    const all = [...this.#served.values()].flat();
    for (const key of [frontendKey(dialled), frontendKey({ ...dialled, address: undefined })]) {
      const frontend = all.find((one) => frontendKey(one) === key);
      if (frontend === undefined) continue;
      for (const side of servedSides(frontend)) {
        const at = this.portal(frontend, side);
        if (at?.ip === portal.address && at.port === portal.port) return { key, side };
      }
      break;
    }
    throw new Error(
      `${frontendKey(dialled)} leads to ${portal.address}:${portal.port}, which is no proxy of it`,
    );
  }
}
