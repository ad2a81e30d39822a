// Which endpoint a client of a port of a Service had last (sessionAffinity ClientIP). As in kube-proxy a client is known by its
// address, whichever address of the Service it dials.

/** An endpoint for as long as it is there: one that comes back is another, and has no clients. */
interface Stay {
  readonly endpoint: string;
  isOver: boolean;
}

interface Choice {
  stay: Stay;
  usedAtMs: number;
}

/** So many clients are remembered; of more, those that came last. */
const MAX_CLIENTS = 65_536;

export class ClientAffinity {
  readonly #maxClients: number;
  /** In the order in which they came last. */
  readonly #choices = new Map<string, Choice>();
  readonly #stays = new Map<string, Stay>();

  constructor(maxClients: number = MAX_CLIENTS) {
    this.#maxClients = maxClients;
  }

  get size(): number {
    return this.#choices.size;
  }

  /** The endpoint (`ip:port`) that a client keeps, which counts as a use; undefined after `timeoutMs` without one. */
  use(client: string, nowMs: number, timeoutMs: number): string | undefined {
    const choice = this.#choices.get(client);
    if (choice === undefined) return undefined;
    this.#choices.delete(client);
    if (choice.stay.isOver || nowMs - choice.usedAtMs >= timeoutMs) return undefined;
    choice.usedAtMs = nowMs;
    this.#choices.set(client, choice);
    return choice.stay.endpoint;
  }

  /** From now on the client keeps that endpoint. Forgets whom nobody has seen for `timeoutMs`. */
  choose(client: string, endpoint: string, nowMs: number, timeoutMs: number): void {
    const stay = this.#stays.get(endpoint) ?? { endpoint, isOver: false };
    this.#stays.set(endpoint, stay);
    this.#choices.delete(client);
    this.#choices.set(client, { stay, usedAtMs: nowMs });
    for (const [oldest, { stay, usedAtMs }] of this.#choices) {
      const isForgotten = stay.isOver || nowMs - usedAtMs >= timeoutMs;
      if (!isForgotten && this.#choices.size <= this.#maxClients) break;
      this.#choices.delete(oldest);
    }
  }

  forget(client: string): void {
    this.#choices.delete(client);
  }

  /** Clients of all other endpoints choose anew, though one comes back. */
  keepOnly(endpoints: ReadonlySet<string>): void {
    for (const [endpoint, stay] of this.#stays) {
      if (endpoints.has(endpoint)) continue;
      stay.isOver = true;
      this.#stays.delete(endpoint);
    }
  }
}
