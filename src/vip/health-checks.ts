// What healthCheckNodePort answers: how many endpoints of a Service are on this node (KEP-614, pkg/proxy/healthcheck).

import type { IpFamily } from '../model/ip.ts';
import type { EndpointSlice, Service, ServiceKey } from '../model/types.ts';
import { weightOf } from './weights.ts';

/** One server's worth: a Service, a port and a family. */
export interface HealthCheck {
  readonly service: ServiceKey;
  readonly family: IpFamily;
  /** 1 to 65535. */
  readonly port: number;
  /**
   * Distinct addresses of ready endpoints on this node, over all ports. Terminating ones do not count, nor those that
   * weigh nothing: what the load balancer sent here would find no endpoint.
   */
  readonly localEndpoints: number;
}

/** The health checks of one Service, one per family; none without a healthCheckNodePort. */
export function buildHealthChecks(
  service: Service,
  slices: readonly EndpointSlice[],
  nodeName: string,
): HealthCheck[] {
  if (!service.isProxied || service.healthCheckNodePort === 0) return [];
  return service.ipFamilies.map((family) => {
    const local = new Set(
      slices
        .filter((slice) => slice.family === family)
        .flatMap(({ endpoints }) => endpoints)
        .filter((endpoint) => endpoint.isReady && endpoint.nodeName === nodeName)
        .filter((endpoint) => weightOf(endpoint, service.policy.weights) > 0)
        .map(({ ip }) => ip),
    );
    return {
      service: service.key,
      family,
      port: service.healthCheckNodePort,
      localEndpoints: local.size,
    };
  });
}
