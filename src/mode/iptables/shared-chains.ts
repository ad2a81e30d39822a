// The chains that all Services share, and what each service port puts into them (kube-proxy.md section 4.5, steps 1 to 5).

import { familyOf, type Ip, packIp } from '../../model/ip.ts';
import type { Frontend } from '../../vip/frontend.ts';
import type { DispatchDeclaration } from './dispatch.ts';
import { addressKey, type Entry, portKey } from './entry.ts';
import {
  CLUSTER_IPS,
  EXTERNAL_NODEPORTS,
  EXTERNAL_SERVICES,
  NODEPORTS,
  PROXY_FIREWALL,
  REFUSE,
  SERVICES,
} from './names.ts';
import type { NodePortPlace } from './node-ports.ts';
import { isExternal, leadsAnywhere, type ServicePort } from './service-port.ts';
import { chainOf, policyChain } from './service-port-chains.ts';

/** None before one that it leads to. */
export const SHARED_CHAINS = {
  /** Node ports → service ports. */
  nodePorts: { table: 'nat', name: NODEPORTS, branch: 'KUBE-SVC-NP-', by: 'port' },
  /** Addresses → service ports; node ports last. */
  services: { table: 'nat', name: SERVICES, branch: 'KUBE-SVC-S-', by: 'address' },
  /** What is sent to a cluster IP and is for no port of its Services. */
  clusterIps: { table: 'filter', name: CLUSTER_IPS, branch: 'KUBE-CIPS-', by: 'address' },
  /** Cluster IPs without endpoints. */
  refusals: { table: 'filter', name: SERVICES, branch: 'KUBE-SVCS-', by: 'address' },
  /** Node ports without endpoints, unless flat. */
  nodePortRefusals: { table: 'filter', name: EXTERNAL_NODEPORTS, branch: 'KUBE-XNP-', by: 'port' },
  /** Other addresses without endpoints. */
  externalRefusals: { table: 'filter', name: EXTERNAL_SERVICES, branch: 'KUBE-XSVC-', by: 'address' },
  /** Load-balancer addresses that do not let everybody in. */
  firewall: { table: 'filter', name: PROXY_FIREWALL, branch: 'KUBE-PXFW-', by: 'address' },
  /** Health check ports of the node. */
  healthChecks: { table: 'filter', name: NODEPORTS, branch: 'KUBE-NP-', by: 'port' },
} as const satisfies Record<string, DispatchDeclaration>;

export type SharedChain = keyof typeof SHARED_CHAINS;
export const SHARED_CHAIN_NAMES = Object.keys(SHARED_CHAINS) as readonly SharedChain[];

export interface SharedContext {
  /**
   * What tells node ports without endpoints from others' traffic, rule by rule, as kube-proxy has it; undefined where a
   * chain of their own is only jumped to with theirs.
   */
  readonly refusalPlaces: readonly NodePortPlace[] | undefined;
}

/** An entry and where it belongs. */
export interface Placed {
  readonly chain: SharedChain;
  readonly entry: Entry;
}

/** What the comment of a rule says of the kind of address, behind the name of the service port. */
export const KINDS = {
  ClusterIP: ' cluster IP',
  ExternalIP: ' external IP',
  LoadBalancer: ' loadbalancer IP',
} as const;

/** All entries of a service port but those of `clusterIpEntry`, which Services may have in common. */
export function sharedEntries(port: ServicePort, context: SharedContext): Placed[] {
  return port.frontends
    .flatMap((frontend) =>
      frontend.kind === 'NodePort'
        ? nodePortEntries(port, frontend, context)
        : addressEntries(port, frontend, frontend.kind),
    )
    .concat(healthCheckEntries(port));
}

/** The last word on a cluster IP: a port that no Service has is refused, where kube-proxy lets the packet leave the node. */
export function clusterIpEntry(address: Ip): Entry {
  return {
    key: packIp(address),
    service: undefined,
    displayName: '',
    remark: 'no such port of a cluster IP',
    address,
    place: undefined,
    protocol: undefined,
    port: undefined,
    target: familyOf(address) === 4 ? 'REJECT' : REFUSE,
  };
}

function addressEntries(port: ServicePort, frontend: Frontend, kind: keyof typeof KINDS): Placed[] {
  const address = frontend.address!;
  const isGuarded = frontend.sourceRanges !== undefined;
  const entry = (remark: string, target: string): Entry => ({
    ...commonParts(port, frontend),
    key: addressKey(address, frontend.protocol, frontend.port),
    address,
    place: undefined,
    remark,
    target,
  });
  const placed: Placed[] = [];
  if (leadsAnywhere(frontend)) {
    const target = isExternal(frontend)
      ? chainOf(port, isGuarded ? 'KUBE-FW-' : 'KUBE-EXT-')
      : policyChain(port, frontend);
    placed.push({ chain: 'services', entry: entry(KINDS[kind], target) });
  }
  if (isGuarded) {
    const guard = chainOf(port, 'KUBE-FW-');
    const isTranslated = port.frontends.some((one) => one.sourceRanges !== undefined && leadsAnywhere(one));
    placed.push({
      chain: 'firewall',
      entry: entry(` traffic not accepted by ${guard}`, isTranslated ? 'DROP' : guard),
    });
  }
  if (frontend.backends.length === 0) {
    const chain = kind === 'ClusterIP' ? 'refusals' : 'externalRefusals';
    placed.push({ chain, entry: entry(...emptyEnd(frontend)) });
  }
  return placed;
}

/** Node ports are never subject to source ranges. */
function nodePortEntries(port: ServicePort, frontend: Frontend, { refusalPlaces }: SharedContext): Placed[] {
  const common = {
    ...commonParts(port, frontend),
    key: portKey(frontend.protocol, frontend.port),
    address: undefined,
    place: undefined,
  };
  const placed: Placed[] = [];
  if (leadsAnywhere(frontend)) {
    placed.push({ chain: 'nodePorts', entry: { ...common, remark: '', target: chainOf(port, 'KUBE-EXT-') } });
  }
  if (frontend.backends.length > 0) return placed;
  const [remark, target] = emptyEnd(frontend);
  if (refusalPlaces === undefined) {
    placed.push({ chain: 'nodePortRefusals', entry: { ...common, remark, target } });
    return placed;
  }
  for (const [i, place] of refusalPlaces.entries()) {
    // Behind all addresses.
    const key = `\xff${common.key}${String.fromCharCode(i)}`;
    placed.push({ chain: 'externalRefusals', entry: { ...common, key, place, remark, target } });
  }
  return placed;
}

/** A port that this program listens on, whatever other software on the host thinks of it. One rule per service port. */
function healthCheckEntries(port: ServicePort): Placed[] {
  const frontend = port.frontends.find(({ healthCheckNodePort }) => healthCheckNodePort !== 0);
  if (frontend === undefined) return [];
  const number = frontend.healthCheckNodePort;
  const entry: Entry = {
    ...commonParts(port, frontend),
    key: portKey('TCP', number) + port.hash,
    address: undefined,
    place: undefined,
    protocol: 'TCP',
    port: number,
    remark: ' health check node port',
    target: 'ACCEPT',
  };
  return [{ chain: 'healthChecks', entry }];
}

function commonParts({ service, displayName }: ServicePort, { protocol, port }: Frontend) {
  return { service, displayName, protocol, port };
}

function emptyEnd({ whenEmpty }: Frontend): [remark: string, target: 'REJECT' | 'DROP'] {
  return whenEmpty === 'drop' ? [' has no local endpoints', 'DROP'] : [' has no endpoints', 'REJECT'];
}
