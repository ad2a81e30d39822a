// What nf_tables does with the first packet of a connection, told from the ruleset alone: an interpreter of expressions
// that knows nothing of how the ruleset was planned. Random numbers are tried out one by one, each with its share.
// It follows net/netfilter/nf_tables_core.c and nf_nat_core.c; what it does not know is an error, never a guess.

import { type Ip, type IpFamily, packIp, unpackIp } from '../../src/model/ip.ts';
import type { ChainHook } from '../../src/netlink/nftables/chain.ts';
import type { Expression } from '../../src/netlink/nftables/expression.ts';
import type { Verdict } from '../../src/netlink/nftables/verdict.ts';
import type { Ruleset } from './nft-ruleset.ts';
import { type Registers, registers } from './registers.ts';
import type { Packet, Source } from './row.ts';

/** What becomes of the packet. */
export type Fate =
  | { readonly kind: 'reaches'; readonly address: string; readonly port: number; readonly source: Source }
  | { readonly kind: 'refused' | 'dropped' | 'passes' };

export interface Branch {
  readonly fate: Fate;
  /** Its share of all connections, above 0 and at most 1. */
  readonly share: number;
}

/** What the rules ask the node itself. */
export interface TracedNode {
  isLocal(address: string): boolean;
}

/** Every way the packet may go. `family` of the ruleset is the packet's. */
export function traceNftables(ruleset: Ruleset, packet: Packet, node: TracedNode): Branch[] {
  const branches: Branch[] = [];
  // The numbers to draw in the next run, and below how many each was drawn.
  let script: number[] = [];
  for (;;) {
    const moduli: number[] = [];
    const draw = (modulus: number): number => {
      moduli.push(modulus);
      return script[moduli.length - 1] ?? 0;
    };
    const fate = new Run(ruleset, packet, node, draw).fate();
    branches.push({ fate, share: moduli.reduce((share, modulus) => share / modulus, 1) });
    const drawn = moduli.map((_, i) => script[i] ?? 0);
    while (drawn.length > 0 && drawn.at(-1)! + 1 === moduli[drawn.length - 1]) drawn.pop();
    if (drawn.length === 0) return branches;
    script = [...drawn.slice(0, -1), drawn.at(-1)! + 1];
  }
}

const PROTOCOL_NUMBERS = { TCP: 6, UDP: 17, SCTP: 132 } as const;
const SOURCE_PORT = 40_000;
const RTN = { unicast: 1, local: 2 } as const;
/** linux/netfilter/nf_conntrack_common.h and nf_tables' bit for `new` (NF_CT_STATE_BIT). */
const STATUS = { srcNat: 1 << 4, dstNat: 1 << 5 } as const;
const STATE_NEW = 8;
const PORT_UNREACHABLE = { 4: 3, 6: 4 } as const;
const ADDRESS_FIELDS = {
  4: { saddr: 12, daddr: 16, length: 4 },
  6: { saddr: 8, daddr: 24, length: 16 },
} as const;

type HookEnd = 'accepted' | 'dropped' | 'refused';

class Run {
  readonly #ruleset: Ruleset;
  readonly #packet: Packet;
  readonly #node: TracedNode;
  readonly #draw: (modulus: number) => number;
  readonly #family: IpFamily;
  readonly #registers: Registers = registers();
  #destination: string;
  #port: number;
  #mark = 0;
  #priority = 0;
  #status = 0;
  #hook: ChainHook = 'prerouting';

  constructor(ruleset: Ruleset, packet: Packet, node: TracedNode, draw: (modulus: number) => number) {
    this.#ruleset = ruleset;
    this.#packet = packet;
    this.#node = node;
    this.#draw = draw;
    this.#family = packet.family;
    this.#destination = packet.destination;
    this.#port = packet.port;
  }

  fate(): Fate {
    const isFromNode = this.#packet.from === 'node';
    for (const hook of this.#path(isFromNode)) {
      const end = this.#walkHook(hook);
      if (end !== 'accepted') return { kind: end };
    }
    const isMasqueraded = (this.#status & STATUS.srcNat) !== 0;
    if ((this.#status & STATUS.dstNat) === 0) {
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

  #walkHook(hook: ChainHook): HookEnd {
    this.#hook = hook;
    const bases = [...this.#ruleset.chains]
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
    const stack: { readonly rules: readonly (readonly Expression[])[]; next: number }[] = [];
    const enter = (name: string): void => {
      const chain = this.#ruleset.chains.get(name);
      if (chain === undefined) throw new Error(`no chain ${name}`);
      if (stack.length > 16) throw new Error('jumps too deep'); // NFT_JUMP_STACK_SIZE
      stack.push({ rules: chain.rules, next: 0 });
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

  #runRule(rule: readonly Expression[]): Verdict | 'refused' | 'natted' {
    for (const expression of rule) {
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
        const { register, sourceRegister, size, length } = expression;
        // Whole words only: what is left of them is not turned (nft_byteorder.c).
        if (length >= size) throw new Error('byteorder is not traced');
        if (register !== sourceRegister) throw new Error('byteorder into another register is not traced');
        return undefined;
      }
      case 'lookup': {
        const set = this.#ruleset.sets.get(expression.set);
        if (set === undefined) throw new Error(`no set ${expression.set}`);
        const element = set.find(registers.read(expression.register, set.declaration.keyLength));
        const { destRegister } = expression;
        if (destRegister === undefined)
          return matches((element !== undefined) !== (expression.isInverted ?? false));
        if (element === undefined) return { kind: 'break' };
        if (element.verdict !== undefined) return element.verdict;
        registers.write(destRegister, element.data ?? '');
        return undefined;
      }
      case 'numgen':
        if (expression.type !== 'random') throw new Error(`numgen ${expression.type} is not traced`);
        registers.writeNumber(expression.register, this.#draw(expression.modulus) + (expression.offset ?? 0));
        return undefined;
      case 'fib':
        registers.writeNumber(expression.register, this.#addressType(expression));
        return undefined;
      case 'ct':
        registers.writeNumber(expression.register!, this.#conntrack(expression));
        return undefined;
      case 'nat':
        return this.#dnat(expression);
      case 'masquerade':
        if (this.#hook !== 'postrouting') throw new Error(`masquerade in ${this.#hook}`);
        this.#status |= STATUS.srcNat;
        return 'natted';
      case 'reject':
        this.#checkRejection(expression);
        return 'refused';
      default:
        throw new Error(`expression ${expression.kind} is not traced`);
    }
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
      default:
        throw new Error(`meta ${key} is not traced`);
    }
  }

  /** A header of the packet as it is now. */
  #header(base: string): string {
    const port = (value: number): string => String.fromCharCode(value >> 8, value & 0xff);
    if (base === 'transport') return port(SOURCE_PORT) + port(this.#port);
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

  #conntrack({ key, register }: Extract<Expression, { kind: 'ct' }>): number {
    if (register === undefined) throw new Error(`ct ${key} set is not traced`);
    if (key === 'status') return this.#status;
    if (key === 'state') return STATE_NEW;
    throw new Error(`ct ${key} is not traced`);
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
