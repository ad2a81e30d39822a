// What Services ask for by annotation and a mode cannot do: told, and done without.

import type { Scheduler } from '../model/service-policy.ts';
import type { Problem, ServiceKey } from '../model/types.ts';
import type { Frontend } from './frontend.ts';

export class UnmetWishes {
  readonly #mode: string;
  readonly #hasScheduler: (scheduler: Scheduler) => boolean;
  readonly #isProxy: boolean;
  readonly #problems = new Map<ServiceKey, readonly Problem[]>();

  /** Of a mode that has some schedulers, and no direct routing; it may end connections itself (`isProxy`). */
  constructor(mode: string, hasScheduler: (scheduler: Scheduler) => boolean, isProxy = false) {
    this.#mode = mode;
    this.#hasScheduler = hasScheduler;
    this.#isProxy = isProxy;
  }

  /** All frontends of a Service as they are now; none for one that is gone. */
  note(service: ServiceKey, frontends: readonly Frontend[]): void {
    const { scheduler = 'random' } = frontends[0] ?? {};
    const subject = `Service ${service}`;
    const problems: Problem[] = [];
    if (!this.#hasScheduler(scheduler)) {
      const reason = `${this.#mode} mode has no scheduler ${scheduler}; random is used`;
      problems.push({ subject, code: 'UNSUPPORTED_SCHEDULER', reason });
    }
    if (frontends.some(({ isDirect }) => isDirect === true)) {
      const reason = `${this.#mode} mode has no direct routing; answers come through this node`;
      problems.push({ subject, code: 'NO_DIRECT_ROUTING', reason });
    }
    if (!this.#isProxy) problems.push(...unmetProxyWishes(this.#mode, frontends));
    if (problems.length === 0) this.#problems.delete(service);
    else this.#problems.set(service, problems);
  }

  problems(): Problem[] {
    return [...this.#problems.values()].flat();
  }
}

/** What only a mode can do in which connections end at this node, and others begin. */
export function unmetProxyWishes(mode: string, frontends: readonly Frontend[]): Problem[] {
  const problems: Problem[] = [];
  const subject = `Service ${frontends[0]?.service}`;
  if (frontends.some(({ maxConnections }) => maxConnections !== undefined)) {
    const reason = `${mode} mode does not limit connections; there is no limit`;
    problems.push({ subject, code: 'NO_CONNECTION_LIMIT', reason });
  }
  if (frontends.some(({ proxyProtocol }) => proxyProtocol !== undefined)) {
    const reason = `${mode} mode has no PROXY protocol; endpoints are not told of clients`;
    problems.push({ subject, code: 'NO_PROXY_PROTOCOL', reason });
  }
  return problems;
}
