// Objects, the virtual-IP table and the flow targets of a node, without a kernel.

import type { SourceEvent } from '../../src/model/source-event.ts';
import { Store } from '../../src/model/store.ts';
import { FlowTargets } from '../../src/vip/conntrack/flow-targets.ts';
import { VipTable } from '../../src/vip/vip-table.ts';

export const NODE_IP = '192.168.50.10';

export interface UdpService {
  readonly name: string;
  readonly clusterIps: readonly string[];
  readonly externalIps?: readonly string[];
  readonly nodePort?: number;
  /** Older wins a contested address. */
  readonly createdAt?: string;
  readonly protocol?: 'UDP' | 'TCP' | 'SCTP';
  readonly port?: number;
}

export interface Conditions {
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
}

export class Cluster {
  readonly store = new Store();
  readonly targets = new FlowTargets();
  readonly #table = new VipTable({
    nodeName: 'node-1',
    detectLocal: { kind: 'NodeCIDR' },
    masqueradeAll: false,
  });

  service(spec: UdpService): SourceEvent {
    const { name, clusterIps, externalIps, nodePort, createdAt, protocol = 'UDP', port = 53 } = spec;
    const ports = [{ name: 'dns', protocol, port, nodePort }];
    const type = nodePort === undefined ? 'ClusterIP' : 'NodePort';
    return upsert({
      kind: 'Service',
      metadata: { namespace: 'default', name, creationTimestamp: createdAt },
      spec: { type, clusterIP: clusterIps[0], clusterIPs: clusterIps, externalIPs: externalIps, ports },
    });
  }

  /** Endpoints by address, each with what conditions it has; a bare address is ready and serving. */
  slice(
    service: string,
    endpoints: readonly (string | [ip: string, conditions: Conditions])[],
    { name = service, port = 5353, protocol = 'UDP' } = {},
  ): SourceEvent {
    const all = endpoints.map((one) => (typeof one === 'string' ? ([one, {}] as const) : one));
    return upsert({
      kind: 'EndpointSlice',
      metadata: { namespace: 'default', name, labels: { 'kubernetes.io/service-name': service } },
      addressType: all.some(([ip]) => ip.includes(':')) ? 'IPv6' : 'IPv4',
      ports: [{ name: 'dns', protocol, port }],
      endpoints: all.map(([ip, conditions]) => ({ addresses: [ip], conditions })),
    });
  }

  remove(kind: 'Service' | 'EndpointSlice', name: string): SourceEvent {
    return { type: 'delete', kind, namespace: 'default', name };
  }

  /** Takes events as one sync does. */
  apply(...events: SourceEvent[]): void {
    const { services } = this.store.apply(events);
    this.targets.update(this.#table.refresh(this.store, services), this.store);
  }
}

function upsert(object: {
  readonly kind: 'Service' | 'EndpointSlice';
  readonly [field: string]: unknown;
}): SourceEvent {
  return { type: 'upsert', kind: object.kind, object, origin: 'test' };
}
