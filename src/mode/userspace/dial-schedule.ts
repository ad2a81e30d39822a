// How often endpoints are dialled for a client before it is refused, and how long each has to answer. The times are those of
// kube-proxy's userspace mode (pkg/proxy/userspace/proxysocket.go, EndpointDialTimeouts).

import type { Backend } from '../../vip/frontend.ts';
import { endpointText } from '../iptables/names.ts';

/** Of the first attempt, the second and so on; there are no more than these. */
export const DIAL_TIMEOUTS_MS: readonly number[] = [250, 500, 1000, 2000];

export interface Attempt {
  readonly backend: Backend;
  readonly timeoutMs: number;
}

export class DialSchedule {
  readonly #tried = new Set<string>();
  readonly #refused = new Set<string>();
  #attempts = 0;

  /**
   * Whom to dial next; undefined to give up. An endpoint that did not answer is dialled again when there is no other; one
   * that refused is not.
   */
  next(pick: (excluded: ReadonlySet<string>) => Backend | undefined): Attempt | undefined {
    const timeoutMs = DIAL_TIMEOUTS_MS[this.#attempts];
    if (timeoutMs === undefined) return undefined;
    const backend = pick(this.#tried) ?? (this.#attempts === 0 ? undefined : pick(this.#refused));
    if (backend === undefined) return undefined;
    this.#attempts++;
    this.#tried.add(endpointText(backend));
    return { backend, timeoutMs };
  }

  /** An attempt was answered, by a refusal. */
  refused(backend: Backend): void {
    this.#refused.add(endpointText(backend));
  }
}
