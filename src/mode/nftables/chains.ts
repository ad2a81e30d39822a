// Every chain of the table and its rules: the constant ones, and one per shape. README.md draws the packet path.

import type { IpFamily } from '../../model/ip.ts';
import type { ChainBase } from '../../netlink/nftables/chain.ts';
import type { Expression } from '../../netlink/nftables/expression.ts';
import type { LocalPods, LocalPodsByFamily } from '../../vip/local-pods.ts';
import {
  accept,
  cameThrough,
  clearPriority,
  countBelow,
  daddr,
  daddrIsElsewhere,
  daddrIsNotLoopback,
  daddrIsOfThisHost,
  dnatToMap,
  dport,
  drop,
  type Field,
  hasPort,
  isIcmp,
  isIn,
  isNotInRanges,
  isRelated,
  isTcp,
  l4proto,
  markIsSet,
  masqueradeFullyRandom,
  randomBelow,
  rejectWithIcmp,
  rejectWithReset,
  type Statement,
  saddr,
  saddrInside,
  saddrIsElsewhere,
  saddrIsOfThisHost,
  saddrOutside,
  setMark,
  setPriority,
  setPriorityToHashOfSaddr,
  statusHasDnat,
  toggleMark,
  verdict,
  vmapByPriority,
} from './expressions.ts';
import { BOUND_CHAIN, DROP_CHAIN, REFUSE_CHAIN } from './names.ts';
import { endpointSet, serviceSet, shapeSet } from './planned-frontend.ts';
import { type Balancing, type Shape, shapeChain } from './shape.ts';
import { type Subroutine, subroutineChain, subroutineRules, subroutinesOf } from './subroutines.ts';

/** What of the configuration the rules contain. */
export interface RuleSettings {
  readonly table: string;
  /** 0 to 31: the bit of the packet mark that asks for masquerading. */
  readonly masqueradeBit: number;
  /** How pods of this node are told from other clients. */
  readonly localPods: LocalPodsByFamily;
  /**
   * The table is a gate, which balances nothing: whom it lets in it leaves as he is, for whoever balances at the address that he
   * dialled. Virtual addresses are this host's then.
   */
  readonly isGate?: boolean;
  /**
   * The table leads to proxies of this host. What they send themselves has the bit of `masqueradeBit` in its mark; it is never sent
   * to a proxy again.
   */
  readonly isPortals?: boolean;
}

export interface Chain {
  readonly name: string;
  /** undefined for a chain that is only jumped to. */
  readonly base: ChainBase | undefined;
  readonly rules: readonly (readonly Expression[])[];
}

/** Sets of addresses that only virtual servers may answer at. */
const BOUND_SETS = ['cluster-ips', 'bound-ips'] as const;

/** linux/netfilter_ipv4.h, NF_IP_PRI_NAT_DST, NF_IP_PRI_NAT_SRC and NF_IP_PRI_FILTER: where kube-proxy's chains are too. */
const PRIORITY = { dstnat: -100, srcnat: 100, afterDstnat: -90, filter: 0 } as const;

/** Chains that exist whatever the Services, in an order in which none refers to a later one. */
export function constantChains(family: IpFamily, settings: RuleSettings): readonly Chain[] {
  const mark = 2 ** settings.masqueradeBit;
  /** A cluster IP that nobody has; but addresses of this node are its own. */
  const dropUnallocated = [
    isIn([daddr(family)], 'service-cidrs'),
    daddrIsElsewhere,
    verdict('goto', DROP_CHAIN),
  ];
  const { isGate = false, isPortals = false } = settings;
  return [
    plain(REFUSE_CHAIN, [[isTcp, rejectWithReset], [rejectWithIcmp(family)]]),
    plain(DROP_CHAIN, [[drop]]),
    ...(isGate
      ? [
          plain(BOUND_CHAIN, [
            [isIcmp(family), accept],
            // The reset for this node's own connection, which has the virtual address at both ends.
            [isRelated, accept],
            [verdict('goto', REFUSE_CHAIN)],
          ]),
        ]
      : []),
    plain('services', [
      [vmapByPriority([daddr(family), l4proto, dport], 'services', 'shapes')],
      // Any other packet to a cluster IP: an unused port, a ping.
      ...(isGate
        ? BOUND_SETS.map((set) => [isIn([daddr(family)], set), verdict('goto', BOUND_CHAIN)])
        : [[isIn([daddr(family)], 'cluster-ips'), verdict('goto', REFUSE_CHAIN)]]),
      [
        isIn([daddr(family)], 'nodeport-addresses'),
        daddrIsNotLoopback(family),
        daddrIsOfThisHost,
        vmapByPriority([l4proto, dport], 'nodeports', 'shapes'),
      ],
    ]),
    nat('nat-prerouting', 'prerouting', PRIORITY.dstnat, [[verdict('jump', 'services')]]),
    nat('nat-output', 'output', PRIORITY.dstnat, [
      // What is of a proxy goes where the proxy sends it, be that a virtual address or a node port.
      ...(isPortals ? [[markIsSet(mark), toggleMark(mark), accept]] : []),
      [verdict('jump', 'services')],
    ]),
    // Behind every chain that might send the packet elsewhere: who has such an address may be somebody else's to say.
    nat('nat-prerouting-late', 'prerouting', PRIORITY.afterDstnat, [dropUnallocated]),
    nat('nat-output-late', 'output', PRIORITY.afterDstnat, [dropUnallocated]),
    nat('nat-postrouting', 'postrouting', PRIORITY.srcnat, [
      // What carried a pick here is not for queueing disciplines: on its way out of this host nothing else clears it.
      [statusHasDnat, clearPriority],
      [markIsSet(mark), toggleMark(mark), masqueradeFullyRandom],
      // A backend that was balanced to itself must see an answer from elsewhere, or it answers past the NAT.
      [
        isGate ? saddrIsElsewhere : statusHasDnat,
        isIn([saddr(family), daddr(family)], 'hairpin'),
        masqueradeFullyRandom,
      ],
      // This host dials its own addresses from these addresses, and nobody else would find the way back there.
      ...(isGate ? BOUND_SETS.map((set) => [isIn([saddr(family)], set), masqueradeFullyRandom]) : []),
    ]),
    ...(isPortals
      ? [
          // Who dials a proxy itself would get past source ranges and Local policies.
          base('filter-input', { type: 'filter', hook: 'input', priority: PRIORITY.filter }, [
            [statusHasDnat, accept],
            [isIn([daddr(family), l4proto, dport], 'portals'), verdict('goto', REFUSE_CHAIN)],
          ]),
        ]
      : []),
  ];
}

