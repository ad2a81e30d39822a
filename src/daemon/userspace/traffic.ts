// What goes through the proxies, counted by port of a Service and by endpoint.

import { endpointText } from '../../mode/iptables/names.ts';
import type { Protocol } from '../../model/types.ts';
import type { Backend } from '../../vip/frontend.ts';

/** Of TCP, connections; of UDP, clients that have an endpoint. */
export interface EndpointTraffic {
  /** `10.1.0.11:8080`, `[fd00::11]:8080` */
  readonly endpoint: string;
  /** Now. */
  open: number;
  connections: number;
  /** Attempts that the endpoint refused, or did not answer in time. */
  failures: number;
  /** Payload, without a PROXY header. */
  bytesToEndpoint: number;
  bytesToClient: number;
}

export interface PortTraffic {
  /** `default/web:http`; the port name is missing for an unnamed port. */
  readonly service: string;
  readonly protocol: Protocol;
  /** Clients that got no endpoint: none answered, or there were too many connections. */
  readonly refused: number;
  readonly endpoints: readonly Readonly<EndpointTraffic>[];
}

/** Of one port of a Service. Numbers only grow, `open` excepted; an endpoint that is gone and has nothing open is forgotten. */
export class Traffic {
  refused = 0;
  readonly #endpoints = new Map<string, EndpointTraffic>();

  of(backend: Backend): EndpointTraffic {
    const endpoint = endpointText(backend);
    const known = this.#endpoints.get(endpoint);
    if (known !== undefined) return known;
    const fresh = { endpoint, open: 0, connections: 0, failures: 0, bytesToEndpoint: 0, bytesToClient: 0 };
    this.#endpoints.set(endpoint, fresh);
    return fresh;
  }

  /** Forgets those that are neither there any more nor in use. */
  keepOnly(endpoints: ReadonlySet<string>): void {
    for (const [endpoint, { open }] of this.#endpoints) {
      if (open === 0 && !endpoints.has(endpoint)) this.#endpoints.delete(endpoint);
    }
  }

  endpoints(): readonly Readonly<EndpointTraffic>[] {
    return [...this.#endpoints.values()];
  }
}
