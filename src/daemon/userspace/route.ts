// Where the clients of a Frontend are led, from one side.

import { offeredBackends, type Side } from '../../mode/userspace/offered-backends.ts';
import { pickBackend } from '../../mode/userspace/pick-backend.ts';
import { WeightedRoundRobin } from '../../mode/userspace/weighted-round-robin.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';
import type { Clock } from '../sync-loop.ts';
import type { RoutedPort, RoutedService } from './routed-service.ts';

export class Route {
  readonly service: RoutedService;
  readonly port: RoutedPort;
  readonly side: Side;
  readonly #clock: Clock;
  readonly #turns = new WeightedRoundRobin();
  #frontend: Frontend;

  constructor(service: RoutedService, frontend: Frontend, side: Side, clock: Clock) {
    this.service = service;
    this.port = service.port(frontend);
    this.side = side;
    this.#clock = clock;
    this.#frontend = frontend;
    this.#turns.set(offeredBackends(frontend, side));
  }

  get frontend(): Frontend {
    return this.#frontend;
  }

  /** The Frontend as it is now, of the same Service and port. */
  replace(frontend: Frontend): void {
    const backends = offeredBackends(frontend, this.side);
    if (backends !== offeredBackends(this.#frontend, this.side)) this.#turns.set(backends);
    this.#frontend = frontend;
  }

  /** The Frontend is gone: nobody gets an endpoint any more. */
  withdraw(): void {
    this.#turns.set([]);
  }

  /** The endpoint of a client's new connection, none of those in `excluded` (`ip:port`). The address is asked for if it matters. */
  pick(addressOf: () => string, excluded: ReadonlySet<string>): Backend | undefined {
    const { affinityTimeoutSeconds } = this.#frontend;
    if (affinityTimeoutSeconds === undefined) return this.#turns.next(excluded);
    return pickBackend(
      this.#turns,
      {
        affinity: this.port.affinity,
        address: addressOf(),
        nowMs: this.#clock.nowMs(),
        timeoutMs: affinityTimeoutSeconds * 1000,
      },
      excluded,
    );
  }

  /** An endpoint did not take a client, who chooses anew. */
  failed(addressOf: () => string, backend: Backend): void {
    this.port.traffic.of(backend).failures++;
    if (this.#frontend.affinityTimeoutSeconds !== undefined) this.port.affinity.forget(addressOf());
  }

  /** Whether clients may still be led there. */
  leadsTo(endpoint: string): boolean {
    return this.#turns.get(endpoint) !== undefined;
  }
}
