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
  /** Who has asked since the last answer. */
  readonly #unanswered = new Set<Entry<T>>();

  constructor(timeouts: UdpTimeouts) {
    this.#timeouts = timeouts;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Clients that have asked since their last answer. */
  get unanswered(): number {
    return this.#unanswered.size;
  }

  /** What a client has, which has just sent something. */
  use(client: string, nowMs: number): T | undefined {
    const entry = this.#touch(client, nowMs);
    if (entry !== undefined) this.#unanswered.add(entry);
    return entry?.flow;
  }

  /** A client has been answered. */
  reply(client: string, nowMs: number): void {
    const entry = this.#touch(client, nowMs);
    if (entry === undefined) return;
    entry.isReplied = true;
    this.#unanswered.delete(entry);
  }

  add(client: string, flow: T, nowMs: number): void {
    this.delete(client);
    const entry = { flow, usedAtMs: nowMs, isReplied: false };
    this.#entries.set(client, entry);
    this.#unanswered.add(entry);
  }

  delete(client: string): void {
    const entry = this.#entries.get(client);
    if (entry === undefined) return;
    this.#entries.delete(client);
    this.#unanswered.delete(entry);
  }

  /** Lets go of the one that has been silent for longest. */
  takeOldest(): T | undefined {
    for (const [client, { flow }] of this.#entries) {
      this.delete(client);
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
      this.delete(client);
      expired.push(flow);
    }
    return expired;
  }

  /** Lets go of those that are asked about. */
  takeIf(isUnwanted: (flow: T) => boolean): T[] {
    const taken: T[] = [];
    for (const [client, { flow }] of this.#entries) {
      if (!isUnwanted(flow)) continue;
      this.delete(client);
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
