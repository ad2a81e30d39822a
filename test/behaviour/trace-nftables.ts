// What nf_tables does with the first packet of a connection, told from the ruleset alone: an interpreter of expressions
// that knows nothing of how the ruleset was planned. Random numbers are tried out one by one, each with its share; what
// the packet leaves behind for later ones goes with each of them.
// It follows net/netfilter/nf_tables_core.c, nft_*.c and nf_nat_core.c; what it does not know is an error, never a guess.

import { type Ip, type IpFamily, packIp, unpackIp } from '../../src/model/ip.ts';
import type { ChainHook } from '../../src/netlink/nftables/chain.ts';
import type { Expression } from '../../src/netlink/nftables/expression.ts';
import type { Verdict } from '../../src/netlink/nftables/verdict.ts';
import { type Branch, type Choose, everyWay, type Fate, type TracedNode } from './branch.ts';
import { jhash, reciprocalScale } from './jhash.ts';
import type { TracedRule, TracedTable } from './nft-ruleset.ts';
import type { PacketState } from './packet-state.ts';
import { isLittleEndian, type Registers, registers } from './registers.ts';
import type { Packet } from './row.ts';
import { interfaceTowards } from './world.ts';

/** Every way the packet may go. `table` is of the packet's family. */
export function traceNftables(
  table: TracedTable,
  before: PacketState,
  packet: Packet,
  node: TracedNode,
): Branch<PacketState>[] {
  const ways = everyWay((choose) => {
    const state = before.fork();
    return { fate: runNftables(table, state, packet, node, choose), state };
  });
  return ways.map(({ result, share }) => ({ ...result, share }));
}

/** Where IPVS sends what this host gets at an address and port; `refused` without a real server, undefined if it is not its. */
export type Balance = (
  destination: string,
  port: number,
) => { readonly address: string; readonly port: number } | 'refused' | undefined;

/** One way the packet may go, and what it leaves behind in `state`. `balance` is what IPVS does behind the rules. */
export function runNftables(
  table: TracedTable,
  state: PacketState,
  packet: Packet,
  node: TracedNode,
  choose: Choose,
  balance?: Balance,
): Fate {
  const draw = (modulus: number): number => choose(new Array<number>(modulus).fill(1 / modulus));
  return new Run(table, state, packet, node, draw, balance).fate();
}

const PROTOCOL_NUMBERS = { TCP: 6, UDP: 17, SCTP: 132 } as const;
const SOURCE_PORT = 40_000;
const RTN = { unicast: 1, local: 2 } as const;
/** linux/netfilter/nf_conntrack_common.h and nf_tables' bit for `new` (NF_CT_STATE_BIT). */
const STATUS = { srcNat: 1 << 4, dstNat: 1 << 5 } as const;
const STATE_NEW = 8;
const PORT_UNREACHABLE = { 4: 3, 6: 4 } as const;
/** linux/netfilter/nf_nat.h, NF_NAT_RANGE_PROTO_RANDOM_FULLY */
const FULLY_RANDOM = 1 << 4;
/** linux/if.h */
const IFNAMSIZ = 16;
/** Bits of the packet's mark that somebody else has set: never ours to change. */
const FOREIGN_MARK = 0x101;
const ADDRESS_FIELDS = {
  4: { saddr: 12, daddr: 16, length: 4 },
  6: { saddr: 8, daddr: 24, length: 16 },
} as const;

const packPort = (value: number): string => String.fromCharCode(value >> 8, value & 0xff);

/** Between host and network order. */
function turned(numbers: string, size: number): string {
  if (!isLittleEndian) return numbers;
  return Array.from(numbers, (_, i) => numbers[i - (i % size) + size - 1 - (i % size)]).join('');
}

type HookEnd = 'accepted' | 'dropped' | 'refused';

class Run {
  readonly #table: TracedTable;
  readonly #state: PacketState;
  readonly #packet: Packet;
  readonly #node: TracedNode;
  readonly #draw: (modulus: number) => number;
  readonly #balance: Balance | undefined;
  #isBalanced = false;
  readonly #family: IpFamily;
  readonly #registers: Registers = registers();
  #destination: string;
  #port: number;
  #mark = FOREIGN_MARK;
  #priority = 0;
  #status = 0;
  #hook: ChainHook = 'prerouting';

  constructor(
    table: TracedTable,
    state: PacketState,
    packet: Packet,
    node: TracedNode,
    draw: (modulus: number) => number,
    balance: Balance | undefined,
  ) {
    this.#table = table;
    this.#state = state;
    this.#packet = packet;
    this.#node = node;
    this.#draw = draw;
    this.#balance = balance;
    this.#family = packet.family;
    this.#destination = packet.destination;
    this.#port = packet.port;
  }

