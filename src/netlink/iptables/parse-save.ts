// The output of iptables-save as chains, whose rules stay lines until they are asked for: most are nobody's business here,
// and a large cluster has 200,000.

import { DecodeError } from '../../errors.ts';

export interface SavedChain {
  readonly table: string;
  readonly name: string;
  /** Of a built-in chain; undefined for others. */
  readonly policy: string | undefined;
  /** `-A CHAIN …`, for parseIptablesRule. */
  readonly lines: readonly string[];
}

/** Reads the output line by line, and shows each chain as soon as all of it is known. */
export class SaveReader {
  readonly #see: (chain: SavedChain, isChain: (name: string) => boolean) => void;
  #number = 0;
  #table: string | undefined;
  /** Of the table, by name. Without rules so far, those of the last one aside. */
  #declared = new Map<string, Omit<SavedChain, 'lines'>>();
  readonly #shown = new Set<string>();
  /** The chain whose rules come now. */
  #name: string | undefined;
  #lines: string[] = [];

  /** `see` is also told which names are those of chains of the same table, and may ask later. */
  constructor(see: (chain: SavedChain, isChain: (name: string) => boolean) => void) {
    this.#see = see;
  }

  /**
   * What is not in the grammar of iptables-save, which has the rules of a chain in one piece and behind all declarations, is
   * a DecodeError that names the line; the rest of a rule after its chain is not looked at.
   */
  take(line: string): void {
    this.#number++;
    const first = line.charAt(0);
    if (first === '' || first === '#') return;
    if (first === '*') {
      if (this.#table !== undefined) this.#refuse(line, `table ${this.#table} has no end`);
      this.#table = line.slice(1);
    } else if (this.#table === undefined) this.#refuse(line, 'in no table');
    else if (line === 'COMMIT') this.#endTable();
    else if (first === ':') {
      const [, name = '', policy = ''] = CHAIN.exec(line) ?? this.#refuse(line, 'not :CHAIN POLICY');
      if (this.#declared.has(name)) this.#refuse(line, 'there twice');
      if (this.#name !== undefined) this.#refuse(line, 'behind rules');
      const isBuiltIn = policy !== '-';
      this.#declared.set(name, { table: this.#table, name, policy: isBuiltIn ? policy : undefined });
    } else {
      const name = RULE.exec(line)?.[1] ?? this.#refuse(line, 'not -A CHAIN …');
      if (name !== this.#name) {
        this.#endChain();
        if (!this.#declared.has(name)) this.#refuse(line, 'no such chain');
        if (this.#shown.has(name)) this.#refuse(line, 'not behind the other rules of its chain');
        this.#name = name;
      }
      this.#lines.push(line);
    }
  }

  /** All lines were given. An output without an end is a DecodeError. */
  end(): void {
    if (this.#table !== undefined) this.#refuse('', `table ${this.#table} has no end`);
  }

  #endChain(): void {
    if (this.#name !== undefined) this.#show(this.#name, this.#lines);
    this.#name = undefined;
    this.#lines = [];
  }

  #endTable(): void {
    this.#endChain();
    for (const name of this.#declared.keys()) if (!this.#shown.has(name)) this.#show(name, []);
    this.#declared = new Map();
    this.#shown.clear();
    this.#table = undefined;
  }

  #show(name: string, lines: readonly string[]): void {
    this.#shown.add(name);
    // Those of this table, whenever it is asked.
    const declared = this.#declared;
    this.#see({ ...declared.get(name)!, lines }, (other) => declared.has(other));
  }

  #refuse(line: string, reason: string): never {
    throw new DecodeError(`line ${this.#number} of iptables-save, '${line}'`, 0, reason);
  }
}

/** All chains that a SaveReader shows. */
export function parseIptablesSave(lines: Iterable<string>): SavedChain[] {
  const saved: SavedChain[] = [];
  const reader = new SaveReader((chain) => saved.push(chain));
  for (const line of lines) reader.take(line);
  reader.end();
  return saved;
}

const CHAIN = /^:(\S+) (\S+)(?: \[\d+:\d+\])?\s*$/;
/** With its count before it, or without. */
const RULE = /^(?:\[\d+:\d+\] )?-A (\S+)/;
