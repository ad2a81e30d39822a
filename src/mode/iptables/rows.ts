// The chains as the kernel holds them → the lines a human reads. Needs nothing but the kernel, and kube-proxy's chains will
// do as well as ours: comments tell whose a rule is.

import type { Protocol } from '../../model/types.ts';
import type { IptablesRule } from '../../netlink/iptables/rule.ts';
import { balanceAction, restricted, type VipTableRow } from '../../vip/table-row.ts';
import type { ObservedChain } from './full-sync.ts';
import { MARK_MASQ } from './names.ts';
import { type ChainPlace, chainId } from './planned-chain.ts';
import { KINDS, SHARED_CHAINS } from './shared-chains.ts';

export interface CountedChain extends ObservedChain {
  /** Packets that each rule was for; in nat, of a connection only the first. Missing where they were not read. */
  readonly packets?: readonly (bigint | undefined)[];
}

/** The chain by which packets come to the Services of a family. */
export const ENTRANCE: ChainPlace = SHARED_CHAINS.services;

export function isEntrance({ table, name }: ChainPlace): boolean {
  return table === ENTRANCE.table && name === ENTRANCE.name;
}

/**
 * One row per address and port of one family that its rules are for, in the order of the rules; undefined when nobody made
 * the chain that they would be in. Reads `observed` once. Backends are those of clients outside: pods and the node itself
 * may have more under a Local policy.
 */
export function vipTableRows(observed: Iterable<CountedChain>): VipTableRow[] | undefined {
  const held = new HeldChains();
  for (const chain of observed) held.hold(chain);
  return heldRows(held);
}

/** The same of what was held. */
export function heldRows(held: HeldChains): VipTableRow[] | undefined {
  const translated = entriesFrom(ENTRANCE, held);
  if (translated === undefined) return undefined;
  const clusterIps = entriesFrom(SHARED_CHAINS.refusals, held) ?? new Map<string, Entry>();
  const others = entriesFrom(SHARED_CHAINS.externalRefusals, held) ?? new Map<string, Entry>();
  const guarded = entriesFrom(SHARED_CHAINS.firewall, held) ?? new Map<string, Entry>();
  const rows: VipTableRow[] = [];
  for (const key of new Set([...translated.keys(), ...clusterIps.keys(), ...others.keys()])) {
    const way = translated.get(key);
    const end = clusterIps.get(key) ?? others.get(key);
    const { service, address, port, protocol, remark, packets } = (way ?? end)!;
    const { backends, affinitySeconds } = destination(way?.target, held);
    const isGuarded = guarded.has(key);
    const whenEmpty =
      end?.target === 'REJECT' ? 'refuse' : end?.target === 'DROP' || isGuarded ? 'drop' : 'pass';
    const action = backends.length > 0 ? balanceAction('random', affinitySeconds) : whenEmpty;
    const isForSome = isGuarded && (backends.length > 0 || end !== undefined);
    rows.push({
      service,
      kind:
        address === undefined
          ? 'NodePort'
          : (kindOf(remark) ?? (clusterIps.has(key) ? 'ClusterIP' : isGuarded ? 'LoadBalancer' : 'VIP')),
      address: address ?? '*',
      port,
      protocol,
      action: isForSome ? restricted(action) : action,
      backends,
      connections: packets,
    });
  }
  return rows;
}

/** What of the chains rows are made of: of those of the service ports, of which there are many, little. */
export class HeldChains {
  readonly shared = new Map<string, CountedChain>();
  readonly ways = new Map<string, Way>();

  hold(chain: CountedChain): void {
    if (isShared(chain)) this.shared.set(chainId(chain), chain);
    else if (chain.table === ENTRANCE.table) this.ways.set(chain.name, wayOf(chain));
  }
}

/** Where clients outside get from a chain that is not shared. */
interface Way {
  readonly backends: readonly Backend[];
  readonly chains: ReadonlySet<string>;
  readonly affinitySeconds: number | undefined;
}

type Backend = VipTableRow['backends'][number];

function isShared({ table, name }: ChainPlace): boolean {
  return Object.values(SHARED_CHAINS).some(
    (one) => one.table === table && (one.name === name || name.startsWith(one.branch)),
  );
}

function wayOf({ name, rules }: ObservedChain): Way {
  const backends: Backend[] = [];
  const chains = new Set<string>();
  let affinitySeconds: number | undefined;
  for (const { source, inInterface, matches, target } of rules) {
    if (target?.kind === 'DNAT') backends.push({ address: target.address, port: target.port });
    if (target?.kind !== 'jump' && target?.kind !== 'goto') continue;
    // Whoever is in a source range counts as outside; in other chains sources are those of pods and of the node.
    const isForAll =
      (source === undefined || name.startsWith('KUBE-FW-')) &&
      inInterface === undefined &&
      !matches.some((match) => match.kind === 'addrtype' && match.source !== undefined);
    if (isForAll) chains.add(target.chain);
    for (const match of matches) {
      if (match.kind === 'recent' && match.operation === 'rcheck') affinitySeconds = match.seconds;
    }
  }
  return { backends, chains, affinitySeconds };
}

