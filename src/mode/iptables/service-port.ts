// Frontends → service ports, the unit that kube-proxy makes chains for: one port of a Service in one family, whatever
// the number of addresses it is reached at.

import type { IpFamily } from '../../model/ip.ts';
import type { Protocol, ServiceKey } from '../../model/types.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';
import { servicePortHash } from './names.ts';

export interface ServicePort {
  readonly service: ServiceKey;
  readonly family: IpFamily;
  readonly displayName: string;
  readonly protocol: Protocol;
  /** What the names of its chains end in: unique on a node, per family. */
  readonly hash: string;
  /** At least one, in the order given. */
  readonly frontends: readonly Frontend[];
}

/** The service ports of one Service in `family`, in the order of their first Frontends. */
export function buildServicePorts(frontends: readonly Frontend[], family: IpFamily): ServicePort[] {
  const groups = new Map<string, Frontend[]>();
  for (const frontend of frontends) {
    if (frontend.family !== family) continue;
    const key = `${frontend.protocol}${frontend.displayName}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [frontend]);
    else group.push(frontend);
  }
  return [...groups.values()].map((group) => {
    const { service, displayName, protocol } = group[0]!;
    const hash = servicePortHash(displayName, protocol);
    return { service, family, displayName, protocol, hash, frontends: group };
  });
}

/** Endpoints of the cluster, where a Frontend leads to them: the same list in all that do. */
export function clusterBackends({ frontends }: ServicePort): readonly Backend[] {
  for (const { trafficPolicy, backends, insideBackends = [] } of frontends) {
    const some = trafficPolicy === 'Cluster' ? backends : insideBackends;
    if (some.length > 0) return some;
  }
  return [];
}

/** Endpoints of this node, where a Frontend leads to them by policy Local. */
export function localBackends({ frontends }: ServicePort): readonly Backend[] {
  const one = frontends.find(
    ({ trafficPolicy, backends }) => trafficPolicy === 'Local' && backends.length > 0,
  );
  return one?.backends ?? [];
}

/** Both without duplicates, those of the cluster first. */
export function reachableBackends(port: ServicePort): readonly Backend[] {
  const [cluster, local] = [clusterBackends(port), localBackends(port)];
  if (cluster.length === 0 || local.length === 0) return cluster.length === 0 ? local : cluster;
  const known = new Set(cluster.map(backendKey));
  const others = local.filter((backend) => !known.has(backendKey(backend)));
  return others.length === 0 ? cluster : [...cluster, ...others];
}

function backendKey({ ip, port }: Backend): string {
  return `${ip} ${port}`;
}

/** Whether anybody who dials the Frontend gets to a backend. */
export function leadsAnywhere({ backends, insideBackends }: Frontend): boolean {
  return backends.length > 0 || (insideBackends?.length ?? 0) > 0;
}

/** Whether it is dialled by way of KUBE-EXT-: also a cluster IP that is a load-balancer address, and guarded like one. */
export function isExternal({ kind, sourceRanges }: Frontend): boolean {
  return kind !== 'ClusterIP' || sourceRanges !== undefined;
}
