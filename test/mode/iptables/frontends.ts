// Frontends as iptables mode gets them, from model Services.

import type { IptablesFrontend } from '../../../src/mode/iptables/service-port.ts';
import type { Service } from '../../../src/model/types.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';

export function iptablesFrontends(frontends: readonly Frontend[], service: Service): IptablesFrontend[] {
  return frontends.map((frontend) => ({
    ...frontend,
    trafficPolicy: (frontend.kind === 'ClusterIP' ? service.isInternalLocal : service.isExternalLocal)
      ? 'Local'
      : 'Cluster',
    healthCheckNodePort: service.healthCheckNodePort,
  }));
}
