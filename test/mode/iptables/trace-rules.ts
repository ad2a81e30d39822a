// What iptables does with the first packet of a connection, told from rules alone: an interpreter that knows nothing of how
// they were planned. Where chance decides it goes both ways, each with its share. What it does not know is an error.

import { cidrContains, type Ip, type IpFamily } from '../../../src/model/ip.ts';
import type { AddressMatch, IptablesRule, Match } from '../../../src/netlink/iptables/rule.ts';
import type { IptablesTable } from '../../../src/netlink/iptables/tables.ts';

export interface TracedPacket {
  readonly isFromNode: boolean;
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly protocol: string;
  readonly family: IpFamily;
  /** Where it came in; '' for one of the node's own. */
  readonly inInterface: string;
}

export type Fate =
  | {
      readonly kind: 'reaches';
      readonly address: string;
      readonly port: number;
      readonly isMasqueraded: boolean;
    }
  | { readonly kind: 'refused' | 'dropped' | 'passes' };

export interface Branch {
  readonly fate: Fate;
  /** Above 0, at most 1. */
  readonly share: number;
  /** Rules that it was compared with, per table and in all chains. */
  readonly passed: number;
  /** The chains it went through, in order. */
  readonly chains: readonly string[];
}

export interface TracedRules {
  rules(table: IptablesTable, chain: string): readonly IptablesRule[];
  has(table: IptablesTable, chain: string): boolean;
}

/** nf_tables_api.h, NFT_JUMP_STACK_SIZE: how deep chains may lead to one another, jumps and gotos alike. */
const MAX_NESTING = 16;

export function traceRules(
  tables: TracedRules,
  packet: TracedPacket,
  isLocal: (address: string) => boolean,
): Branch[] {
  const branches: Branch[] = [];
  let script: boolean[] = [];
  for (;;) {
    const run = new Run(tables, packet, isLocal, script);
    const fate = run.fate();
    if (run.share > 0) branches.push({ fate, share: run.share, passed: run.passed, chains: run.chains });
    const drawn = [...run.drawn];
    while (drawn.at(-1) === false) drawn.pop();
    if (drawn.length === 0) return branches;
    script = [...drawn.slice(0, -1), false];
  }
}

class Run {
  readonly #tables: TracedRules;
  readonly #packet: TracedPacket;
  readonly #isLocal: (address: string) => boolean;
  readonly #script: readonly boolean[];
  readonly drawn: boolean[] = [];
  readonly chains: string[] = [];
  share = 1;
  passed = 0;
  #destination: string;
  #port: number;
  #mark = 0x101;
  #isTranslated = false;
  #isMasqueraded = false;

  constructor(
    tables: TracedRules,
    packet: TracedPacket,
    isLocal: (address: string) => boolean,
    script: readonly boolean[],
  ) {
    this.#tables = tables;
    this.#packet = packet;
    this.#isLocal = isLocal;
    this.#script = script;
    this.#destination = packet.destination;
    this.#port = packet.port;
  }