  fate(): Fate {
    const isFromNode = this.#packet.from === 'node';
    for (const hook of this.#path(isFromNode)) {
      const end = this.#walkHook(hook);
      if (end !== 'accepted') return { kind: end };
      // NF_INET_LOCAL_IN, or LOCAL_OUT for what this host sends: behind all chains of ours (ip_vs_core.c, ip_vs_ops).
      if (hook === 'output' || hook === 'input') {
        const chosen = this.#isBalanced ? undefined : this.#balance?.(this.#destination, this.#port);
        if (chosen === 'refused') return { kind: 'refused' };
        if (chosen === undefined) continue;
        this.#isBalanced = true;
        this.#destination = chosen.address;
        this.#port = chosen.port;
      }
    }
    // What stays on this host has nobody left to confuse.
    const isGone = this.#hook === 'postrouting';
    if (isGone && this.#mark !== FOREIGN_MARK) throw new Error(`leaves with mark ${this.#mark}`);
    if (isGone && this.#priority !== 0) throw new Error(`leaves with priority ${this.#priority}`);
    const isMasqueraded = (this.#status & STATUS.srcNat) !== 0;
    if ((this.#status & STATUS.dstNat) === 0 && !this.#isBalanced) {
      if (isMasqueraded) throw new Error('masqueraded without a destination of ours');
      return { kind: 'passes' };
    }
    const source = isMasqueraded ? 'node' : 'own';
    return { kind: 'reaches', address: this.#destination, port: this.#port, source };
  }

  /** The hooks on the way. What lies behind the first depends on where it sends the packet. */
  *#path(isFromNode: boolean): Generator<ChainHook> {
    yield isFromNode ? 'output' : 'prerouting';
    const isForNode = this.#node.isLocal(this.#destination);
    if (isFromNode) yield 'postrouting';
    else if (isForNode) {
      yield 'input';
      // On its way out again; output chains for NAT are behind it already (ip_vs_xmit.c).
      if (!this.#node.isLocal(this.#destination)) yield 'postrouting';
    } else {
      yield 'forward';
      yield 'postrouting';
    }
    if (isFromNode && isForNode) {
      yield 'prerouting';
      yield 'input';
    }
  }

  #walkHook(hook: ChainHook): HookEnd {
    this.#hook = hook;
    const bases = [...this.#table.chains]
      .flatMap(([name, { base }]) => (base?.hook === hook ? [{ name, ...base }] : []))
      .sort((a, b) => a.priority - b.priority);
    // A connection gets its destination once and its source once: over loopback it does not pass NAT chains again.
    let isNatted = this.#packet.from === 'node' && (hook === 'prerouting' || hook === 'input');
    for (const { name, type, policy = 'accept' } of bases) {
      if (type === 'route') throw new Error('chains of type route are not traced');
      if (type === 'nat' && isNatted) continue;
      const end = this.#walkChain(name) ?? policy;
      if (end === 'drop') return 'dropped';
      if (end === 'refused') return 'refused';
      if (end === 'natted') isNatted = true;
    }
    return 'accepted';
  }

  /** undefined when the packet reaches the end. */
  #walkChain(start: string): 'accept' | 'drop' | 'refused' | 'natted' | undefined {
    const stack: { readonly rules: readonly TracedRule[]; next: number }[] = [];
    const enter = (name: string): void => {
      const { rules } = this.#table.chain(name);
      if (stack.length > 16) throw new Error('jumps too deep'); // NFT_JUMP_STACK_SIZE
      stack.push({ rules, next: 0 });
    };
    enter(start);
    while (stack.length > 0) {
      const frame = stack.at(-1)!;
      const rule = frame.rules[frame.next++];
      if (rule === undefined) {
        stack.pop();
        continue;
      }
      const verdict = this.#runRule(rule);
      if (verdict === 'refused' || verdict === 'natted') return verdict;
      switch (verdict.kind) {
        case 'accept':
        case 'drop':
          return verdict.kind;
        case 'jump':
          enter(verdict.chain);
          break;
        case 'goto':
          stack.pop();
          enter(verdict.chain);
          break;
        case 'return':
          stack.pop();
          break;
        case 'continue':
        case 'break':
          break;
      }
    }
    return undefined;
  }

  #runRule({ expressions }: TracedRule): Verdict | 'refused' | 'natted' {
    this.#registers.forget();
    for (const expression of expressions) {
      const verdict = this.#run(expression);
      if (verdict !== undefined) return verdict;
    }
    return { kind: 'continue' };
  }

  /** undefined lets the rule go on. */
  #run(expression: Expression): Verdict | 'refused' | 'natted' | undefined {
    const registers = this.#registers;
    const matches = (isMatch: boolean) => (isMatch ? undefined : ({ kind: 'break' } as const));
    switch (expression.kind) {
      case 'counter':
        return undefined;
      case 'immediate':
        if (expression.verdict !== undefined) return expression.verdict;
        registers.write(expression.register, expression.data ?? '');
        return undefined;
      case 'payload': {
        if (expression.register === undefined) throw new Error('payload writes are not traced');
        const { base, offset, length } = expression;
        registers.write(expression.register, this.#header(base).slice(offset, offset + length));
        return undefined;
      }
      case 'meta':
        if (expression.sourceRegister !== undefined) {
          const value = registers.readNumber(expression.sourceRegister);
          if (expression.key === 'mark') this.#mark = value;
          else if (expression.key === 'priority') this.#priority = value;
          else throw new Error(`meta ${expression.key} set is not traced`);
        } else registers.write(expression.register!, this.#meta(expression.key));
        return undefined;
      case 'cmp': {
        const { op, data } = expression;
        const value = registers.read(expression.register, data.length);
        const order = value < data ? -1 : value > data ? 1 : 0;
        const isTrue = {
          eq: order === 0,
          neq: order !== 0,
          lt: order < 0,
          lte: order <= 0,
          gt: order > 0,
          gte: order >= 0,
        };
        return matches(isTrue[op]);
      }
      case 'range': {
        const { from, to, op } = expression;
        const value = registers.read(expression.register, from.length);
        return matches((value >= from && value <= to) === (op === 'eq'));
      }
      case 'bitwise': {
        const { op = 'boolean', length, mask, xor } = expression;
        if (op !== 'boolean' || mask === undefined || xor === undefined)
          throw new Error(`bitwise ${op} is not traced`);
        const bytes = [...registers.read(expression.sourceRegister, length)].map(
          (char, i) => (char.charCodeAt(0) & mask.charCodeAt(i)) ^ xor.charCodeAt(i),
        );
        registers.write(expression.register, String.fromCharCode(...bytes));
        return undefined;
      }
      case 'byteorder': {
        const { register, sourceRegister, length, size } = expression;
        // Only whole numbers are turned (nft_byteorder.c): of anything shorter nothing is, and nothing is written.
        if (length < size && register === sourceRegister) return undefined;
        if (length % size !== 0 || size % 4 !== 0)
          throw new Error(`byteorder of ${length} bytes is not traced`);
        registers.write(register, turned(registers.read(sourceRegister, length), size));
        return undefined;
      }
      case 'lookup': {
        const set = this.#table.set(expression.set);
        const key = registers.read(expression.register, set.declaration.keyLength);
        const element = this.#state.find(set, key) ?? set.find(key);
        const { destRegister } = expression;
        if (destRegister === undefined)
          return matches((element !== undefined) !== (expression.isInverted ?? false));
        if (element === undefined) return { kind: 'break' };
        if (element.verdict !== undefined) return element.verdict;
        registers.write(destRegister, element.data ?? '');
        return undefined;
      }
      case 'numgen':
        registers.writeNumber(expression.register, this.#number(expression) + (expression.offset ?? 0));
        return undefined;
      case 'hash': {
        const { type = 'jhash', sourceRegister, length, seed, modulus, offset = 0 } = expression;
        if (type !== 'jhash' || sourceRegister === undefined || length === undefined || seed === undefined)
          throw new Error(`${type} without a seed of its own is not traced`);
        const hash = jhash(registers.read(sourceRegister, length), seed);
        registers.writeNumber(expression.register, reciprocalScale(hash, modulus) + offset);
        return undefined;
      }
      case 'dynset':
        return matches(this.#learn(expression));
      case 'fib':
        registers.writeNumber(expression.register, this.#addressType(expression));
        return undefined;
      case 'ct':
        registers.write(expression.register!, this.#conntrack(expression));
        return undefined;
      case 'nat':
        return this.#dnat(expression);
      case 'masquerade':
        if (this.#hook !== 'postrouting') throw new Error(`masquerade in ${this.#hook}`);
        if (((expression.flags ?? 0) & FULLY_RANDOM) === 0)
          throw new Error('masquerades to a port that another connection may have at the same moment');
        this.#status |= STATUS.srcNat;
        return 'natted';
      case 'reject':
        this.#checkRejection(expression);
        return 'refused';
      default:
        throw new Error(`expression ${expression.kind} is not traced`);
    }
  }

  #number(expression: Extract<Expression, { kind: 'numgen' }>): number {
    const { type, modulus } = expression;
    return type === 'random' ? this.#draw(modulus) : this.#state.count(expression, modulus);
  }

  /** Whether the rule goes on. */
  #learn(expression: Extract<Expression, { kind: 'dynset' }>): boolean {
    const { op, keyRegister, dataRegister, isInverted = false } = expression;
    const set = this.#table.set(expression.set);
    const { keyLength, dataLength } = set.declaration;
    const key = this.#registers.read(keyRegister, keyLength);
    if (op === 'delete') {
      this.#state.delete(set, key);
      return true;
    }
    const data = dataRegister === undefined ? undefined : this.#registers.read(dataRegister, dataLength!);
    return this.#state.add(set, key, data, expression) !== isInverted;
  }

  #meta(key: string): string {
    const number = (value: number): string => String.fromCharCode(value, 0, 0, 0);
    switch (key) {
      case 'l4proto':
        return number(PROTOCOL_NUMBERS[this.#packet.protocol]);
      case 'nfproto':
        return number(this.#family === 4 ? 2 : 10);
      case 'mark':
        return this.#registers.packNumber(this.#mark);
      case 'priority':
        return this.#registers.packNumber(this.#priority);
      case 'iifname':
        return this.#interfaceName().padEnd(IFNAMSIZ, '\0');
      default:
        throw new Error(`meta ${key} is not traced`);
    }
  }

  /** '' for what this node sends itself, until it comes back over loopback. */
  #interfaceName(): string {
    if (this.#hook === 'postrouting')
      throw new Error('the name of an interface in postrouting is not traced');
    const name = interfaceTowards(this.#packet.from);
    return name ?? (this.#hook === 'output' ? '' : 'lo');
  }

  /** A header of the packet as it is now. */
  #header(base: string): string {
    if (base === 'transport') return packPort(SOURCE_PORT) + packPort(this.#port);
    if (base !== 'network') throw new Error(`payload of the ${base} header is not traced`);
    // Only the addresses: reading anything else yields less than was asked for, which `write` refuses.
    const { saddr } = ADDRESS_FIELDS[this.#family];
    const hole = '\uffff'.repeat(saddr);
    return hole + packIp(this.#packet.source as Ip) + packIp(this.#destination as Ip);
  }

  #addressType({ result, flags }: Extract<Expression, { kind: 'fib' }>): number {
    if (result !== 'type' || (flags !== 1 && flags !== 2))
      throw new Error(`fib ${result} ${flags} is not traced`);
    const address = flags === 1 ? this.#packet.source : this.#destination;
    return this.#node.isLocal(address) ? RTN.local : RTN.unicast;
  }

  #conntrack({ key, register, direction }: Extract<Expression, { kind: 'ct' }>): string {
    const { packNumber } = this.#registers;
    if (register === undefined) throw new Error(`ct ${key} set is not traced`);
    if (key === 'status') return packNumber(this.#status);
    if (key === 'state') return packNumber(STATE_NEW);
    if (direction !== 'original') throw new Error(`ct ${key} of direction ${direction} is not traced`);
    const { source, destination, port, protocol } = this.#packet;
    switch (key) {
      case 'saddr':
      case 'ip-saddr':
      case 'ip6-saddr':
        return packIp(source as Ip);
      case 'daddr':
      case 'ip-daddr':
      case 'ip6-daddr':
        return packIp(destination as Ip);
      case 'proto-dst':
        return packPort(port);
      case 'protocol':
        return String.fromCharCode(PROTOCOL_NUMBERS[protocol]);
      default:
        throw new Error(`ct ${key} is not traced`);
    }
  }

  #dnat({
    type,
    family,
    addressMin,
    addressMax,
    protoMin,
    protoMax,
  }: Extract<Expression, { kind: 'nat' }>): 'natted' {
    const isRange = addressMax !== undefined || protoMax !== undefined;
    if (type !== 'dnat' || addressMin === undefined || protoMin === undefined || isRange)
      throw new Error(`this ${type} is not traced`);
    if (family !== (this.#family === 4 ? 'ip' : 'ip6')) throw new Error(`dnat of family ${family}`);
    if (this.#hook !== 'prerouting' && this.#hook !== 'output') throw new Error(`dnat in ${this.#hook}`);
    this.#destination = unpackIp(this.#registers.read(addressMin, ADDRESS_FIELDS[this.#family].length));
    const [high, low] = [...this.#registers.read(protoMin, 2)].map((char) => char.charCodeAt(0));
    this.#port = high! * 256 + low!;
    this.#status |= STATUS.dstNat;
    return 'natted';
  }

  /** A client must take the answer for a refusal: a reset to TCP only, else port unreachable. */
  #checkRejection({ type, code }: Extract<Expression, { kind: 'reject' }>): void {
    const { protocol } = this.#packet;
    if (type === 'tcp-rst' && protocol === 'TCP') return;
    if (type === 'icmp-unreach' && code === PORT_UNREACHABLE[this.#family]) return;
    throw new Error(`${type} ${code ?? ''} is no refusal of ${protocol}`);
  }
}
