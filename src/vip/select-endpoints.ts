// Which endpoints of one service port get its traffic: readiness, termination, topology and locality, as kube-proxy 1.36
// decides them (pkg/proxy/topology.go). Which traffic gets which list is decided in build-frontends.ts.

import type { Backend } from './frontend.ts';
import type { PortEndpoint } from './merge-endpoints.ts';

/** Where this node is. */
export interface Place {
  /** Endpoints that carry it are local. */
  readonly nodeName: string;
  /** undefined when the Node has none, or is not known yet. */
  readonly zone: string | undefined;
}

/** Which lists the traffic of the port needs; the other stays empty, and costs nothing. */
export interface Uses {
  readonly cluster: boolean;
  readonly local: boolean;
}

/** Lists in the order of the endpoints given. */
export interface Selection {
  /** For traffic that may go anywhere. */
  readonly cluster: readonly Backend[];
  /** For traffic that must stay on this node. */
  readonly local: readonly Backend[];
  /** True when the cluster has an endpoint that could serve, be it out of reach for a Local policy. */
  readonly hasAny: boolean;
}

/** Selects among `endpoints` without duplicates. */
export function selectEndpoints(endpoints: readonly PortEndpoint[], place: Place, uses: Uses): Selection {
  const ready = endpoints.filter(isReady);
  return {
    // Topology is a matter of ready endpoints: what is left to fall back on is too little to choose from.
    cluster: uses.cluster
      ? toBackends(ready.length > 0 ? nearest(ready, place) : endpoints.filter(isDraining))
      : [],
    // The fallback of this node is its own: that there are ready endpoints elsewhere does not spare the draining ones
    // here. Hints do not apply, traffic that must stay has no choice.
    local: uses.local ? toBackends(usable(endpoints.filter((one) => isLocal(one, place)))) : [],
    hasAny: ready.length > 0 || endpoints.some(isDraining),
  };
}

/** Ready endpoints, or else those that still serve while they end. One that is neither never gets traffic. */
function usable(endpoints: readonly PortEndpoint[]): readonly PortEndpoint[] {
  const ready = endpoints.filter(isReady);
  return ready.length > 0 ? ready : endpoints.filter(isDraining);
}

/**
 * The ready endpoints hinted for this node, else for this zone, else all of them. Hints of a kind count only when every
 * ready endpoint has some, so that a slice that is only half updated does not overload the half that has them, and only
 * when one names this place, so that they never leave it without an endpoint.
 */
function nearest(ready: readonly PortEndpoint[], { nodeName, zone }: Place): readonly PortEndpoint[] {
  return hintedFor('nodeHints', nodeName, ready) ?? hintedFor('zoneHints', zone, ready) ?? ready;
}

function hintedFor(
  kind: 'nodeHints' | 'zoneHints',
  name: string | undefined,
  ready: readonly PortEndpoint[],
): readonly PortEndpoint[] | undefined {
  if (name === undefined || ready.some(({ endpoint }) => endpoint[kind] === undefined)) return undefined;
  const hinted = ready.filter(({ endpoint }) => endpoint[kind]?.includes(name));
  return hinted.length > 0 ? hinted : undefined;
}

/** With publishNotReadyAddresses every endpoint is marked ready, even a terminating one. */
function isReady({ endpoint }: PortEndpoint): boolean {
  return endpoint.isReady;
}

function isDraining({ endpoint }: PortEndpoint): boolean {
  return endpoint.isServing && endpoint.isTerminating;
}

function isLocal({ endpoint }: PortEndpoint, { nodeName }: Place): boolean {
  return endpoint.nodeName === nodeName;
}

function toBackends(endpoints: readonly PortEndpoint[]): readonly Backend[] {
  return endpoints.map(({ backend }) => backend);
}
