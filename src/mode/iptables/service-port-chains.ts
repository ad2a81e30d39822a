// The chains of one service port: KUBE-SEP-, KUBE-SVC-, KUBE-SVL-, KUBE-EXT- and KUBE-FW-, rule by rule as kube-proxy 1.36
// writes them (kube-proxy.md section 4.5, steps 6 to 10).

import type { Cidr } from '../../model/ip.ts';
import { formatCidr } from '../../model/ip.ts';
import { probabilityOfOneIn } from '../../netlink/iptables/probability.ts';
import type { IptablesRule, Match } from '../../netlink/iptables/rule.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';
import type { LocalPods } from '../../vip/local-pods.ts';
import { endpointChain, endpointText, MARK_MASQ, type ServicePortPrefix } from './names.ts';
import type { PlannedChain } from './planned-chain.ts';
import {
  ANY_PORT,
  comment,
  FROM_THIS_HOST,
  from,
  fromOthers,
  fromPods,
  host,
  jump,
  ofProtocol,
  toPort,
} from './rule-parts.ts';
import {
  clusterBackends,
  isExternal,
  leadsAnywhere,
  localBackends,
  reachableBackends,
  type ServicePort,
} from './service-port.ts';

/** What the chains of every service port of a family depend on. */
export interface ChainContext {
  /** How pods of this node are told from other clients; undefined when they cannot be. */
  readonly localPods: LocalPods | undefined;
  /** False in kube-proxy's large-cluster mode: rules that exist once per endpoint have no comment. */
  readonly hasEndpointComments: boolean;
}

/** The chains of a service port, none before one that it leads to. */
export function servicePortChains(port: ServicePort, context: ChainContext): PlannedChain[] {
  const { service } = port;
  const chain = (
    name: string,
    rules: PlannedChain['rules'],
    table: 'nat' | 'filter' = 'nat',
  ): PlannedChain => ({
    table,
    name,
    ownership: 'own',
    service,
    rules,
  });
  const chains = reachableBackends(port).map((backend) => {
    const name = endpointChain(port.displayName, port.protocol, backend);
    return chain(name, () => endpointRules(port, backend, name, context));
  });
  const [cluster, local] = [clusterBackends(port), localBackends(port)];
  if (cluster.length > 0) {
    chains.push(chain(chainOf(port, 'KUBE-SVC-'), () => policyRules(port, 'Cluster', cluster, context)));
  }
  if (local.length > 0) {
    chains.push(chain(chainOf(port, 'KUBE-SVL-'), () => policyRules(port, 'Local', local, context)));
  }
  const external = port.frontends.filter(isExternal);
  if (external.some(leadsAnywhere)) {
    const one = external.find(({ kind }) => kind !== 'ClusterIP') ?? external[0]!;
    chains.push(chain(chainOf(port, 'KUBE-EXT-'), () => externalRules(port, one, context)));
  }
  const guarded = port.frontends.filter(({ sourceRanges }) => sourceRanges !== undefined);
  if (guarded.length === 0) return chains;
  const name = chainOf(port, 'KUBE-FW-');
  const ranges = union(guarded);
  chains.push(
    guarded.some(leadsAnywhere)
      ? chain(name, () => firewallRules(port, ranges))
      : chain(name, () => refusingFirewallRules(port, ranges), 'filter'),
  );
  return chains;
}

export function chainOf(port: ServicePort, prefix: Exclude<ServicePortPrefix, 'KUBE-SEP-'>): string {
  return prefix + port.hash;
}

/** Where a Frontend's own endpoints are balanced over. */
export function policyChain(port: ServicePort, { trafficPolicy }: Frontend): string {
  return chainOf(port, trafficPolicy === 'Local' ? 'KUBE-SVL-' : 'KUBE-SVC-');
}

/** Step 10. An endpoint that dials itself must see another sender, or it would answer past the NAT. */
function endpointRules(
  port: ServicePort,
  backend: Backend,
  name: string,
  context: ChainContext,
): IptablesRule[] {
  const comments = context.hasEndpointComments ? [comment(port.displayName)] : [];
  const learn: Match[] =
    affinitySeconds(port) === undefined
      ? []
      : [{ kind: 'recent', operation: 'set', name, seconds: 0, isReaping: false, side: 'source' }];
  return [
    { source: host(backend.ip), matches: comments, target: jump(MARK_MASQ) },
    {
      ...ofProtocol(port.protocol),
      matches: [...comments, ...learn, ANY_PORT],
      target: { kind: 'DNAT', address: backend.ip, port: backend.port },
    },
  ];
}

