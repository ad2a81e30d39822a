// How many ports of Services have endpoints, but none on this node, and a Local policy: what kube-proxy tells in
// sync_proxy_rules_no_local_endpoints_total.

import type { IpFamily } from '../model/ip.ts';
import type { ServiceKey } from '../model/types.ts';
import type { Frontend } from './frontend.ts';

export interface LackingCount {
  readonly family: IpFamily;
  readonly policy: 'internal' | 'external';
  readonly count: number;
}

export class LackingLocal {
  /** Per Service, `family policy` of each of its ports that lacks them; Services that lack nothing are missing. */
  readonly #lacking = new Map<ServiceKey, readonly string[]>();

  /** Takes note of all Frontends of the given Services, and counts over all Services. */
  update(frontendsByService: ReadonlyMap<ServiceKey, readonly Frontend[]>): LackingCount[] {
    for (const [service, frontends] of frontendsByService) {
      // Several addresses of one port count once.
      const ports = new Set(frontends.filter(lacksLocal).map(portOf));
      if (ports.size === 0) this.#lacking.delete(service);
      else this.#lacking.set(service, [...ports]);
    }
    const all = [...this.#lacking.values()].flat();
    return ([4, 6] as const).flatMap((family) =>
      (['internal', 'external'] as const).map((policy) => ({
        family,
        policy,
        count: all.filter((port) => port.startsWith(`${family} ${policy} `)).length,
      })),
    );
  }
}

function lacksLocal({ trafficPolicy, backends, whenEmpty }: Frontend): boolean {
  return trafficPolicy === 'Local' && backends.length === 0 && whenEmpty === 'drop';
}

function portOf({ family, kind, displayName, protocol }: Frontend): string {
  return `${family} ${kind === 'ClusterIP' ? 'internal' : 'external'} ${displayName} ${protocol}`;
}
