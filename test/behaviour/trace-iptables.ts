// What netfilter does with a packet by the rules of iptables alone: an interpreter that knows nothing of how they were
// planned. What chance decides is tried out both ways, each with its share.
// It follows net/ipv4/netfilter/ip_tables.c, net/netfilter/xt_*.c and nf_nat_core.c; what it does not know is an error,
// never a guess.

import { cidrContains, type Ip, isLoopback } from '../../src/model/ip.ts';
import type {
  AddressMatch,
  AddressTypes,
  ConntrackState,
  InterfaceMatch,
  IptablesRule,
  Match,
  PortRange,
  RejectReason,
  Target,
} from '../../src/netlink/iptables/rule.ts';
import { BASE_CHAINS, type IptablesTable } from '../../src/netlink/iptables/tables.ts';
import type { ChainHook } from '../../src/netlink/nftables/chain.ts';
import { type Branch, type Choose, everyWay, type Fate, type TracedNode } from './branch.ts';
import type { RecentLists } from './recent-lists.ts';
import type { Packet } from './row.ts';
import { interfaceTowards } from './world.ts';

/** What is traced: the chains of one family. */
export interface TracedChains {
  rules(place: { readonly table: IptablesTable; readonly name: string }): readonly IptablesRule[];
}

export interface RoutingNode extends TracedNode {
  /** net.ipv4.conf.all.route_localnet: whether packets from and to 127.0.0.0/8 may pass interfaces other than `lo`. */
  readonly routesLocalnet: boolean;
}

/** What connection tracking takes a packet for. Only the first one of a connection (NEW) meets NAT. */
export type TrackingState = Extract<
  ConntrackState,
  'NEW' | 'ESTABLISHED' | 'RELATED' | 'INVALID' | 'UNTRACKED'
>;

/** Every way the packet may go. `chains` are of its family. */
export function traceIptables(
  chains: TracedChains,
  before: RecentLists,
  packet: Packet,
  node: RoutingNode,
  packetState: TrackingState = 'NEW',
): Branch<RecentLists>[] {
  const ways = everyWay((choose) => {
    const state = before.fork();
    return { fate: new Run({ chains, state, packet, node, packetState, choose }).fate(), state };
  });
  return ways.map(({ result, share }) => ({ ...result, share }));
}

const SOURCE_PORT = 40_000;
/** Bits of the packet's mark that somebody else has set: never ours to change. */
const FOREIGN_MARK = 0x101;
/** Probabilities of xt_statistic are of this. */
const CERTAIN = 2 ** 31;
const PROTOCOL_NAMES = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' } as const;
const PORT_UNREACHABLE: Readonly<Record<Packet['family'], RejectReason>> = {
  4: 'icmp-port-unreachable',
  6: 'icmp6-port-unreachable',
};
/** Where the kernel takes targets of each kind, as the checkentry of their modules has it. */
const HOOKS: Readonly<Record<'DNAT' | 'MASQUERADE' | 'REJECT', readonly ChainHook[]>> = {
  DNAT: ['prerouting', 'output'],
  MASQUERADE: ['postrouting'],
  REJECT: ['input', 'forward', 'output'],
};

/** What of netfilter's base chains are called by a hook, in the order in which it calls them. */
function basesOf(hook: ChainHook) {
  return (Object.keys(BASE_CHAINS) as IptablesTable[])
    .flatMap((table) => Object.entries(BASE_CHAINS[table]).map(([name, base]) => ({ table, name, ...base })))
    .filter((base) => base.hook === hook)
    .sort((a, b) => a.priority - b.priority);
}

interface Surroundings {
  readonly chains: TracedChains;
  readonly state: RecentLists;
  readonly packet: Packet;
  readonly node: RoutingNode;
  readonly packetState: TrackingState;
  readonly choose: Choose;
}

/** `natted`: accepted, and the connection has its translation. */
type Verdict = 'accepted' | 'dropped' | 'refused' | 'natted';

class Run {
  readonly #around: Surroundings;
  #destination: string;
  #port: number;
  #mark = FOREIGN_MARK;
  #isTranslated = false;
  #isMasqueraded = false;
  #hook: ChainHook = 'prerouting';
  #table: IptablesTable = 'filter';

  constructor(around: Surroundings) {
    this.#around = around;
    this.#destination = around.packet.destination;
    this.#port = around.packet.port;
  }

