// A cluster in which everything changes all the time, and what each of its Services should do once that has settled.
// Which change comes next follows from the seed alone.

import type { ApiServer } from '../support/api-server/api-server.ts';
import type { ApiObject } from '../support/api-server/object-store.ts';
import { NODE_NAME, service, slice } from '../support/manifests.ts';
import { randomNumbers } from '../support/random-numbers.ts';

/** Where the pods of the changing Services are; the crowd answers at every address of it. */
export const CROWD_CIDR = '10.120.0.0/16';
export const CROWD_PORT = 8080;

const NAMESPACE = 'churn';
const MAX_ENDPOINTS = 6;
const PORTS = [80, 81] as const;

type Health = 'ready' | 'unready' | 'draining';
const CONDITIONS = {
  ready: { ready: true, serving: true, terminating: false },
  unready: { ready: false, serving: false, terminating: false },
  draining: { ready: false, serving: true, terminating: true },
} as const;

interface Member {
  readonly index: number;
  endpoints: { readonly ip: string; readonly health: Health }[];
  port: (typeof PORTS)[number];
  hasNodePort: boolean;
  hasAffinity: boolean;
  hasService: boolean;
  hasSlice: boolean;
  /** Counts what changes nothing. */
  note: number;
  /** Of the last change of anything that matters; performance.now(). */
  changedAtMs: number;
}

/** A Service that has not changed for a while. */
export interface Settled {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Whoever may answer; a Service without endpoints refuses. */
  readonly servers: ReadonlySet<string>;
  /** Nothing about it has changed since it was picked. */
  isStillSettled(): boolean;
  /** How long ago it changed. */
  quietMs(): number;
}

export class Churn {
  readonly #server: ApiServer;
  readonly #random: () => number;
  readonly #members: readonly Member[];