/** All that is reached from a chain, each backend once. */
function destination(
  chain: string | undefined,
  { ways }: HeldChains,
): { backends: readonly Backend[]; affinitySeconds: number | undefined } {
  const backends = new Map<string, Backend>();
  let affinitySeconds: number | undefined;
  const names = new Set(chain === undefined ? [] : [chain]);
  // A set goes on to what is added to it meanwhile.
  for (const name of names) {
    const way = ways.get(name);
    for (const backend of way?.backends ?? []) backends.set(`${backend.address} ${backend.port}`, backend);
    for (const next of way?.chains ?? []) names.add(next);
    affinitySeconds ??= way?.affinitySeconds;
  }
  return { backends: [...backends.values()], affinitySeconds };
}

/** A rule of a shared chain that is for one address and port. */
interface Entry {
  readonly service: string;
  /** What its comment says besides. */
  readonly remark: string;
  /** undefined for the host's own. */
  readonly address: string | undefined;
  readonly port: number;
  readonly protocol: Protocol;
  /** A chain, or `REJECT`, `DROP`. */
  readonly target: string;
  readonly packets: bigint | undefined;
}

/**
 * Entries that packets come to from a shared chain, in it, in its branches and in the chain of node ports, by what they are
 * for; undefined without that chain. Several for the same, such as one per network that node ports are served in, are one.
 */
function entriesFrom(from: ChainPlace, { shared }: HeldChains): Map<string, Entry> | undefined {
  const entries = new Map<string, Entry>();
  const ids = new Set([chainId(from)]);
  for (const id of ids) {
    const chain = shared.get(id);
    for (const [index, rule] of (chain?.rules ?? []).entries()) {
      const next = chainId({ table: from.table, name: targetName(rule) ?? '' });
      if (shared.has(next)) ids.add(next);
      else {
        const entry = entryOf(rule, chain!.packets?.[index]);
        if (entry !== undefined) addEntry(entries, entry);
      }
    }
  }
  return shared.has(chainId(from)) ? entries : undefined;
}

function addEntry(entries: Map<string, Entry>, entry: Entry): void {
  const key = `${entry.address} ${entry.port} ${entry.protocol}`;
  const known = entries.get(key);
  const { packets } = known ?? {};
  if (known === undefined) entries.set(key, entry);
  else if (packets !== undefined) entries.set(key, { ...known, packets: packets + (entry.packets ?? 0n) });
}

/** undefined for what is not about one port of a Service. */
function entryOf(rule: IptablesRule, packets: bigint | undefined): Entry | undefined {
  const protocol = PROTOCOLS.get(rule.protocol?.isInverted === false ? rule.protocol.name : '');
  const target = targetName(rule);
  // Before 1.22 kube-proxy marked in the shared chain what is to be masqueraded.
  if (protocol === undefined || target === undefined || target === MARK_MASQ) return undefined;
  let [text, port]: [string?, number?] = [];
  let isToThisHost = false;
  for (const match of rule.matches) {
    if (match.kind === 'comment') text ??= match.text;
    else if (match.kind === 'addrtype') isToThisHost ||= match.destination !== undefined;
    else if (match.kind === 'ports') {
      const { first, last, isInverted = true } = match.destinationPorts ?? {};
      if (first === last && !isInverted) port = first;
    }
  }
  const [, service, remark = ''] = /^([^\s/]+\/[^\s/]+)( .*)?$/.exec(text ?? '') ?? [];
  if (service === undefined || port === undefined) return undefined;
  const { cidr, isInverted = true } = rule.destination ?? {};
  const isHost = cidr?.prefix === (cidr?.family === 4 ? 32 : 128) && !isInverted && !isToThisHost;
  return { service, remark, address: isHost ? cidr!.ip : undefined, port, protocol, target, packets };
}

const PROTOCOLS: ReadonlyMap<string, Protocol> = new Map([
  ['tcp', 'TCP'],
  ['udp', 'UDP'],
  ['sctp', 'SCTP'],
]);

function targetName({ target }: IptablesRule): string | undefined {
  switch (target?.kind) {
    case 'jump':
    case 'goto':
      return target.chain;
    case 'REJECT':
    case 'DROP':
      return target.kind;
    default:
      return undefined;
  }
}

function kindOf(remark: string): string | undefined {
  return Object.entries(KINDS).find(([, text]) => text === remark)?.[0];
}
