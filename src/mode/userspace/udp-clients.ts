// The clients of a UDP port and what each has been given, until they have been silent for too long. As in connection tracking
// (nf_conntrack_proto_udp.c) who was answered is kept longer than who was not.

export interface UdpTimeouts {
  /** Of a client that has had no answer yet. */
  readonly unrepliedMs: number;
  readonly repliedMs: number;
}

/** nf_conntrack_udp_timeout and nf_conntrack_udp_timeout_stream. */
export const UDP_TIMEOUTS: UdpTimeouts = { unrepliedMs: 30_000, repliedMs: 120_000 };

interface Entry<T> {
  readonly flow: T;
  usedAtMs: number;
  isReplied: boolean;
}

export class UdpClients<T> {
  readonly #timeouts: UdpTimeouts;
  /** By address and port of the client, in the order in which they were last heard of. */
  readonly #entries = new Map<string, Entry<T>>();

  constructor(timeouts: UdpTimeouts) {
    this.#timeouts = timeouts;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** What a client has, which has just sent something. */
  use(client: string, nowMs: number): T | undefined {
    return this.#touch(client, nowMs)?.flow;
  }

  /** A client has been answered. */
  reply(client: string, nowMs: number): void {
    const entry = this.#touch(client, nowMs);
    if (entry !== undefined) entry.isReplied = true;
  }

  add(client: string, flow: T, nowMs: number): void {
    this.#entries.delete(client);
    this.#entries.set(client, { flow, usedAtMs: nowMs, isReplied: false });
  }

  delete(client: string): void {
    this.#entries.delete(client);
  }

  /** Lets go of the one that has been silent for longest. */
  takeOldest(): T | undefined {
    for (const [client, { flow }] of this.#entries) {
      this.#entries.delete(client);
      return flow;
    }
    return undefined;
  }

  /** Lets go of those that have been silent for too long. */
  takeExpired(nowMs: number): T[] {
    const { unrepliedMs, repliedMs } = this.#timeouts;
    const least = Math.min(unrepliedMs, repliedMs);
    const expired: T[] = [];
    for (const [client, { flow, usedAtMs, isReplied }] of this.#entries) {
      const idleMs = nowMs - usedAtMs;
      if (idleMs < least) break;
      if (idleMs < (isReplied ? repliedMs : unrepliedMs)) continue;
      this.#entries.delete(client);
      expired.push(flow);
    }
    return expired;
  }

  /** Lets go of those that are asked about. */
  takeIf(isUnwanted: (flow: T) => boolean): T[] {
    const taken: T[] = [];
    for (const [client, { flow }] of this.#entries) {
      if (!isUnwanted(flow)) continue;
      this.#entries.delete(client);
      taken.push(flow);
    }
    return taken;
  }

  #touch(client: string, nowMs: number): Entry<T> | undefined {
    const entry = this.#entries.get(client);
    if (entry === undefined) return undefined;
    entry.usedAtMs = nowMs;
    this.#entries.delete(client);
    this.#entries.set(client, entry);
    return entry;
  }
}
