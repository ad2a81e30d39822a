// Objects, the virtual-IP table and the flow targets of a node, without a kernel and on a clock of the test's own.

import { type Ip, packIp } from '../../src/model/ip.ts';
import type { SourceEvent } from '../../src/model/source-event.ts';
import { Store } from '../../src/model/store.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import type { Flow } from '../../src/netlink/conntrack/flow.ts';
import { FlowTargets } from '../../src/vip/conntrack/flow-targets.ts';
import type { Pending } from '../../src/vip/conntrack/pending.ts';
import { FlowIndex } from '../../src/vip/conntrack/stale-flows.ts';
import { VipTable } from '../../src/vip/vip-table.ts';

export const NODE_IP = '192.168.50.10';

export interface ServiceSpec {
  readonly name: string;
  readonly clusterIps: readonly string[];
  readonly externalIps?: readonly string[];
  readonly loadBalancerIp?: string;
  readonly nodePort?: number;
  /** Older wins a contested address. */
  readonly createdAt?: string;
  readonly protocol?: 'UDP' | 'TCP' | 'SCTP';
  readonly port?: number;
  /** Seconds after which TCP connections to a removed endpoint are reset. */
  readonly resetAfterS?: number;
}

export interface Conditions {
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
}

export class Cluster {
  readonly store = new Store();
  readonly targets = new FlowTargets();
  nowMs = 0;
  readonly #table = new VipTable({
    nodeName: 'node-1',
    detectLocal: { kind: 'NodeCIDR' },
    masqueradeAll: false,
  });

  service(spec: ServiceSpec): SourceEvent {
    const { name, clusterIps, externalIps, nodePort, createdAt, protocol = 'UDP', port = 53 } = spec;
    const { resetAfterS, loadBalancerIp } = spec;
    const annotations = resetAfterS !== undefined && {
      'kproxy-ts.io/removed-endpoint-tcp': `reset-after=${resetAfterS}s`,
    };
    const ports = [{ name: 'dns', protocol, port, nodePort }];
    const type =
      loadBalancerIp !== undefined ? 'LoadBalancer' : nodePort === undefined ? 'ClusterIP' : 'NodePort';
    return upsert({
      kind: 'Service',
      metadata: {
        namespace: 'default',
        name,
        creationTimestamp: createdAt,
        ...(annotations && { annotations }),
      },
      spec: { type, clusterIP: clusterIps[0], clusterIPs: clusterIps, externalIPs: externalIps, ports },
      ...(loadBalancerIp !== undefined && {
        status: { loadBalancer: { ingress: [{ ip: loadBalancerIp }] } },
      }),
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
    this.targets.update(this.#table.refresh(this.store, services), this.store, this.nowMs);
  }

  /** What a pass over these targets looks at. */
  index(due: readonly Pending[]): FlowIndex {
    return new FlowIndex(due, {
      nowMs: this.nowMs,
      nodePortAddresses: [NODE_IP as Ip],
      isClaimed: (key) => this.#table.has(key),
    });
  }

  /** Keys of the targets that a pass would look at. */
  due(except?: ReadonlySet<ServiceKey>): string[] {
    return this.targets.due(this.nowMs, except).map(({ target }) => target.key);
  }

  /** A pass that succeeds: returns which of the flows were stale. */
  pass(...flows: Flow[]): Flow[] {
    const due = this.targets.due(this.nowMs);
    const index = this.index(due);
    this.targets.settle(due, this.nowMs);
    return flows.filter((one) => index.isStale(one));
  }
}

/** A flow of some client to `dialled`, answered by `answered`; both are `address port`. */
export function flow(dialled: string, answered: string, protocol = 17): Flow {
  const [[destination, destinationPort], [source, sourcePort]] = [split(dialled), split(answered)];
  const client = packIp((dialled.includes(':') ? 'fd00::1' : '10.1.0.99') as Ip);
  return {
    family: dialled.includes(':') ? 6 : 4,
    original: { source: client, sourcePort: 40000, destination, destinationPort, protocol },
    reply: { source, sourcePort, destination: client, destinationPort: 40000, protocol },
  };
}

function split(end: string): [packedIp: string, port: number] {
  const at = end.lastIndexOf(' ');
  return [packIp(end.slice(0, at) as Ip), Number(end.slice(at + 1))];
}

function upsert(object: {
  readonly kind: 'Service' | 'EndpointSlice';
  readonly [field: string]: unknown;
}): SourceEvent {
  return { type: 'upsert', kind: object.kind, object, origin: 'test' };
}