/**
 * The chain of a shape: keeps out who may not come, sends this node and its pods on where they get more than others, asks
 * for masquerading where the shape says so, then picks a slot.
 */
export function shapeChainOf(family: IpFamily, shape: Shape, settings: RuleSettings): Chain {
  return plain(shapeChain(shape), [
    ...(shape.isRestricted
      ? [
          [
            isNotInRanges([daddr(family), l4proto, dport, saddr(family)], 'source-ranges'),
            verdict('goto', DROP_CHAIN),
          ],
        ]
      : []),
    [clearPriority],
    ...(shape.hasInside ? insideRules(family, shape, settings) : []),
    ...markingRules(family, shape, settings),
    ...pickRules(family, shape, settings),
  ]);
}

function pickRules(family: IpFamily, shape: Shape, { isGate = false }: RuleSettings): Statement[][] {
  const { slotCount, balancing, side } = shape;
  if (isGate && side === 'all' && slotCount > 0) return [];
  if (balancing !== undefined) return balancingRules(family, shape, balancing);
  if (slotCount === 0) return [[shape.whenEmpty === 'drop' ? drop : verdict('goto', REFUSE_CHAIN)]];
  const slot = [...keyFields(family, shape), randomBelow(slotCount)];
  return [[hasPort, dnatToMap(family, slot, endpointSet(shape))]];
}

/** The chain of a subroutine. */
export function subroutineChainOf(family: IpFamily, subroutine: Subroutine): Chain {
  return plain(subroutineChain(subroutine), subroutineRules(family, subroutine));
}

/**
 * A pick comes back when a commit took its backend away after the slot was read: what is picked then, was written by
 * that commit.
 */
function balancingRules(family: IpFamily, shape: Shape, { scheduler }: Balancing): Statement[][] {
  const jumps = subroutinesOf(shape).map((subroutine) => [verdict('jump', subroutineChain(subroutine))]);
  const stick = jumps.slice(0, -1);
  const choose = jumps.at(-1)!;
  const picks: Readonly<Record<Balancing['scheduler'], Statement>> = {
    random: setPriority(randomBelow(shape.slotCount)),
    rr: setPriority(countBelow(shape.slotCount)),
    sh: setPriorityToHashOfSaddr(family, shape.slotCount),
    mh: setPriorityToHashOfSaddr(family, shape.slotCount),
  };
  const pick = [picks[scheduler]];
  return [...stick, pick, choose, pick, choose, [verdict('goto', REFUSE_CHAIN)]];
}

/** What a packet is looked up by in the maps of frontends. */
function keyFields(family: IpFamily, { keyedBy }: Shape): Field[] {
  return keyedBy === 'vip' ? [daddr(family), l4proto, dport] : [l4proto, dport];
}

/**
 * kube-proxy's short-circuit: what comes from here need not obey externalTrafficPolicy Local. Pods of this node keep their
 * address; the node's own is replaced, or the answer of a pod elsewhere might not come back through the NAT.
 */
function insideRules(family: IpFamily, shape: Shape, settings: RuleSettings): Statement[][] {
  const toInside = vmapByPriority(
    keyFields(family, shape),
    serviceSet({ ...shape, side: 'inside' }),
    shapeSet({ side: 'inside' }),
  );
  const pods = settings.localPods.get(family);
  return [
    ...(pods === undefined ? [] : [[isFrom(pods), toInside]]),
    [saddrIsOfThisHost, setMark(2 ** settings.masqueradeBit), toInside],
  ];
}

function markingRules(family: IpFamily, { masquerade }: Shape, settings: RuleSettings): Statement[][] {
  const mark = setMark(2 ** settings.masqueradeBit);
  if (masquerade === 'always') return [[mark]];
  const pods = settings.localPods.get(family);
  return masquerade === 'never' || pods === undefined ? [] : [[isNotFrom(pods), mark]];
}

function isFrom(pods: LocalPods): Statement {
  return pods.kind === 'source' ? saddrInside(pods.cidr) : cameThrough('eq', pods);
}

function isNotFrom(pods: LocalPods): Statement {
  return pods.kind === 'source' ? saddrOutside(pods.cidr) : cameThrough('neq', pods);
}

function plain(name: string, statements: readonly (readonly Statement[])[]): Chain {
  return { name, base: undefined, rules: rules(statements) };
}

function nat(
  name: string,
  hook: ChainBase['hook'],
  priority: number,
  statements: readonly (readonly Statement[])[],
): Chain {
  return base(name, { type: 'nat', hook, priority }, statements);
}

function base(name: string, base: ChainBase, statements: readonly (readonly Statement[])[]): Chain {
  return { name, base, rules: rules(statements) };
}

function rules(statements: readonly (readonly Statement[])[]): Chain['rules'] {
  return statements.map((rule) => rule.flat());
}
