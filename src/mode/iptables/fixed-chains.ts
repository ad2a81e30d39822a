// What does not depend on Services: jumps from the chains of the hooks, masquerading, forwarding (kube-proxy.md sections
// 4.2 to 4.4), and what frames the entries of the shared chains.

import type { Cidr, IpFamily } from '../../model/ip.ts';
import type { IptablesRule, MaskedMark } from '../../netlink/iptables/rule.ts';
import type { IptablesTable } from '../../netlink/iptables/tables.ts';
import type { Frame } from './dispatch.ts';
import {
  CANARY,
  CLUSTER_IPS,
  EXTERNAL_NODEPORTS,
  EXTERNAL_SERVICES,
  FIREWALL,
  FORWARD,
  MARK_MASQ,
  NODEPORTS,
  POSTROUTING,
  PROXY_FIREWALL,
  REFUSE,
  SERVICES,
  SIGNATURE,
} from './names.ts';
import type { NodePortPlaces } from './node-ports.ts';
import type { Ownership, PlannedChain } from './planned-chain.ts';
import {
  comment,
  jump,
  NOT_TO_THIS_HOST,
  ofProtocol,
  reject,
  state,
  TO_THIS_HOST,
  to,
} from './rule-parts.ts';
import type { SharedChain } from './shared-chains.ts';

/** What of the configuration rules contain, for as long as the daemon runs. */
export interface RuleSettings {
  /** 0 to 31: the bit of the packet mark that asks for masquerading. */
  readonly masqueradeBit: number;
  /** `--iptables-localhost-nodeports` */
  readonly servesLocalhostNodePorts: boolean;
  /** Whether forwarded packets in conntrack state INVALID are dropped: unless nf_conntrack_tcp_be_liberal is set. */
  readonly dropsInvalid: boolean;
  /** `--iptables-dispatch` */
  readonly dispatch: 'tree' | 'flat';
}

/** Chains before any that all Services share. */
export function firstChains(family: IpFamily, { masqueradeBit, dropsInvalid }: RuleSettings): PlannedChain[] {
  const bit = 2 ** masqueradeBit;
  const isMarked: MaskedMark = { value: bit, mask: bit };
  return [
    own('nat', MARK_MASQ, [{ matches: [], target: { kind: 'MARK', ...isMarked } }]),
    own('nat', POSTROUTING, [
      { matches: [{ kind: 'mark', isInverted: true, ...isMarked }], target: { kind: 'RETURN' } },
      // Or a packet that passes the stack again, in a tunnel, would be masqueraded again.
      { matches: [], target: { kind: 'MARK', value: bit, mask: 0 } },
      {
        matches: [comment('kubernetes service traffic requiring SNAT')],
        target: { kind: 'MASQUERADE', isFullyRandom: true },
      },
    ]),
    ...(family === 4
      ? []
      : [
          own('filter', REFUSE, [
            { ...ofProtocol('TCP'), matches: [], target: reject(family, 'TCP') },
            { matches: [], target: reject(family, undefined) },
          ]),
        ]),
    own('filter', FORWARD, [
      ...(dropsInvalid
        ? [{ matches: [state('INVALID')], target: { kind: 'DROP' } } satisfies IptablesRule]
        : []),
      {
        matches: [comment('kubernetes forwarding rules'), { kind: 'mark', isInverted: false, ...isMarked }],
        target: { kind: 'ACCEPT' },
      },
      {
        matches: [comment('kubernetes forwarding conntrack rule'), state('RELATED', 'ESTABLISHED')],
        target: { kind: 'ACCEPT' },
      },
    ]),
    ...(['mangle', 'nat', 'filter'] as const).map((table) => own(table, CANARY, [])),
    own('nat', SIGNATURE, []),
  ];
}

/** Our rules in chains that others have rules in, too; from the top. */
export function jumpChains(isLocalnetBlocked: boolean): PlannedChain[] {
  const firewall = isLocalnetBlocked ? [{ matches: [], target: jump(FIREWALL) }] : [];
  return [
    ...(isLocalnetBlocked ? [planned('filter', FIREWALL, 'shared', [BLOCK_LOCALNET])] : []),
    base('filter', 'INPUT', [
      ...firewall,
      TO_PROXY_FIREWALL,
      always(NODEPORTS, 'kubernetes health check service ports'),
      TO_EXTERNAL_SERVICES,
    ]),
    base('filter', 'FORWARD', [
      TO_PROXY_FIREWALL,
      always(FORWARD, 'kubernetes forwarding rules'),
      TO_SERVICES,
      TO_EXTERNAL_SERVICES,
      TO_CLUSTER_IPS,
    ]),
    base('filter', 'OUTPUT', [
      ...firewall,
      TO_PROXY_FIREWALL,
      TO_SERVICES,
      // kube-proxy leaves this one out: what the node itself sends to an external address without endpoints is lost.
      TO_EXTERNAL_SERVICES,
      TO_CLUSTER_IPS,
    ]),
    base('nat', 'PREROUTING', [always(SERVICES, 'kubernetes service portals')]),
    base('nat', 'OUTPUT', [always(SERVICES, 'kubernetes service portals')]),
    base('nat', 'POSTROUTING', [always(POSTROUTING, 'kubernetes postrouting rules')]),
  ];
}