  fate(): Fate {
    for (const hook of this.#path()) {
      const verdict = this.#walkHook(hook);
      if (verdict === 'dropped' || verdict === 'refused') return { kind: verdict };
      if (this.#isMartian) return { kind: 'dropped' };
    }
    // What stays on this host has nobody left to confuse.
    if (this.#hook === 'postrouting' && this.#mark !== FOREIGN_MARK)
      throw new Error(`leaves with mark ${this.#mark}`);
    if (!this.#isTranslated) {
      if (this.#isMasqueraded) throw new Error('masqueraded without a destination of ours');
      return { kind: 'passes' };
    }
    const source = this.#isMasqueraded ? 'node' : 'own';
    return { kind: 'reaches', address: this.#destination, port: this.#port, source };
  }

  /** The hooks on the way. What lies behind the first depends on where it sends the packet. */
  *#path(): Generator<ChainHook> {
    const { packet, node } = this.#around;
    const isFromNode = packet.from === 'node';
    yield isFromNode ? 'output' : 'prerouting';
    const isForNode = node.isLocal(this.#destination);
    if (isFromNode) yield 'postrouting';
    else if (isForNode) yield 'input';
    else {
      yield 'forward';
      yield 'postrouting';
    }
    if (isFromNode && isForNode) {
      yield 'prerouting';
      yield 'input';
    }
  }

  /** Of a loopback address, and neither from nor to this node: routing gives up on it. */
  get #isMartian(): boolean {
    const { packet, node } = this.#around;
    if (packet.family === 4 && node.routesLocalnet) return false;
    return packet.from === 'node'
      ? isLoopback(packet.source as Ip) && !node.isLocal(this.#destination)
      : isLoopback(this.#destination as Ip);
  }

  #walkHook(hook: ChainHook): Verdict {
    const { chains, packet, packetState } = this.#around;
    this.#hook = hook;
    // Over loopback a connection does not pass NAT a second time: it has its destination and its source.
    const isBack = packet.from === 'node' && (hook === 'prerouting' || hook === 'input');
    for (const { table, name, type } of basesOf(hook)) {
      if (type === 'nat' && (packetState !== 'NEW' || isBack)) continue;
      if (type === 'route' && chains.rules({ table, name }).length > 0)
        throw new Error(`rules in ${table} ${name} may route anew, which is not traced`);
      this.#table = table;
      // The policy of base chains is ACCEPT.
      const verdict = this.#walkChain(name) ?? 'accepted';
      if (verdict === 'dropped' || verdict === 'refused') return verdict;
    }
    return 'accepted';
  }

  /** undefined when the packet reaches the end, or returns. */
  #walkChain(name: string): Verdict | undefined {
    for (const rule of this.#around.chains.rules({ table: this.#table, name })) {
      if (!this.#isMatch(rule)) continue;
      const { target } = rule;
      if (target === undefined) continue;
      if (target.kind === 'RETURN') return undefined;
      if (target.kind === 'goto') return this.#walkChain(target.chain);
      const verdict = target.kind === 'jump' ? this.#walkChain(target.chain) : this.#meet(target);
      if (verdict !== undefined) return verdict;
    }
    return undefined;
  }

  /** undefined lets the packet go on. */
  #meet(target: Target): Verdict | undefined {
    switch (target.kind) {
      case 'ACCEPT':
        return 'accepted';
      case 'DROP':
        if (this.#table === 'nat') throw new Error('iptables refuses to drop in the nat table');
        return 'dropped';
      case 'MARK':
        // An int in the kernel, unsigned.
        this.#mark = ((this.#mark & ~target.mask) ^ target.value) >>> 0;
        return undefined;
      case 'DNAT':
        this.#checkPlace('nat', target.kind);
        this.#destination = target.address;
        if (target.port !== 0) this.#port = target.port;
        this.#isTranslated = true;
        return 'natted';
      case 'MASQUERADE':
        this.#checkPlace('nat', target.kind);
        if (!target.isFullyRandom)
          throw new Error('masquerades to a port that another connection may have at the same moment');
        this.#isMasqueraded = true;
        return 'natted';
      case 'REJECT':
        this.#checkPlace('filter', target.kind);
        this.#checkRefusal(target.reason);
        return 'refused';
      default:
        throw new Error(`target ${target.kind === 'unknown' ? target.name : target.kind} is not traced`);
    }
  }

  #checkPlace(table: IptablesTable, target: keyof typeof HOOKS): void {
    if (this.#table !== table || !HOOKS[target].includes(this.#hook))
      throw new Error(`${target} in table ${this.#table}, hook ${this.#hook}`);
  }

  /** A client must take the answer for a refusal: a reset to TCP only, else port unreachable. */
  #checkRefusal(reason: RejectReason): void {
    const { protocol, family } = this.#around.packet;
    const isReset = reason === 'tcp-reset' && protocol === 'TCP';
    if (!isReset && reason !== PORT_UNREACHABLE[family])
      throw new Error(`${reason} is no refusal of ${protocol} over IPv${family}`);
  }

  /** As the kernel does, tests are made in order and end with the first that fails: later ones have no effect then. */
  #isMatch(rule: IptablesRule): boolean {
    const { source, destination, inInterface, outInterface, protocol, matches } = rule;
    if (outInterface !== undefined) throw new Error('-o is not traced');
    return (
      this.#isWithin(destination, () => this.#destination) &&
      this.#isWithin(source, () => this.#source) &&
      (inInterface === undefined || isNamed(inInterface, this.#inInterface)) &&
      (protocol === undefined || (protocol.name === this.#protocol) !== protocol.isInverted) &&
      matches.every((match) => this.#matches(match, rule))
    );
  }

  #matches(match: Match, { protocol }: IptablesRule): boolean {
    switch (match.kind) {
      case 'comment':
        return true;
      case 'ports':
        if (protocol === undefined || protocol.isInverted || !PORTED.includes(protocol.name))
          throw new Error(`ports without a protocol that has them`);
        return isIn(match.sourcePorts, SOURCE_PORT) && isIn(match.destinationPorts, this.#port);
      case 'addrtype':
        return (
          this.#isOfType(match.source, () => this.#source) &&
          this.#isOfType(match.destination, () => this.#destination)
        );
      case 'conntrack':
        return match.states.some((state) => this.#isInState(state)) !== match.isInverted;
      case 'mark':
        return ((this.#mark & match.mask) >>> 0 === match.value) !== match.isInverted;
      case 'statistic': {
        const share = match.probability / CERTAIN;
        return (this.#around.choose([share, 1 - share]) === 0) !== match.isInverted;
      }
      case 'recent':
        return this.#around.state.match(match, match.side === 'source' ? this.#source : this.#destination);
      case 'physdev':
        // No packet of the table crosses a bridge: what asks for it fails, and what asks for the opposite does not.
        return [
          match.inInterface?.isInverted,
          match.outInterface?.isInverted,
          match.isIn === undefined ? undefined : !match.isIn,
          match.isOut === undefined ? undefined : !match.isOut,
          match.isBridged === undefined ? undefined : !match.isBridged,
        ].every((isInverted) => isInverted !== false);
      default:
        throw new Error(`match ${match.kind === 'unknown' ? match.name : match.kind} is not traced`);
    }
  }

  #isInState(state: ConntrackState): boolean {
    // Translations are known of connections only.
    if (state === 'DNAT') return this.#isTranslated;
    if (state === 'SNAT') return this.#isMasqueraded;
    return state === this.#around.packetState;
  }

  #isWithin(match: AddressMatch | undefined, address: () => string): boolean {
    return match === undefined || cidrContains(match.cidr, address() as Ip) !== match.isInverted;
  }

  #isOfType(side: AddressTypes | undefined, address: () => string): boolean {
    if (side === undefined) return true;
    if (side.types.join() !== 'LOCAL') throw new Error(`address type ${side.types} is not traced`);
    return this.#around.node.isLocal(address()) !== side.isInverted;
  }

  get #source(): string {
    if (this.#isMasqueraded) throw new Error('which address of the node stands for others is not traced');
    return this.#around.packet.source;
  }

  get #protocol(): string {
    return PROTOCOL_NAMES[this.#around.packet.protocol];
  }

  /** '' for what this node sends itself, until it comes back over loopback. */
  get #inInterface(): string {
    if (this.#hook === 'postrouting') throw new Error('-i in postrouting');
    return interfaceTowards(this.#around.packet.from) ?? (this.#hook === 'output' ? '' : 'lo');
  }
}

const PORTED: readonly string[] = Object.values(PROTOCOL_NAMES);

function isIn(range: PortRange | undefined, port: number): boolean {
  return range === undefined || (port >= range.first && port <= range.last) !== range.isInverted;
}

function isNamed({ name, isInverted }: InterfaceMatch, actual: string): boolean {
  const isSame = name.endsWith('+') ? actual.startsWith(name.slice(0, -1)) : actual === name;
  return isSame !== isInverted;
}
