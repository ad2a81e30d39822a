// What proxies leave to those of another process: sockets that listen, and connections. Of UDP clients only the socket is left that they
// send to: what an endpoint has not answered by then they ask again.

import { KernelError } from '../../errors.ts';
import type { Side } from '../../mode/userspace/offered-backends.ts';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import type { Ip, IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';
import { type Bequest, discard } from '../handover/bequest.ts';

/** Another form of the facts is not read: then nothing is inherited. */
const VERSION = 1;

export interface LeftListener {
  readonly fd: number;
  readonly address: SocketAddress;
  /** What it is for: `listenerKey`, `portalKey` or `localKey`. */
  readonly key: string;
}

/** Descriptors are places in the bequest's `fds`. */
export interface LeftTcp {
  readonly client: number;
  readonly endpoint: number | undefined;
  readonly backend: Backend | undefined;
  readonly dialled: SocketAddress;
  readonly side: Side;
  readonly family: IpFamily;
  readonly service: ServiceKey;
  readonly displayName: string;
  /** Base64. */
  readonly unsentToEndpoint: string;
  readonly unsentToClient: string;
}

interface Facts {
  readonly version: typeof VERSION;
  readonly listeners: readonly LeftListener[];
  readonly connections: readonly LeftTcp[];
}

/** A socket that listens. */
export interface Listener {
  readonly address: SocketAddress;
  duplicate(): number;
}

/** Gathers a bequest. */
export class Leaving {
  readonly #fds: number[] = [];
  readonly #listeners: LeftListener[] = [];
  readonly #connections: LeftTcp[] = [];

  /** What cannot be given away ends with this process, and the successor has one of its own. */
  listener(key: string, listener: Listener | undefined): void {
    try {
      if (listener !== undefined)
        this.#listeners.push({ key, address: listener.address, fd: this.#place(listener.duplicate()) });
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
    }
  }

  connection({ client, endpoint, ...facts }: LeftTcp): void {
    const places = { client: this.#place(client), endpoint: endpoint && this.#place(endpoint) };
    this.#connections.push({ ...facts, ...places });
  }

  done(): Bequest {
    const facts: Facts = { version: VERSION, listeners: this.#listeners, connections: this.#connections };
    return { facts, fds: this.#fds };
  }

  #place(fd: number): number {
    return this.#fds.push(fd) - 1;
  }
}

/** What another process has left, until it is claimed. Comes from a process of the same program, or of another version of it. */
export class Inheritance {
  readonly #listeners = new Map<string, LeftListener>();
  #connections: readonly LeftTcp[];

  private constructor({ listeners, connections }: Facts, fds: readonly number[]) {
    const at = (place: number): number => fds[place]!;
    for (const one of listeners)
      this.#listeners.set(`${one.key} ${one.address.ip}`, { ...one, fd: at(one.fd) });
    this.#connections = connections.map(({ client, endpoint, ...rest }) => ({
      ...rest,
      client: at(client),
      endpoint: endpoint === undefined ? undefined : at(endpoint),
    }));
  }

  /** Owns the descriptors; undefined, and they are closed, when the facts are of another form. */
  static of({ facts, fds }: Bequest): Inheritance | undefined {
    if (isFacts(facts, fds.length)) return new Inheritance(facts, fds);
    discard(fds);
    return undefined;
  }

  /** All connections, which are the caller's then. */
  takeConnections(): readonly LeftTcp[] {
    const connections = this.#connections;
    this.#connections = [];
    return connections;
  }

  /** The socket that listens for `key` at an address, which is the caller's then. */
  claim(key: string, ip: Ip): LeftListener | undefined {
    const place = `${key} ${ip}`;
    const found = this.#listeners.get(place);
    this.#listeners.delete(place);
    return found;
  }

  /** Closes what nobody claimed. */
  discardRest(): void {
    discard([...this.#listeners.values()].map(({ fd }) => fd));
    this.#listeners.clear();
  }
}

function isFacts(facts: unknown, count: number): facts is Facts {
  const { version, listeners, connections } = Object(facts);
  const isPlace = (place: unknown): boolean =>
    Number.isInteger(place) && Number(place) >= 0 && Number(place) < count;
  return (
    version === VERSION &&
    Array.isArray(listeners) &&
    listeners.every(({ fd }) => isPlace(fd)) &&
    Array.isArray(connections) &&
    connections.every(
      ({ client, endpoint }) => isPlace(client) && (endpoint === undefined || isPlace(endpoint)),
    )
  );
}

/** As much of a Frontend as an open connection needs: the one it was made through may be gone. */
export function formerFrontend({
  family,
  service,
  displayName,
  dialled,
}: Pick<LeftTcp, 'family' | 'service' | 'displayName' | 'dialled'>): Frontend {
  return {
    kind: 'ClusterIP',
    family,
    address: dialled.ip,
    protocol: 'TCP',
    port: dialled.port,
    service,
    displayName,
    backends: [],
    trafficPolicy: 'Cluster',
    healthCheckNodePort: 0,
    masquerade: 'never',
    whenEmpty: 'refuse',
    insideBackends: undefined,
    scheduler: 'random',
    affinityTimeoutSeconds: undefined,
    sourceRanges: undefined,
  };
}
