// What is known of a Service for as long as clients of it are: who had which endpoint, what went where, what is open.

import { endpointText } from '../../mode/iptables/names.ts';
import { ClientAffinity } from '../../mode/userspace/client-affinity.ts';
import { offeredBackends, SIDES } from '../../mode/userspace/offered-backends.ts';
import type { Protocol, ServiceKey } from '../../model/types.ts';
import type { Frontend } from '../../vip/frontend.ts';
import { Traffic } from './traffic.ts';

/** What the Frontends of one port of a Service have in common. */
export class RoutedPort {
  readonly displayName: string;
  readonly protocol: Protocol;
  readonly traffic = new Traffic();
  readonly affinity = new ClientAffinity();

  constructor({ displayName, protocol }: Pick<Frontend, 'displayName' | 'protocol'>) {
    this.displayName = displayName;
    this.protocol = protocol;
  }

  has({ displayName, protocol }: Frontend): boolean {
    return displayName === this.displayName && protocol === this.protocol;
  }
}

export class RoutedService {
  readonly key: ServiceKey;
  /** TCP connections, those that are being set up included. */
  open = 0;
  #frontends: readonly Frontend[] = [];
  /** Those that clients have asked for. */
  #ports: readonly RoutedPort[] = [];

  constructor(key: ServiceKey) {
    this.key = key;
  }

  get frontends(): readonly Frontend[] {
    return this.#frontends;
  }

  get ports(): readonly RoutedPort[] {
    return this.#ports;
  }

  /** Nobody needs it any more. */
  get isGone(): boolean {
    return this.#frontends.length === 0 && this.open === 0 && this.#ports.length === 0;
  }

  port(frontend: Frontend): RoutedPort {
    const known = this.#ports.find((port) => port.has(frontend));
    if (known !== undefined) return known;
    const port = new RoutedPort(frontend);
    this.#ports = [...this.#ports, port];
    return port;
  }

  /** Endpoints that are not among those of all these have no clients any more. */
  set(frontends: readonly Frontend[]): void {
    this.#frontends = frontends;
    this.forgetUnused();
  }

  /** Forgets what is neither there any more nor in use. */
  forgetUnused(): void {
    if (this.#ports.length === 0) return;
    this.#ports = this.#ports.filter((port) => {
      const frontends = this.#frontends.filter((frontend) => port.has(frontend));
      const offered = frontends.flatMap((frontend) => SIDES.map((side) => offeredBackends(frontend, side)));
      const endpoints = new Set(offered.flatMap((backends) => backends.map(endpointText)));
      port.affinity.keepOnly(endpoints);
      port.traffic.keepOnly(endpoints);
      return frontends.length > 0 || port.traffic.endpoints().length > 0;
    });
  }
}
