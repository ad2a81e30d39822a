// Notices that somebody else changed our rules, by a number for each chain: the legacy tables have no notifications.

import { FIREWALL, isOwnChain } from '../../mode/iptables/names.ts';
import { type ChainPlace, chainId } from '../../mode/iptables/planned-chain.ts';
import type { IptablesTable } from '../../netlink/iptables/tables.ts';

/** Numbers by chainId. */
export type TableDigest = ReadonlyMap<string, number>;

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/**
 * Takes the lines of iptables-save of one table as they come. Chains of others count as far as they lead to ours. One edit
 * in four thousand million goes unnoticed (FNV-1a of 32 bits).
 */
export class Digester {
  readonly #table: IptablesTable;
  readonly #numbers = new Map<string, number>();

  constructor(table: IptablesTable) {
    this.#table = table;
  }

  add(line: string): void {
    const isDeclaration = line.startsWith(':');
    if (!isDeclaration && !line.startsWith('-A ')) return;
    const from = isDeclaration ? 1 : 3;
    const end = line.indexOf(' ', from);
    const name = end < 0 ? line.slice(from) : line.slice(from, end);
    if (!this.#isOurs(name) && (isDeclaration || !this.#isOurs(targetOf(line)))) return;
    const id = chainId({ table: this.#table, name });
    // Policies and counts are nobody's business here.
    this.#numbers.set(id, isDeclaration ? FNV_OFFSET : fnv(this.#numbers.get(id) ?? FNV_OFFSET, line));
  }

  get digest(): TableDigest {
    return this.#numbers;
  }

  /** kubelet writes KUBE-FIREWALL, too: all that comes of it is a comparison for nothing. */
  #isOurs(name: string): boolean {
    return name === FIREWALL || isOwnChain(this.#table, name);
  }
}

function targetOf(line: string): string {
  return / -[jg] (\S+)$/.exec(line)?.[1] ?? '';
}

function fnv(from: number, line: string): number {
  let number = from;
  for (let i = 0; i < line.length; i++) number = Math.imul(number ^ line.charCodeAt(i), FNV_PRIME);
  // Where a line ends matters.
  return Math.imul(number ^ 10, FNV_PRIME);
}

/** What the chains of one table were last seen as, and which of them we have written to since. */
export class KnownDigest {
  #last: TableDigest;
  /** By chainId: whether we left it there. */
  readonly #written = new Map<string, boolean>();

  constructor(digest: TableDigest) {
    this.#last = digest;
  }

  /** A chain of ours is written, or deleted. What its rules are the next look tells, and not before. */
  note(place: ChainPlace, isThere: boolean): void {
    this.#written.set(chainId(place), isThere);
  }

  /** Whether chains are other than we have seen or left them. What they are now counts from here on. */
  hasChanged(now: TableDigest): boolean {
    const hasChanged = [this.#last, now, this.#written].some((ids) => {
      for (const id of ids.keys()) if (this.#isChanged(id, now.get(id))) return true;
      return false;
    });
    this.#last = now;
    this.#written.clear();
    return hasChanged;
  }

  #isChanged(id: string, now: number | undefined): boolean {
    const isThere = this.#written.get(id);
    return isThere === undefined ? this.#last.get(id) !== now : isThere !== (now !== undefined);
  }
}