/**
 * With route_localnet set, for node ports on 127.0.0.1, neighbours could send there (CVE-2020-8558). kubelet blocks it with
 * the same rule.
 */
export function blocksLocalnet(family: IpFamily, { servesLocalhostNodePorts }: RuleSettings): boolean {
  return family === 4 && servesLocalhostNodePorts;
}

export interface FrameContext {
  readonly nodePorts: NodePortPlaces;
  /** Of the family. */
  readonly serviceCidrs: readonly Cidr[];
  readonly form: 'tree' | 'flat';
}

/** What comes before and after the entries of a shared chain. */
export function frameOf(chain: SharedChain, { nodePorts, serviceCidrs, form }: FrameContext): Frame {
  const spared = nodePorts.exceptLoopback;
  const sparing: IptablesRule[] =
    spared === undefined ? [] : [{ ...to(spared), matches: [], target: { kind: 'RETURN' } }];
  switch (chain) {
    case 'services':
      return { first: [], last: toNodePorts(nodePorts, NODEPORTS, LAST_RULE) };
    case 'nodePorts':
    case 'nodePortRefusals':
      return { first: sparing, last: [] };
    case 'externalRefusals':
      return form === 'flat'
        ? { first: sparing, last: [] }
        : { first: [], last: toNodePorts(nodePorts, EXTERNAL_NODEPORTS, 'kubernetes service nodeports') };
    case 'clusterIps':
      return {
        first: [],
        last: serviceCidrs.map((cidr) => ({
          ...to(cidr),
          matches: [comment('no such cluster IP'), NOT_TO_THIS_HOST],
          target: { kind: 'DROP' },
        })),
      };
    default:
      return { first: [], last: [] };
  }
}

const LAST_RULE = 'kubernetes service nodeports; NOTE: this must be the last rule in this chain';

function toNodePorts({ places }: NodePortPlaces, chain: string, text: string): IptablesRule[] {
  return places.map(({ destination }) => ({
    ...(destination !== undefined && { destination }),
    matches: [comment(text), TO_THIS_HOST],
    target: jump(chain),
  }));
}

const TO_PROXY_FIREWALL = whenNew(PROXY_FIREWALL, 'kubernetes load balancer firewall');
const TO_SERVICES = whenNew(SERVICES, 'kubernetes service portals');
const TO_EXTERNAL_SERVICES = whenNew(EXTERNAL_SERVICES, 'kubernetes externally-visible service portals');
/** Last: an external address may lie among those of cluster IPs. */
const TO_CLUSTER_IPS = whenNew(CLUSTER_IPS, 'kubernetes cluster IPs');

const LOCALNET: Cidr = { ip: '127.0.0.0' as Cidr['ip'], prefix: 8, family: 4 };
const BLOCK_LOCALNET: IptablesRule = {
  source: { cidr: LOCALNET, isInverted: true },
  ...to(LOCALNET),
  matches: [
    comment('block incoming localnet connections'),
    { kind: 'conntrack', states: ['RELATED', 'ESTABLISHED', 'DNAT'], isInverted: true },
  ],
  target: { kind: 'DROP' },
};

/**
 * Whether a rule in a chain of a hook is a jump of kube-proxy's, of whichever version: it says so, and leads to one of the
 * chains that it makes.
 */
export function isOwnJump({ matches, target }: IptablesRule, isOwn: (chain: string) => boolean): boolean {
  return (
    target?.kind === 'jump' &&
    isOwn(target.chain) &&
    matches.some((match) => match.kind === 'comment' && match.text.startsWith('kubernetes '))
  );
}

function whenNew(chain: string, text: string): IptablesRule {
  return { matches: [state('NEW'), comment(text)], target: jump(chain) };
}

function always(chain: string, text: string): IptablesRule {
  return { matches: [comment(text)], target: jump(chain) };
}

function own(table: IptablesTable, name: string, rules: readonly IptablesRule[]): PlannedChain {
  return planned(table, name, 'own', rules);
}

function base(table: IptablesTable, name: string, rules: readonly IptablesRule[]): PlannedChain {
  return planned(table, name, 'base', rules);
}

function planned(
  table: IptablesTable,
  name: string,
  ownership: Ownership,
  rules: readonly IptablesRule[],
): PlannedChain {
  return { table, name, ownership, service: undefined, rules: () => rules };
}

export function ofFamily(cidrs: readonly Cidr[], family: IpFamily): Cidr[] {
  return cidrs.filter((cidr) => cidr.family === family);
}