/** Steps 6 and 9: who is masqueraded at the cluster IP, who comes back, and a pick for all others. */
function policyRules(
  port: ServicePort,
  policy: Frontend['trafficPolicy'],
  backends: readonly Backend[],
  context: ChainContext,
): IptablesRule[] {
  const rules = port.frontends
    .filter(({ kind, trafficPolicy }) => kind === 'ClusterIP' && trafficPolicy === policy)
    .flatMap((one) => masqueradeRules(one, context));
  const names = backends.map((backend) => endpointChain(port.displayName, port.protocol, backend));
  const comments = backends.map((backend) =>
    context.hasEndpointComments ? [comment(`${port.displayName} -> ${endpointText(backend)}`)] : [],
  );
  const seconds = affinitySeconds(port);
  if (seconds !== undefined) {
    for (const [i, name] of names.entries()) {
      const isKnown: Match = {
        kind: 'recent',
        operation: 'rcheck',
        name,
        seconds,
        isReaping: true,
        side: 'source',
      };
      rules.push({ matches: [...comments[i]!, isKnown], target: jump(name) });
    }
  }
  const shares = chances(backends);
  for (const [i, name] of names.entries()) {
    const probability = shares[i];
    const luck: Match[] =
      probability === undefined ? [] : [{ kind: 'statistic', probability, isInverted: false }];
    rules.push({ matches: [...comments[i]!, ...luck], target: jump(name) });
  }
  return rules;
}

function masqueradeRules(frontend: Frontend, { localPods }: ChainContext): IptablesRule[] {
  const { address, masquerade, protocol, port, displayName } = frontend;
  if (masquerade === 'never' || address === undefined) return [];
  if (masquerade === 'off-cluster' && localPods === undefined) return [];
  return [
    {
      destination: host(address),
      ...(masquerade === 'off-cluster' && fromOthers(localPods!)),
      ...ofProtocol(protocol),
      matches: [comment(`${displayName} cluster IP`), toPort(port)],
      target: jump(MARK_MASQ),
    },
  ];
}

/**
 * The chance of each backend once those before it were passed over, so that each gets its weight's share of all: with
 * equal weights 1/n, 1/(n-1), …. Of 2^31; undefined for the last one, which gets all that is left.
 */
export function chances(backends: readonly Pick<Backend, 'weight'>[]): (number | undefined)[] {
  let left = backends.reduce((sum, { weight }) => sum + weight, 0);
  return backends.map(({ weight }, i) => {
    const oneIn = left / weight;
    left -= weight;
    return i === backends.length - 1 ? undefined : probabilityOfOneIn(oneIn);
  });
}

/** Step 7. Under policy Local this node and its pods short-circuit to the endpoints of the whole cluster. */
function externalRules(port: ServicePort, frontend: Frontend, { localPods }: ChainContext): IptablesRule[] {
  const { displayName } = port;
  const rules: IptablesRule[] = [];
  const toCluster = jump(chainOf(port, 'KUBE-SVC-'));
  if (frontend.masquerade === 'always') {
    rules.push({
      matches: [comment(`masquerade traffic for ${displayName} external destinations`)],
      target: jump(MARK_MASQ),
    });
  }
  if ((frontend.insideBackends?.length ?? 0) > 0) {
    if (localPods !== undefined) {
      rules.push({
        ...fromPods(localPods),
        matches: [comment(`pod traffic for ${displayName} external destinations`)],
        target: toCluster,
      });
    }
    rules.push(
      {
        matches: [
          comment(`masquerade LOCAL traffic for ${displayName} external destinations`),
          FROM_THIS_HOST,
        ],
        target: jump(MARK_MASQ),
      },
      {
        matches: [comment(`route LOCAL traffic for ${displayName} external destinations`), FROM_THIS_HOST],
        target: toCluster,
      },
    );
  }
  if (frontend.backends.length > 0) rules.push({ matches: [], target: jump(policyChain(port, frontend)) });
  return rules;
}

/** Step 8. What falls off the end keeps its virtual address, and KUBE-PROXY-FIREWALL drops it. */
function firewallRules(port: ServicePort, ranges: readonly Cidr[]): IptablesRule[] {
  return [
    ...ranges.map((range) => ({
      ...from(range),
      matches: [comment(`${port.displayName} loadbalancer IP`)],
      target: jump(chainOf(port, 'KUBE-EXT-')),
    })),
    { matches: [comment(`other traffic to ${port.displayName} will be dropped by KUBE-PROXY-FIREWALL`)] },
  ];
}

/**
 * In the filter table, for a service port without endpoints, which kube-proxy leaves open: who is let in goes on to be
 * refused, all others get no answer.
 */
function refusingFirewallRules(port: ServicePort, ranges: readonly Cidr[]): IptablesRule[] {
  const { displayName } = port;
  return [
    ...ranges.map((range) => ({
      ...from(range),
      matches: [comment(`${displayName} loadbalancer IP`)],
      target: { kind: 'RETURN' } as const,
    })),
    { matches: [comment(`other traffic to ${displayName} is dropped`)], target: { kind: 'DROP' } },
  ];
}

/** One chain serves all load-balancer addresses of the port: whoever may enter by one may enter by all, as in kube-proxy. */
function union(guarded: readonly Frontend[]): Cidr[] {
  const ranges = new Map<string, Cidr>();
  for (const { sourceRanges = [] } of guarded) {
    for (const range of sourceRanges) ranges.set(formatCidr(range), range);
  }
  return [...ranges.values()];
}

function affinitySeconds({ frontends }: ServicePort): number | undefined {
  return frontends[0]!.affinityTimeoutSeconds;
}
