// How much of the new connections an endpoint gets (annotation `weights`).

import type { EndpointWeights } from '../model/service-policy.ts';
import type { Endpoint } from '../model/types.ts';

/** 0 to MAX_WEIGHT; `weights` undefined when all endpoints weigh the same. */
export function weightOf(
  { ip, nodeName, zone }: Pick<Endpoint, 'ip' | 'nodeName' | 'zone'>,
  weights: EndpointWeights | undefined,
): number {
  if (weights === undefined) return 1;
  return (
    find(weights.byAddress, ip) ??
    find(weights.byNode, nodeName) ??
    find(weights.byZone, zone) ??
    weights.default
  );
}

/** Names come from outside: one like `constructor` must not find what every object inherits. */
function find(weights: Readonly<Record<string, number>>, name: string | undefined): number | undefined {
  return name !== undefined && Object.hasOwn(weights, name) ? weights[name] : undefined;
}