  /** Puts `serviceCount` (up to 60,000) Services into the server. */
  constructor(server: ApiServer, serviceCount: number, seed: number) {
    this.#server = server;
    this.#random = randomNumbers(seed);
    this.#members = Array.from({ length: serviceCount }, (_, index) => ({
      index,
      endpoints: this.#newEndpoints(this.#below(MAX_ENDPOINTS + 1)),
      port: PORTS[0],
      hasNodePort: index % 4 === 0,
      hasAffinity: index % 10 === 0,
      hasService: true,
      hasSlice: true,
      note: 0,
      changedAtMs: Number.NEGATIVE_INFINITY,
    }));
    for (const member of this.#members) {
      this.#putService(member);
      this.#putSlice(member);
    }
  }

  /** One write to the API server. */
  step(): void {
    const member = this.#members[this.#below(this.#members.length)]!;
    const dice = this.#random();
    if (dice < 0.04 && member.hasService) {
      member.note++;
      this.#putService(member);
      return;
    }
    member.changedAtMs = performance.now();
    if (dice < 0.6) this.#changeEndpoints(member);
    else if (dice < 0.8) this.#changeHealth(member);
    else if (dice < 0.9) this.#changeSpec(member);
    else if (dice < 0.95) this.#toggleService(member);
    else this.#toggleSlice(member);
  }

  /** A random Service that is there and was last changed more than `quietMs` ago; undefined when a few tries find none. */
  pickSettled(quietMs: number): Settled | undefined {
    for (let i = 0; i < 20; i++) {
      const member = this.#members[Math.floor(Math.random() * this.#members.length)]!;
      const { changedAtMs } = member;
      if (!member.hasService || changedAtMs > performance.now() - quietMs) continue;
      return {
        name: `${NAMESPACE}/${nameOf(member)}`,
        host: clusterIpOf(member),
        port: member.port,
        servers: serversOf(member),
        isStillSettled: () => member.changedAtMs === changedAtMs,
        quietMs: () => performance.now() - changedAtMs,
      };
    }
    return undefined;
  }

  #changeEndpoints(member: Member): void {
    const { endpoints } = member;
    const at = this.#below(endpoints.length);
    // As many come as go when half of the places are taken.
    if (this.#random() < 0.4 && endpoints.length > 0) endpoints.splice(at, 1, this.#newEndpoint(endpoints));
    else if (this.#random() < endpoints.length / MAX_ENDPOINTS) endpoints.splice(at, 1);
    else endpoints.push(this.#newEndpoint(endpoints));
    this.#putSlice(member);
  }

  #changeHealth(member: Member): void {
    const healths = Object.keys(CONDITIONS) as Health[];
    member.endpoints = member.endpoints.map((endpoint) =>
      this.#random() < 0.5 ? endpoint : { ...endpoint, health: healths[this.#below(healths.length)]! },
    );
    this.#putSlice(member);
  }

  #changeSpec(member: Member): void {
    const what = this.#below(3);
    if (what === 0) member.port = PORTS[1 - PORTS.indexOf(member.port)]!;
    else if (what === 1) member.hasAffinity = !member.hasAffinity;
    else member.hasNodePort = member.index < 2000 && !member.hasNodePort;
    member.hasService = true;
    this.#putService(member);
  }

  #toggleService(member: Member): void {
    member.hasService = !member.hasService;
    if (member.hasService) this.#putService(member);
    else this.#server.delete('Service', NAMESPACE, nameOf(member));
  }

  #toggleSlice(member: Member): void {
    if (!member.hasSlice) this.#putSlice(member);
    else {
      member.hasSlice = false;
      this.#server.delete('EndpointSlice', NAMESPACE, nameOf(member));
    }
  }

  #putService(member: Member): void {
    member.hasService = true;
    const { index, port, hasNodePort, hasAffinity, note } = member;
    const object = service(nameOf(member), {
      namespace: NAMESPACE,
      clusterIps: [clusterIpOf(member)],
      ports: [{ name: 'http', port, nodePort: hasNodePort ? 30_000 + index : undefined }],
      annotations: { note: String(note) },
      affinitySeconds: hasAffinity ? 60 : undefined,
      createdAt: '2026-01-01T00:00:00Z',
    });
    this.#server.put(object as ApiObject);
  }

  #putSlice(member: Member): void {
    member.hasSlice = true;
    const endpoints = member.endpoints.map(({ ip, health }) => ({
      ip,
      nodeName: NODE_NAME,
      ...CONDITIONS[health],
    }));
    const spec = {
      namespace: NAMESPACE,
      addressType: 'IPv4' as const,
      ports: [{ name: 'http', port: CROWD_PORT }],
      endpoints,
    };
    this.#server.put(slice(nameOf(member), nameOf(member), spec) as ApiObject);
  }

  #newEndpoints(count: number): Member['endpoints'] {
    const endpoints: Member['endpoints'] = [];
    while (endpoints.length < count) endpoints.push(this.#newEndpoint(endpoints));
    return endpoints;
  }

  /** At an address that none of the others has: of two pods with one address, one is believed, whatever the other says. */
  #newEndpoint(others: Member['endpoints']): Member['endpoints'][number] {
    for (;;) {
      const ip = `10.120.${this.#below(256)}.${this.#below(256)}`;
      if (others.every((other) => other.ip !== ip)) return { ip, health: 'ready' };
    }
  }

  #below(count: number): number {
    return Math.floor(this.#random() * count);
  }
}

const nameOf = ({ index }: Member): string => `service-${index}`;
const clusterIpOf = ({ index }: Member): string => `10.100.${index >> 8}.${index & 255}`;

/** Ready ones, or for want of them those that go, but still serve (KEP-1669). */
function serversOf({ endpoints, hasSlice }: Member): ReadonlySet<string> {
  const of = (wanted: Health) => endpoints.filter(({ health }) => health === wanted).map(({ ip }) => ip);
  if (!hasSlice) return new Set();
  const ready = of('ready');
  return new Set(ready.length > 0 ? ready : of('draining'));
}
