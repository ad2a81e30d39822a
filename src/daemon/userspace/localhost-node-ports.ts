// Node ports at 127.0.0.1 and [::1] in a mode whose rules do not serve them: what leaves by the loopback device for elsewhere would
// carry a source that is nobody's there. So proxies of this process listen, and route_localnet is not needed. It is a mode
// with something beside it: what these ports lack never keeps a rule from being written.

import type { IpFamily } from '../../model/ip.ts';
import type { Problem, ServiceKey } from '../../model/types.ts';
import type { Frontend } from '../../vip/frontend.ts';
import type { Backend, BackendUpdate, SyncFailure, SyncResult } from '../backend.ts';
import type { PortalProxies } from './proxy-share.ts';

/** What is used of the proxies. */
export type LocalhostProxies = Pick<PortalProxies, 'update' | 'close'>;

const NO_SERVICES: ReadonlyMap<ServiceKey, readonly Frontend[]> = new Map();

/** Services whose node ports cannot be listened on, and why. */
export class UnlistenedNodePorts {
  readonly #failures = new Map<ServiceKey, Error>();

  get isEmpty(): boolean {
    return this.#failures.size === 0;
  }

  /** What an update of these Services, or a new attempt for all (no Services), has come to. */
  note(updated: Iterable<ServiceKey>, failures: readonly SyncFailure[]): void {
    for (const service of updated) this.#failures.delete(service);
    for (const { error, services } of failures) for (const one of services) this.#failures.set(one, error);
  }

  /** Before a new attempt for all. */
  clear(): void {
    this.#failures.clear();
  }

  problems(): Problem[] {
    return [...this.#failures].map(([service, { message }]) => ({
      subject: `Service ${service}`,
      code: 'NO_LOCALHOST_NODE_PORT',
      reason: `its node port is not served on this host's loopback address: ${message}`,
    }));
  }
}

export class WithLocalhostNodePorts implements Backend {
  readonly #mode: Backend;
  readonly #proxies: LocalhostProxies;
  readonly #families: readonly IpFamily[];
  readonly #unlistened = new UnlistenedNodePorts();

  constructor(mode: Backend, proxies: LocalhostProxies, families: readonly IpFamily[]) {
    this.#mode = mode;
    this.#proxies = proxies;
    this.#families = families;
  }

  get hasDeferred(): boolean {
    return this.#mode.hasDeferred;
  }

  async sync(update: BackendUpdate): Promise<SyncResult> {
    const { frontends } = update;
    const isServed = ({ address, family }: Frontend): boolean =>
      address === undefined && this.#families.includes(family);
    const nodePorts = new Map([...frontends].map(([service, list]) => [service, list.filter(isServed)]));
    if (nodePorts.size > 0) this.#unlistened.note(nodePorts.keys(), await this.#proxies.update(nodePorts));
    return this.#mode.sync(update);
  }

  distrust(): void {
    this.#mode.distrust();
  }

  hasDrifted(): Promise<boolean> {
    return this.#mode.hasDrifted();
  }

  flushDeferred(): Promise<SyncResult> {
    return this.#mode.flushDeferred();
  }

  /** Looks whether ports that somebody had are free now, too. */
  async releaseUnused(): Promise<SyncResult> {
    if (!this.#unlistened.isEmpty) {
      const failures = await this.#proxies.update(NO_SERVICES);
      this.#unlistened.clear();
      this.#unlistened.note([], failures);
    }
    return this.#mode.releaseUnused();
  }

  problems(): Problem[] {
    return [...this.#mode.problems(), ...this.#unlistened.problems()];
  }

  close(): void {
    void this.#proxies.close();
    this.#mode.close();
  }
}
