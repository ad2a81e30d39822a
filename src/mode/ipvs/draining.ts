// Real servers that get no new connections and still have some. They go with the last one, or when their time is up.
// Pure: whoever calls knows the time and looks at the connections.

import type { IpvsRequest } from '../../netlink/ipvs/request.ts';
import type {
  RealServer,
  RealServerConnections,
  RealServerKey,
  VirtualServerKey,
} from '../../netlink/ipvs/virtual-server.ts';
import { realId, serverId } from './planned-server.ts';
import type { ServerPlan } from './server-plan.ts';

/** A packet that was given a real server just before it lost its weight has long counted by then. */
const FIRST_LOOK_MS = 100;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;

interface Draining {
  readonly realServer: RealServer;
  readonly untilMs: number;
}

interface DrainingServer {
  readonly key: VirtualServerKey;
  readonly realServers: ReadonlyMap<string, Draining>;
  readonly nextLookMs: number;
  /** Before the look after that. */
  readonly pauseMs: number;
}

export class DrainingServers {
  readonly #timeoutMs: number;
  /** By `serverId`. */
  readonly #servers = new Map<string, DrainingServer>();

  /** `timeoutMs` is the longest that one may take. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** What drains at a virtual server, by `realId`. */
  at(key: VirtualServerKey): ReadonlyMap<string, RealServer> {
    const drained = new Map<string, RealServer>();
    for (const [id, { realServer }] of this.#servers.get(serverId(key))?.realServers ?? []) {
      drained.set(id, realServer);
    }
    return drained;
  }

  /** Takes over what a plan leaves draining. Whoever drains already keeps its time. */
  note({ key, draining }: Pick<ServerPlan, 'key' | 'draining'>, nowMs: number): void {
    const id = serverId(key);
    const before = this.#servers.get(id);
    if (draining.length === 0) {
      this.#servers.delete(id);
      return;
    }
    const realServers = new Map<string, Draining>();
    for (const realServer of draining) {
      const { untilMs = nowMs + this.#timeoutMs } = before?.realServers.get(realId(realServer)) ?? {};
      realServers.set(realId(realServer), { realServer, untilMs });
    }
    const isNew = [...realServers.keys()].some((one) => before?.realServers.has(one) !== true);
    const { nextLookMs, pauseMs } =
      before === undefined || isNew ? { nextLookMs: nowMs + FIRST_LOOK_MS, pauseMs: FIRST_PAUSE_MS } : before;
    this.#servers.set(id, { key, realServers, nextLookMs, pauseMs });
  }

  /** When to look next, later than `afterMs`; undefined when nothing drains. */
  nextLookMs(afterMs: number): number | undefined {
    let next = Number.POSITIVE_INFINITY;
    for (const { nextLookMs } of this.#servers.values()) {
      if (nextLookMs > afterMs) next = Math.min(next, nextLookMs);
    }
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  /** Virtual servers whose connections are to be looked at. */
  due(nowMs: number): VirtualServerKey[] {
    const due = [...this.#servers.values()].filter(({ nextLookMs }) => nextLookMs <= nowMs);
    return due.map(({ key }) => key);
  }

  /**
   * The deletion of what has ended, given what a virtual server that was due was seen to have. What is not there any more
   * is forgotten, and what is to be deleted with `done`.
   */
  drained(
    key: VirtualServerKey,
    seen: readonly (RealServerKey & RealServerConnections)[],
    nowMs: number,
  ): IpvsRequest[] {
    const id = serverId(key);
    const draining = this.#servers.get(id);
    if (draining === undefined) return [];
    const connections = new Map(seen.map((one) => [realId(one), one.active + one.inactive]));
    const present = [...draining.realServers].filter(([realServer]) => connections.has(realServer));
    const isOver = ([realServer, { untilMs }]: (typeof present)[number]): boolean =>
      connections.get(realServer) === 0 || untilMs <= nowMs;
    const times = present.filter((one) => !isOver(one)).map(([, { untilMs }]) => untilMs);
    this.#keep(id, {
      ...draining,
      realServers: new Map(present),
      nextLookMs: Math.min(nowMs + draining.pauseMs, ...times),
      pauseMs: Math.min(draining.pauseMs * 2, LONGEST_PAUSE_MS),
    });
    return present
      .filter(isOver)
      .map(([, { realServer }]) => ({ kind: 'delete real server', virtualServer: key, realServer }));
  }

  /** These are gone. */
  done(requests: readonly IpvsRequest[]): void {
    for (const request of requests) {
      const id = serverId(request.virtualServer);
      const draining = this.#servers.get(id);
      if (draining === undefined || request.kind !== 'delete real server') continue;
      const realServers = new Map(draining.realServers);
      realServers.delete(realId(request.realServer));
      this.#keep(id, { ...draining, realServers });
    }
  }

  /** Forgets virtual servers whose `serverId` is not among these. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of [...this.#servers.keys()]) if (!ids.has(id)) this.#servers.delete(id);
  }

  #keep(id: string, server: DrainingServer): void {
    if (server.realServers.size === 0) this.#servers.delete(id);
    else this.#servers.set(id, server);
  }
}