  fate(): Fate {
    for (const [table, chain] of this.#path()) {
      if (!this.#tables.has(table, chain)) continue;
      const end = this.#walk(table, chain, 0);
      if (end === 'dropped' || end === 'refused') return { kind: end };
    }
    if (!this.#isTranslated) {
      if (this.#isMasqueraded) throw new Error('masqueraded without a destination of ours');
      return { kind: 'passes' };
    }
    return {
      kind: 'reaches',
      address: this.#destination,
      port: this.#port,
      isMasqueraded: this.#isMasqueraded,
    };
  }

  *#path(): Generator<[IptablesTable, string]> {
    const { isFromNode } = this.#packet;
    yield ['nat', isFromNode ? 'OUTPUT' : 'PREROUTING'];
    const isForNode = this.#isLocal(this.#destination);
    if (isFromNode) yield ['filter', 'OUTPUT'];
    else yield ['filter', isForNode ? 'INPUT' : 'FORWARD'];
    if (isFromNode || !isForNode) yield ['nat', 'POSTROUTING'];
    if (isFromNode && isForNode) yield ['filter', 'INPUT'];
  }

  /** undefined when the packet falls off the end. */
  #walk(table: IptablesTable, chain: string, depth: number): 'accepted' | 'dropped' | 'refused' | undefined {
    if (depth >= MAX_NESTING) throw new Error('chains too deep');
    this.chains.push(chain);
    for (const rule of this.#tables.rules(table, chain)) {
      this.passed++;
      if (!this.#isMatch(rule)) continue;
      const { target } = rule;
      switch (target?.kind) {
        case undefined:
          continue;
        case 'jump': {
          const end = this.#walk(table, target.chain, depth + 1);
          if (end !== undefined) return end;
          continue;
        }
        case 'goto':
          return this.#walk(table, target.chain, depth + 1);
        case 'ACCEPT':
          return 'accepted';
        case 'DROP':
          return 'dropped';
        case 'RETURN':
          return undefined;
        case 'REJECT':
          if (table !== 'filter') throw new Error(`REJECT in ${table}`);
          return 'refused';
        case 'MARK':
          this.#mark = ((this.#mark & ~target.mask) ^ target.value) >>> 0;
          continue;
        case 'DNAT':
          this.#destination = target.address;
          this.#port = target.port;
          this.#isTranslated = true;
          return 'accepted';
        case 'MASQUERADE':
          this.#isMasqueraded = true;
          return 'accepted';
        case 'unknown':
          throw new Error(`target ${target.name} is not traced`);
      }
    }
    return undefined;
  }

  #isMatch(rule: IptablesRule): boolean {
    const { source, destination, inInterface, outInterface, protocol } = rule;
    if (outInterface !== undefined) throw new Error('-o is not traced');
    return (
      isWithin(source, this.#packet.source) &&
      isWithin(destination, this.#destination) &&
      (inInterface === undefined ||
        isNamed(inInterface.name, this.#packet.inInterface) !== inInterface.isInverted) &&
      (protocol === undefined || (protocol.name === this.#packet.protocol) !== protocol.isInverted) &&
      rule.matches.every((match) => this.#matches(match, rule))
    );
  }

  #matches(match: Match, { protocol }: IptablesRule): boolean {
    switch (match.kind) {
      case 'comment':
        return true;
      case 'ports': {
        if (protocol === undefined) throw new Error('ports without a protocol');
        if (match.sourcePorts !== undefined) throw new Error('--sport is not traced');
        if (match.destinationPorts === undefined) return true;
        const { first, last, isInverted } = match.destinationPorts;
        return (this.#port >= first && this.#port <= last) !== isInverted;
      }
      case 'addrtype': {
        const sides = [
          [match.source, this.#packet.source],
          [match.destination, this.#destination],
        ] as const;
        return sides.every(([side, address]) => {
          if (side === undefined) return true;
          if (side.types.join() !== 'LOCAL') throw new Error(`${side.types} is not traced`);
          return this.#isLocal(address) !== side.isInverted;
        });
      }
      case 'conntrack':
        return (
          match.states.some((state) => state === 'NEW' || (state === 'DNAT' && this.#isTranslated)) !==
          match.isInverted
        );
      case 'mark':
        return ((this.#mark & match.mask) >>> 0 === match.value) !== match.isInverted;
      case 'statistic': {
        const isHit = this.#script[this.drawn.length] ?? true;
        this.drawn.push(isHit);
        const chance = match.probability / 2 ** 31;
        this.share *= isHit ? chance : 1 - chance;
        return isHit;
      }
      case 'recent':
        // Nobody was here before.
        return match.operation === 'set';
      default:
        throw new Error(`${match.kind} is not traced`);
    }
  }
}

function isWithin(match: AddressMatch | undefined, address: string): boolean {
  return match === undefined || cidrContains(match.cidr, address as Ip) !== match.isInverted;
}

function isNamed(pattern: string, name: string): boolean {
  return pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}
